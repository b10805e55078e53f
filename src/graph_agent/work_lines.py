"""Lines that say how far long work is, for logs and pipes, where no bar can be redrawn."""

import threading
import time
from contextlib import suppress
from typing import Self, TextIO

LINE_SECONDS = 10.0
"""How long nothing is written at most."""


class WorkLines:
    """Writes what it is shown: the first line at once, then the newest every `seconds`, and the last one at the end.

    A thread writes them, because the work may tell nothing new for minutes. Such a line says how long the work has
    taken.
    """

    def __init__(self, out: TextIO, *, seconds: float | None = None) -> None:
        """Without `seconds`, a line comes every `LINE_SECONDS`."""
        self._out = out
        self._every = LINE_SECONDS if seconds is None else seconds
        self._began = self._wrote_at = time.monotonic()
        self._line: str | None = None
        self._is_written = True
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="graph-agent-work-lines", daemon=True)

    def begin(self) -> None:
        """The work begins."""
        self._began = self._wrote_at = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        """The work has ended. From now on, nothing is written."""
        self._ended.set()
        self._thread.join()
        if not self._is_written:
            self._write()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def show(self, line: str, *, now: bool = False) -> None:
        """The work has come so far. With `now`, the line is written at once."""
        with self._lock:
            is_first = self._line is None
            self._line, self._is_written = line, False
            if is_first or now:
                self._write()

    def _write(self, more: str = "") -> None:
        # The work goes on if nobody reads any more.
        with suppress(OSError, ValueError):
            self._out.write(f"{self._line}{more}\n")
            self._out.flush()
        self._wrote_at, self._is_written = time.monotonic(), True

    def _write_on(self) -> None:
        while not self._ended.wait(max(self._wrote_at + self._every - time.monotonic(), 0.01)):
            with self._lock:
                now = time.monotonic()
                if self._line is None:
                    self._wrote_at = now
                elif now - self._wrote_at >= self._every:
                    self._write(f", after {now - self._began:.0f} s")
