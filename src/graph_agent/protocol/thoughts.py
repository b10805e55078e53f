"""Reasoning items: what a model thought, where its endpoint shows it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage

from graph_agent.protocol import events
from graph_agent.protocol.content import reasoning_of
from graph_agent.protocol.events import Event
from graph_agent.protocol.output import Output
from graph_agent.redaction import Redactor


@dataclass(slots=True)
class _Thought:
    index: int
    item_id: str = field(default_factory=lambda: events.new_id("rs"))
    redactor: Redactor = field(default_factory=Redactor)
    parts: list[str] = field(default_factory=list)
    complete: bool = False


class Thoughts:
    """Reasoning items being written, by model run."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._open: dict[str, _Thought] = {}
        self._thinkers: set[str | None] = set()

    def write(self, run: str, message_id: str | None, delta: str) -> Iterator[Event]:
        """A piece of reasoning."""
        thought = self._open.get(run)
        if thought is None:
            thought = self._open[run] = _Thought(self._output.open())
            self._thinkers.add(message_id)
            yield events.item_added(thought.index, events.reasoning_item(thought.item_id, None))
            yield events.reasoning_part_added(thought.item_id, thought.index)
        if shown := thought.redactor.feed(delta):
            yield _shown(thought, shown)

    def write_whole(self, message: AIMessage) -> Iterator[Event]:
        """The reasoning of a message, unless it was streamed."""
        thought = "" if message.id in self._thinkers else reasoning_of(message)
        if thought:
            run = message.id or events.new_id("run")
            yield from self.write(run, message.id, thought)
            yield from self._close(run)

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
        if rest := thought.redactor.flush():
            yield _shown(thought, rest)
        whole = "".join(thought.parts)
        yield events.reasoning_text_done(thought.item_id, thought.index, whole)
        yield events.reasoning_part_done(thought.item_id, thought.index, whole)
        yield self._output.close(thought.index, events.reasoning_item(thought.item_id, whole))


def _shown(thought: _Thought, delta: str) -> Event:
    thought.parts.append(delta)
    return events.reasoning_delta(thought.item_id, thought.index, delta)
