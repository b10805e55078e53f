"""Writes log lines to standard output in a separate thread, so that a slow reader of the log cannot block the event
loop."""

import contextlib
import logging
import os
import queue
import select
import sys
import threading
import time

MOST_WAITING = 10_000
"""Lines that may wait for a slow reader. More lines are dropped and counted."""

FLUSH_SECONDS = 1.0

STDOUT = 1


class StdoutHandler(logging.Handler):
    """Formats a line in the thread that logs it, because the request's context is there, and writes it in another."""

    def __init__(self, *, descriptor: int = STDOUT, most_waiting: int = MOST_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: queue.Queue[bytes] = queue.Queue(most_waiting)
        self._dropped = 0
        self._counting = threading.Lock()
        self._whole = True
        """Whether the last line that was begun was written completely."""
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line. Never waits."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - arguments of foreign code may raise anything from `__str__`
            self.handleError(record)
            return
        self._queue(line)

    def handleError(self, record: logging.LogRecord) -> None:
        """Log where a line could not be formatted. The base class would print its arguments, which may be secret."""
        error = sys.exc_info()[0]
        place = f"{record.filename}:{record.lineno} ({error.__name__ if error else 'unknown'})"
        self._queue(self._own(logging.ERROR, f"a log line could not be written: {record.name} at {place}"))

    def flush(self) -> None:
        """Wait until everything logged so far is written, for at most a second."""
        # Polled, because `Queue.join` has no timeout.
        ends = time.monotonic() + FLUSH_SECONDS
        while self._waiting.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.005)

    def _queue(self, line: str) -> None:
        if self._writer is None:
            with self.lock or contextlib.nullcontext():
                self._start()
        try:
            self._waiting.put_nowait(line.encode(errors="backslashreplace") + b"\n")
        except queue.Full:
            self._count(1)

    def _start(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._work, name="log-writer", daemon=True)
            self._writer.start()

    def _work(self) -> None:
        while True:
            line = self._waiting.get()
            if not self._write(line):
                self._count(1)
            elif self._dropped and self._waiting.empty():
                with self._counting:
                    dropped, self._dropped = self._dropped, 0
                words = f"{dropped} log lines were dropped: the reader of standard output was too slow or did not read"
                if not self._write(self._own(logging.WARNING, words).encode() + b"\n"):
                    self._count(dropped)
            self._waiting.task_done()

    def _write(self, line: bytes) -> bool:
        """Write a line and return whether all of it was written. Waits for a full pipe that does not block."""
        # After a line that was cut, a line break: otherwise this line would be unreadable too.
        rest = line if self._whole else b"\n" + line
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    select.select((), (self._descriptor,), ())
        except (OSError, ValueError):
            # `select` raises ValueError when the number of the descriptor is too large for it.
            self._whole = self._whole and rest == line
            return False
        self._whole = True
        return True

    def _count(self, dropped: int) -> None:
        with self._counting:
            self._dropped += dropped

    def _own(self, level: int, words: str) -> str:
        return self.format(logging.LogRecord(__name__, level, __file__, 0, words, None, None))
