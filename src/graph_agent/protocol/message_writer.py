"""One message item while it is written: its content parts, each with its deltas and its closing events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage

from graph_agent.protocol import events, item_events
from graph_agent.protocol.content import annotations_of
from graph_agent.protocol.events import Event, Phase, Status
from graph_agent.protocol.finish_reasons import EarlyEnd
from graph_agent.protocol.logprobs import Token, ToldTokens
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.surrogates import SurrogateJoiner
from graph_agent.protocol.visible_content import Kind
from graph_agent.redaction import Redactor, portions, redact_value
from graph_agent.redaction.offsets import OffsetMap
from graph_agent.redaction.text import AT_ONCE


@dataclass(slots=True)
class _Part:
    """The content part that is being written."""

    kind: Kind
    place: int
    redactor: Redactor = field(default_factory=Redactor)
    halves: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    shown: list[str] = field(default_factory=list)
    tokens: ToldTokens | None = None
    """Those with probabilities, if the request asks for them."""


@dataclass(slots=True)
class MessageWriter:
    """A message item. Open until `close`; afterwards it is what was said."""

    index: int
    ids: set[str | None] = field(default_factory=set)
    """Ids of the message, from its chunks: a provider may send the real one late."""
    declared: Phase | None = None
    """The phase that its provider declares."""
    phase: Phase | None = None
    """The phase it was closed with."""
    item_id: str = field(default_factory=lambda: events.new_id("msg"))
    said: list[str] = field(default_factory=list)
    """What the model wrote. A returned message is recognized by it."""
    message: AIMessage | None = None
    """The whole message, once its node has returned it."""
    complete: bool = False
    """The model run has ended."""
    ending: EarlyEnd | None = None
    """Why the model run was ended, if the model did not end it."""
    retracted: bool = False
    """The graph removed it or changed it."""
    _parts: list[dict[str, Any]] = field(default_factory=list)
    _part: _Part | None = None

    @classmethod
    def restored(cls, index: int, item: dict[str, Any], said: str, message_id: str | None) -> "MessageWriter":
        """An item that an earlier attempt of this run closed. `said` is its text, of message `message_id` if known."""
        ids: set[str | None] = {message_id} if message_id is not None else set()
        text = cls(index, ids, phase=item.get("phase"), item_id=item["id"], said=[said], complete=True)
        text._parts = list(item["content"])
        return text

    @property
    def written(self) -> str:
        """All the model wrote, secrets included."""
        return "".join(self.said) + (self._part.halves.pending if self._part else "")

    @property
    def shown(self) -> str:
        """All the reader was shown."""
        parts = "".join(part.get("text") or part.get("refusal") or "" for part in self._parts)
        return parts + ("".join(self._part.shown) if self._part else "")

    def is_of(self, message_id: str | None) -> bool:
        """Whether it is the text of that message."""
        if message_id is None:
            return False
        return message_id in self.ids or (self.message is not None and message_id == self.message.id)

    @property
    def is_aside(self) -> bool:
        """Whether it is known to be commentary."""
        return "commentary" in (self.declared, self.phase)

    @property
    def ended(self) -> bool:
        """Whether more can come."""
        return self.complete or self.message is not None

    def open(self) -> Event:
        """`response.output_item.added`."""
        return item_events.item_added(self.index, item_events.message_item(self.item_id, "in_progress"))

    def next_delta(self, delta: str) -> list[Event] | None:
        """What `write` yields, if it is at most one delta of the part that is being written, and otherwise `None`."""
        part = self._part
        if part is None or part.kind != "text" or part.tokens is not None or len(delta) > AT_ONCE:
            return None
        piece = part.halves.feed(delta)
        self.said.append(piece)
        shown = part.redactor.feed(piece)
        if not shown:
            return []
        part.shown.append(shown)
        return [item_events.text_delta(self.item_id, self.index, part.place, shown)]

    def write(self, delta: str, kind: Kind = "text", tokens: list[Token] | None = None) -> Iterator[Event]:
        """Write more text. Each kind gets a separate part. `tokens` are those of a text, with their probabilities."""
        part = self._part
        if part is None or part.kind != kind:
            yield from self._end_part()
            part = self._part = _Part(kind, len(self._parts))
            yield item_events.part_added(self.item_id, self.index, part.place, _content(kind, ""))
        if tokens and kind == "text":
            part.tokens = part.tokens or ToldTokens()
            part.tokens.add(tokens)
        # A text of megabytes becomes several deltas, so that the caller can let other tasks run between two events.
        for portion in portions(delta):
            # Joined before redaction: half a character would hide the secret that it belongs to.
            piece = part.halves.feed(portion)
            self.said.append(piece)
            if shown := part.redactor.feed(piece):
                yield self._shown(part, shown)

    def close(self, output: OutputItems, phase: Phase | None, status: Status) -> Iterator[Event]:
        """End the item. What its provider declares to be commentary is that, whatever `phase` says."""
        yield from self._end_part(annotations_of(self.message) if self.message is not None else ())
        self.phase = "commentary" if self.declared == "commentary" else phase
        yield output.close(self.index, item_events.message_item(self.item_id, status, self._parts, self.phase))

    def _end_part(self, annotations: Sequence[dict[str, Any]] = ()) -> Iterator[Event]:
        part, self._part = self._part, None
        if part is None:
            return
        if half := part.halves.flush():
            self.said.append(half)
        # The redactor holds back text that may be the beginning of a secret, until more follows or the part ends.
        if rest := part.redactor.feed(half) + part.redactor.flush():
            yield self._shown(part, rest)
        whole = "".join(part.shown)
        if part.kind == "refusal":
            yield item_events.refusal_done(self.item_id, self.index, part.place, whole)
            content = _content("refusal", whole)
        else:
            annotations = _placed(redact_value(list(annotations)), self.written, whole)
            for position, annotation in enumerate(annotations):
                yield item_events.annotation_added(self.item_id, self.index, part.place, position, annotation)
            told = () if part.tokens is None else part.tokens.whole()
            yield item_events.text_done(self.item_id, self.index, part.place, whole, told)
            content = item_events.text_part(whole, annotations, told)
        yield item_events.part_done(self.item_id, self.index, part.place, content)
        self._parts.append(content)

    def _shown(self, part: _Part, delta: str) -> Event:
        part.shown.append(delta)
        build = item_events.text_delta if part.kind == "text" else item_events.refusal_delta
        event = build(self.item_id, self.index, part.place, delta)
        return event if part.tokens is None else {**event, "logprobs": part.tokens.shown(delta)}


def _placed(annotations: list[dict[str, Any]], written: str, shown: str) -> list[dict[str, Any]]:
    """The annotations at their places in what was shown: a marker is longer or shorter than its secret."""
    if written == shown or not annotations:
        return annotations
    shift = OffsetMap(written, shown)
    return [
        {**one, "start_index": shift.start(one["start_index"]), "end_index": shift.end(one["end_index"])}
        for one in annotations
    ]


def _content(kind: Kind, text: str) -> dict[str, Any]:
    return item_events.text_part(text) if kind == "text" else item_events.refusal_part(text)
