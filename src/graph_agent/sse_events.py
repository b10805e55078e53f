"""Parses server-sent events from the bytes of a body, and keeps what a reader needs to resume the stream.

Source: HTML Living Standard, "Interpreting an event stream".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graph_agent.sse_lines import LineReader

MOST_BYTES = 33_554_432
"""The largest event. A larger one would only fill the memory."""


class EventTooLarge(ValueError):
    """An event is larger than the reader's limit."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event. `data` may be empty: some servers send an event for its id alone."""

    data: str
    name: str = ""


class EventReader:
    """Takes the pieces of a body in order, split anywhere, and yields whole events."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self.last_id: str | None = None
        """The last id so far. With it, the server can send the events that follow."""
        self.retry: float | None = None
        """The seconds that the server asks clients to wait before they reconnect, or `None`."""
        self._most = most_bytes
        self._size = 0
        self._lines = LineReader()
        self._data: list[str] = []
        self._name = ""

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that this piece completes.

        Raises:
            EventTooLarge: an event is larger than `most_bytes`.
        """
        # Counts whole pieces: the limit is about memory, not about the exact size of an event.
        self._size += len(piece)
        for line in self._lines.feed(piece):
            yield from self._read(line)
        if self._size > self._most:
            raise EventTooLarge

    def end(self) -> Iterator[ServerSentEvent]:
        """Yield the event that was not complete at the end of the body: many servers omit the last blank line."""
        yield from self.feed(b"\n\n")

    def _read(self, line: str) -> Iterator[ServerSentEvent]:
        if not line:
            self._size = 0
            if self._data:
                event = ServerSentEvent("\n".join(self._data), self._name)
                self._data, self._name = [], ""
                yield event
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            # The standard ignores an id with NUL, and a retry with anything but ASCII digits.
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) < 10:
                self.retry = int(value) / 1000
