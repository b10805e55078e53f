"""Message items: what models say while they say it, and which of it was the answer.

Text is streamed before anyone knows what it is. What decides is what nodes return: the last message returned is the
answer, text before tool calls is commentary, and text that no node returns is commentary beside any that one does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, AIMessageChunk

from graph_agent.protocol import events
from graph_agent.protocol.content import annotations_of, reasoning_of, text_of
from graph_agent.protocol.events import Event, Phase, Status
from graph_agent.protocol.output import Output
from graph_agent.protocol.thoughts import Thoughts
from graph_agent.redaction import Redactor, redact_value


@dataclass(slots=True)
class _Text:
    """A message item that is being written."""

    index: int
    message_id: str | None = None
    item_id: str = field(default_factory=lambda: events.new_id("msg"))
    redactor: Redactor = field(default_factory=Redactor)
    parts: list[str] = field(default_factory=list)
    """What was shown of it."""
    said: list[str] = field(default_factory=list)
    """What the model wrote: by this a returned message is recognised."""
    message: AIMessage | None = None
    """The whole message, once its node has returned it."""
    complete: bool = False
    """The model run has ended."""

    @property
    def whole(self) -> str:
        return "".join(self.parts)

    @property
    def written(self) -> str:
        return "".join(self.said)

    @property
    def ended(self) -> bool:
        return self.complete or self.message is not None


class Speech:
    """Message and reasoning items of one response."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._open: dict[str, _Text] = {}
        self._thoughts = Thoughts(output)
        self._closed: dict[str, int] = {}
        self._answer: int | None = None
        self._held: AIMessage | None = None

    @property
    def texts(self) -> list[str]:
        """What may be the answer so far: closed messages but commentary, then open ones."""
        return self._output.texts() + [text.whole for text in self._open.values()]

    # -- while models speak -------------------------------------------------------------------------------------

    def spoke(self, run: str, chunk: AIMessageChunk) -> Iterator[Event]:
        """A token, or several, of the model run `run`."""
        if thought := reasoning_of(chunk):
            yield from self._thoughts.write(run, chunk.id, thought)
        if delta := text_of(chunk.content):
            if run not in self._open:
                yield from self._begin(run, chunk.id)
            yield from _written(self._open[run], delta)
        if chunk.chunk_position == "last":
            self._thoughts.complete(run)
            if run in self._open:
                self._open[run].complete = True

    def _begin(self, run: str, message_id: str | None) -> Iterator[Event]:
        yield from self._thoughts.close(run)
        yield from self._close_ended()
        text = self._open[run] = _Text(self._output.open(), message_id)
        yield events.item_added(text.index, events.message_item(text.item_id, "in_progress"))
        yield events.part_added(text.item_id, text.index)

    def _close_ended(self) -> Iterator[Event]:
        """Something follows; whether what ended was the answer is known at the end only."""
        for run in [run for run, text in self._open.items() if text.ended]:
            yield from self._close(run, None)

    def _close(self, run: str, phase: Phase | None, status: Status = "completed") -> Iterator[Event]:
        text = self._open.pop(run)
        if rest := text.redactor.flush():
            yield _shown(text, rest)
        whole = text.whole
        if phase != "commentary":
            self._closed[text.written.strip()] = text.index
        annotations = redact_value(annotations_of(text.message)) if text.message is not None else []
        for position, annotation in enumerate(annotations):
            yield events.annotation_added(text.item_id, text.index, position, annotation)
        part = events.text_part(whole, annotations)
        yield events.text_done(text.item_id, text.index, whole)
        yield events.part_done(text.item_id, text.index, part)
        yield self._output.close(text.index, events.message_item(text.item_id, status, [part], phase))

    # -- what nodes return --------------------------------------------------------------------------------------

    def returned(self, message: AIMessage) -> Iterator[Event]:
        """A node returned this message: as far as is known, it is the answer."""
        said = text_of(message.content)
        if not said.strip():
            return
        run = self._run_of(message, said)
        if run is not None:
            yield from self._confirm(run, message, said)
        elif (index := self._closed.get(said.strip())) is not None:
            self._answer, self._held = index, None
        else:
            self._hold(message)

    def requested_tools(self, message: AIMessage) -> Iterator[Event]:
        """A node returned this message with tool calls: what it says is commentary."""
        yield from self._thoughts.close()
        said = text_of(message.content)
        run = self._run_of(message, said)
        if run is not None:
            yield from self._close(run, "commentary")
        elif (index := self._closed.get(said.strip())) is not None:
            self._output.settle(index, "commentary")
        self._held = None
        yield from self._close_ended()
        yield from self._thoughts.write_whole(message)

    def _run_of(self, message: AIMessage, said: str) -> str | None:
        """The open text that is this message: by its id, or by what it says where a node returns a message anew."""
        for run, text in self._open.items():
            if text.message_id is not None and text.message_id == message.id:
                return run
        same = (run for run, text in self._open.items() if text.written.strip() == said.strip())
        return next(same, None)

    def _confirm(self, run: str, message: AIMessage, said: str) -> Iterator[Event]:
        text = self._open[run]
        whole = text.written
        if said.strip() != whole.strip():
            if not said.startswith(whole):
                # Its node thought better of what was streamed: what it returned counts.
                yield from self._close(run, "commentary")
                self._hold(message)
                return
            yield from _written(text, said[len(whole) :])
        text.message = message
        self._answer, self._held = text.index, None

    def _hold(self, message: AIMessage) -> None:
        """Nobody streamed it, perhaps on purpose: it is shown only if it is still the last one at the end."""
        self._answer, self._held = None, message

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self) -> Iterator[Event]:
        """Close what is open; the last message returned is the answer, else the last text there was."""
        yield from self._thoughts.close_all()
        answer = self._answer
        if answer is None and self._held is None:
            answer = self._last_text()
        for run, text in list(self._open.items()):
            yield from self._close(run, "final_answer" if text.index == answer else "commentary", _status(text))
        if self._held is not None:
            yield from self._show_held(self._held)
        else:
            self._output.settle_all(answer)

    def cut(self, sentence: str) -> Iterator[Event]:
        """Close what is open, the last text with `sentence` at its end."""
        yield from self._thoughts.close_all()
        run = max(self._open, key=lambda run: self._open[run].index, default=None)
        if run is None:
            run = events.new_id("run")
            yield from self._begin(run, None)
        else:
            sentence = f"\n\n{sentence}"
        last = self._open[run]
        for other, text in list(self._open.items()):
            if text is not last:
                yield from self._close(other, "commentary", _status(text))
        yield from _written(last, sentence)
        yield from self._close(run, "final_answer", "incomplete")
        self._output.settle_all(last.index)

    def break_off(self) -> Iterator[Event]:
        """Close what is open as it stands."""
        yield from self._thoughts.close_all()
        for run, text in list(self._open.items()):
            yield from self._close(run, None, _status(text))

    def _last_text(self) -> int | None:
        indices = [text.index for text in self._open.values()] + list(self._closed.values())
        return max(indices, default=None)

    def _show_held(self, message: AIMessage) -> Iterator[Event]:
        yield from self._thoughts.write_whole(message)
        run = message.id or events.new_id("run")
        yield from self._begin(run, None)
        text = self._open[run]
        text.message = message
        yield from _written(text, text_of(message.content))
        yield from self._close(run, "final_answer")
        self._output.settle_all(text.index)


def _written(text: _Text, delta: str) -> Iterator[Event]:
    text.said.append(delta)
    if shown := text.redactor.feed(delta):
        yield _shown(text, shown)


def _shown(text: _Text, delta: str) -> Event:
    text.parts.append(delta)
    return events.text_delta(text.item_id, text.index, delta)


def _status(text: _Text) -> Status:
    return "completed" if text.ended else "incomplete"
