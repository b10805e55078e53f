"""Splits a stream of server-sent events into lines, only at the line ends that the format defines.

Python's `str.splitlines`, and so httpx's `iter_lines`, also splits at U+2028, U+0085 and six more characters. JSON may
contain them unescaped. Source: HTML Living Standard, "Parsing an event stream".
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

_ENDS = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"


class LineReader:
    """Takes bytes as they arrive and returns whole lines without their ends. Text after the last end is not a line."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._after_return = False
        self._first = True

    def feed(self, piece: bytes) -> list[str]:
        """The lines that this piece completes."""
        if not piece:
            return []
        if self._after_return:
            # The previous piece ended with CR. An LF now belongs to the same line end.
            piece = piece.removeprefix(b"\n")
        *ended, rest = _ENDS.split(piece)
        self._after_return = piece.endswith(b"\r")
        lines = []
        for line in ended:
            lines.append(self._line(b"".join([*self._held, line])))
            self._held.clear()
        if rest:
            self._held.append(rest)
        return lines

    def _line(self, line: bytes) -> str:
        if self._first:
            self._first = False
            line = line.removeprefix(_MARK)
        return line.decode("utf-8", "replace")


def read_lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of a body, each as soon as it is complete."""
    reader = LineReader()
    for piece in pieces:
        yield from reader.feed(piece)


async def read_lines_async(pieces: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The same for a body that arrives asynchronously."""
    reader = LineReader()
    async for piece in pieces:
        for line in reader.feed(piece):
            yield line


def data_of_line(line: str) -> str | None:
    """The value of a `data` line, without one leading space, or `None` for any other line."""
    name, colon, value = line.partition(":")
    return value.removeprefix(" ") if name == "data" and (colon or line == "data") else None
