"""Reads one streamed answer and notes when its text came. It does no I/O, and gets the times from its caller.

It reads the events of the Responses API, also of servers that end with `[DONE]` alone, and chunks of Chat Completions.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from graph_agent.sse_events import EventReader

MOST_BYTES = 8_388_608
"""The largest event. It holds the whole answer at the end, and every user of the test may read one at a time."""

ENDED_EARLY = "the stream ended early"

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class AnswerReader:
    """Takes the pieces of one body. `problem` says what was wrong with the answer, in a few words without its text."""

    def __init__(self, on_gap: Callable[[float], None] = lambda seconds: None) -> None:
        """`on_gap` gets the seconds between two pieces of text. Those that arrive together have a gap of 0."""
        self._events = EventReader(most_bytes=MOST_BYTES)
        self._on_gap = on_gap
        self.first_text: float | None = None
        """When the first text came, in the terms of `at`."""
        self.last_text: float | None = None
        self.longest_gap = 0.0
        self.pieces = 0
        """Pieces of text."""
        self.output_tokens: int | None = None
        """What the service has counted, or `None` if it did not."""
        self.answering: str | None = None
        """The graph or model that answers, if the first event names it."""
        self._ended = False
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why this is not a whole answer. Ask after the end of the body."""
        return self._problem or (None if self._ended else ENDED_EARLY)

    def feed(self, piece: bytes, *, at: float) -> None:
        """Read a piece of the body that arrived at the time `at`, in seconds of any clock.

        Raises:
            EventTooLarge: an event is larger than 8 MB.
        """
        for event in self._events.feed(piece):
            if event.data == "[DONE]":
                self._ended = True
            elif event.data.startswith("{"):
                self._read(event.data, at)

    def _read(self, data: str, at: float) -> None:
        try:
            event = orjson.loads(data)
        except ValueError:
            self._problem = self._problem or "a frame is not JSON"
            return
        kind = event.get("type")
        if kind == "response.output_text.delta":
            if event.get("delta"):
                self._text(at)
        elif kind == "response.created":
            name = _object(event, "response").get("model")
            self.answering = name if isinstance(name, str) else None
        elif kind == "error":
            self._fail("error", event.get("code"))
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._terminal(kind, _object(event, "response"))
        elif "error" in event and kind is None:
            self._fail("error", _object(event, "error").get("code"))
        elif "choices" in event:
            self._chunk(event, at)

    def _terminal(self, kind: str, response: Mapping[str, Any]) -> None:
        self._ended = True
        self._count(_object(response, "usage").get("output_tokens"))
        if kind == "response.failed":
            self._fail("error", _object(response, "error").get("code"))
        elif kind == "response.incomplete":
            self._fail("incomplete", _object(response, "incomplete_details").get("reason"))

    def _chunk(self, chunk: Mapping[str, Any], at: float) -> None:
        self._count(_object(chunk, "usage").get("completion_tokens"))
        for choice in _objects(chunk.get("choices")):
            if _object(choice, "delta").get("content"):
                self._text(at)
            if reason := choice.get("finish_reason"):
                self._ended = True
                if reason in ("length", "content_filter"):
                    self._fail("incomplete", reason)

    def _text(self, at: float) -> None:
        self.pieces += 1
        if self.last_text is None:
            self.first_text = at
        else:
            gap = at - self.last_text
            self.longest_gap = max(self.longest_gap, gap)
            self._on_gap(gap)
        self.last_text = at

    def _count(self, tokens: Any) -> None:
        if isinstance(tokens, int) and tokens >= 0:
            self.output_tokens = tokens

    def _fail(self, what: str, name: Any) -> None:
        # The first one: an `error` event comes before `response.failed`, and says the same.
        self._problem = self._problem or f"{what} {named(name)}"


def named(value: Any) -> str:
    """A code as the service calls it, or `without a code`. Any other text could be a secret, or endless."""
    text = str(value) if value is not None else ""
    return text if _NAME.fullmatch(text) else "without a code"


def code_of(body: bytes) -> str | None:
    """The code in the body of an error, or `None` if it has none."""
    try:
        found = _object(orjson.loads(body), "error").get("code")
    except (ValueError, AttributeError):
        return None
    return None if found is None else named(found)


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())
