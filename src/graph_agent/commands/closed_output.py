"""What happens to the output of a command when its reader closes it, as in `graph-agent init shop | head -1`.

Without this, the next line printed ends the command with a traceback, also in the middle of a deployment.
"""

import os
import sys
from typing import Any, TextIO, cast


class Outliving:
    """A text stream that drops what is written after its reader has closed it. So the command does its work to the end.

    `is_closed` is true from then on, for a command whose work is only to be read.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_closed = False

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _drop(self) -> None:
        self.is_closed = True
        # What is buffered is written once more, also by the interpreter at its end, which would complain again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def outlive_readers() -> None:
    """Let the output of this process outlive those who read it."""
    # A process without output, such as one of pythonw, has none.
    if sys.stdout is not None:
        sys.stdout = cast(TextIO, Outliving(sys.stdout))
    if sys.stderr is not None:
        sys.stderr = cast(TextIO, Outliving(sys.stderr))


def nobody_reads(stream: object) -> bool:
    """Whether the reader of the stream has closed it, as far as anything was written since."""
    return isinstance(stream, Outliving) and stream.is_closed
