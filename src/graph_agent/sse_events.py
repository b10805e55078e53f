"""Whole server-sent events out of the bytes of a body, with what a reader needs to ask for the rest of them.

Source: HTML Living Standard, "Interpreting an event stream".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from graph_agent.sse_lines import LineReader

MOST_BYTES = 33_554_432
"""Of one event; more would only fill the memory."""


class EventTooLarge(ValueError):
    """An event is larger than the reader was told to hold."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event. `data` may be empty: some servers send an event for its id alone."""

    data: str
    name: str = ""


class EventReader:
    """Takes pieces of a body in their order, cut anywhere, and gives whole events."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self.last_id: str | None = None
        """The last id so far: with it the server can be asked for what follows."""
        self.retry: float | None = None
        """Seconds the server asks to be left alone before it is asked again; nothing where it did not say."""
        self._most = most_bytes
        self._size = 0
        self._lines = LineReader()
        self._data: list[str] = []
        self._name = ""

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """The events that this piece completes.

        Raises:
            EventTooLarge: one is larger than `most_bytes`.
        """
        self._size += len(piece)
        for line in self._lines.feed(piece):
            yield from self._read(line)
        if self._size > self._most:
            raise EventTooLarge

    def end(self) -> Iterator[ServerSentEvent]:
        """The event that the body ended within: many servers leave the last blank line out."""
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
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) < 10:
                self.retry = int(value) / 1000
