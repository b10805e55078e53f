"""Reasoning items, for models whose endpoint sends its reasoning."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from graph_agent.protocol import events, item_events
from graph_agent.protocol.content import PARAGRAPH, reasoning_of, reasoning_parts
from graph_agent.protocol.events import Event
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.surrogates import SurrogateJoiner
from graph_agent.redaction import Redactor, portions


@dataclass(slots=True)
class _Thought:
    index: int
    item_id: str = field(default_factory=lambda: events.new_id("rs"))
    redactor: Redactor = field(default_factory=Redactor)
    halves: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    thought: list[str] = field(default_factory=list)
    """What the model wrote. The reasoning of a returned message is recognized by it."""
    shown: list[str] = field(default_factory=list)
    part: Any = None
    complete: bool = False


class ReasoningItems:
    """Reasoning items being written, by model run."""

    def __init__(self, output: OutputItems) -> None:
        self._output = output
        self._open: dict[str, _Thought] = {}
        self._thinkers: set[str | None] = set()
        self._unmatched: list[str] = []
        """Streamed reasoning whose message has not arrived. Compared by text: the message may have another id."""

    def restore(self, shown: str, message: BaseMessage | None) -> None:
        """Restore reasoning that an earlier attempt of this run sent. It belongs to `message`, if that is known."""
        if message is not None:
            self._thinkers.add(message.id)
        else:
            self._unmatched.append(_bare(shown))

    def heard(self, run: str, chunk: BaseMessage) -> Iterator[Event]:
        """The reasoning in a chunk of the model run `run`, if it holds any."""
        for part, text in reasoning_parts(chunk):
            if text:
                yield from self._write(run, chunk.id, part, text)

    def _write(self, run: str, message_id: str | None, part: Any, delta: str) -> Iterator[Event]:
        thought = self._open.get(run)
        if thought is None:
            thought = self._open[run] = _Thought(self._output.open(), part=part)
            self._thinkers.add(message_id)
            yield item_events.item_added(thought.index, item_events.reasoning_item(thought.item_id, None))
            yield item_events.reasoning_part_added(thought.item_id, thought.index)
        if part != thought.part:
            # One item for all parts: Databricks reads only the first part of a summary.
            thought.part, delta = part, PARAGRAPH + delta
        for portion in portions(delta):
            piece = thought.halves.feed(portion)
            thought.thought.append(piece)
            if shown := thought.redactor.feed(piece):
                yield _shown(thought, shown)

    def write_whole(self, message: AIMessage) -> Iterator[Event]:
        """The reasoning of a message, unless it was streamed."""
        thought = "" if message.id in self._thinkers else reasoning_of(message)
        if not thought:
            return
        if _bare(thought) in "".join(self._unmatched):
            self._unmatched.clear()
            return
        run = message.id or events.new_id("run")
        yield from self._write(run, message.id, None, thought)
        yield from self._close(run)
        self._unmatched.pop()

    def write_text(self, text: str) -> Iterator[Event]:
        """A text that is shown as reasoning."""
        if not text.strip():
            return
        run = events.new_id("run")
        yield from self._write(run, None, None, text)
        yield from self._close(run)
        self._unmatched.pop()

    def complete(self, run: str) -> None:
        """The model run has ended."""
        if run in self._open:
            self._open[run].complete = True

    def close(self, run: str | None = None) -> Iterator[Event]:
        """Close the reasoning of this model run and of those that have ended; another may still be thinking."""
        for key in [key for key, thought in self._open.items() if key == run or thought.complete]:
            yield from self._close(key)

    def close_all(self) -> Iterator[Event]:
        """Close what is open."""
        for key in list(self._open):
            yield from self._close(key)

    def _close(self, run: str) -> Iterator[Event]:
        thought = self._open.pop(run)
        half = thought.halves.flush()
        if rest := thought.redactor.feed(half) + thought.redactor.flush():
            yield _shown(thought, rest)
        self._unmatched.append(_bare("".join(thought.thought)))
        whole = "".join(thought.shown)
        yield item_events.reasoning_text_done(thought.item_id, thought.index, whole)
        yield item_events.reasoning_part_done(thought.item_id, thought.index, whole)
        yield self._output.close(thought.index, item_events.reasoning_item(thought.item_id, whole))


def _shown(thought: _Thought, delta: str) -> Event:
    thought.shown.append(delta)
    return item_events.reasoning_delta(thought.item_id, thought.index, delta)


def _bare(text: str) -> str:
    return "".join(text.split())
