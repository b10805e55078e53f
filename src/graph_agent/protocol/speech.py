"""Message items: what models say while they say it, and which of it was the answer.

Text is streamed before anyone knows what it is. What decides is what nodes return and what the graph leaves: the last
message left is the answer, text before tool calls is commentary, and text that no node returns is commentary beside
any that one does. Text that a node rewrites or takes back was sent, and stays; a reply in one piece has none of it.
"""

from collections.abc import Generator, Iterator, Set

from langchain_core.messages import AIMessage, AIMessageChunk

from graph_agent.protocol import events
from graph_agent.protocol.endings import Ending, ending_of
from graph_agent.protocol.events import Event, Phase, Status
from graph_agent.protocol.output import Output
from graph_agent.protocol.spoken import Kind, Piece, pieces_of, spoken_by
from graph_agent.protocol.thoughts import Thoughts
from graph_agent.protocol.wording import Wording


class Speech:
    """Message and reasoning items of one response. With `plain`, what was taken back is left out at the end."""

    def __init__(self, output: Output, *, plain: bool = False) -> None:
        self._output = output
        self._plain = plain
        self._open: dict[str, Wording] = {}
        self._closed: list[Wording] = []
        self._phases: dict[str, dict[object, Phase]] = {}
        self._named: set[tuple[str, object]] = set()
        self._thoughts = Thoughts(output)
        self._answer: Wording | None = None
        self._held: AIMessage | None = None

    @property
    def texts(self) -> list[str]:
        """What may be the answer so far: closed messages but commentary, then open ones."""
        return self._output.texts() + [text.shown for text in self._open.values()]

    def has_said(self, text: str) -> bool:
        """Whether a model's whole message was this text."""
        said = [*self._closed, *self._open.values()]
        return any(one.written.strip() == text.strip() and not one.is_aside for one in said)

    # -- while models speak -------------------------------------------------------------------------------------

    def spoke(self, run: str, chunk: AIMessageChunk) -> Iterator[Event]:
        """A token, or several, of the model run `run`."""
        content = chunk.content
        if isinstance(content, str) and not chunk.additional_kwargs:
            if content:
                yield from self._write(run, chunk.id, content)
        else:
            yield from self._thoughts.heard(run, chunk)
            for piece in pieces_of(chunk):
                yield from self._piece(run, chunk.id, piece)
        last = chunk.chunk_position == "last"
        if last:
            self._thoughts.complete(run)
        if (text := self._open.get(run)) is not None:
            text.complete = text.complete or last
            if chunk.response_metadata:
                text.ending = ending_of(chunk.response_metadata) or text.ending

    def _piece(self, run: str, message_id: str | None, piece: Piece) -> Iterator[Event]:
        if piece.names:
            if (run, piece.block) in self._named and piece.block is not None:
                return
            self._named.add((run, piece.block))
        phases = self._phases.setdefault(run, {})
        if piece.phase is not None:
            # Declared on a block's first chunk only.
            phases[piece.block] = piece.phase
        if piece.text:
            yield from self._write(run, message_id, piece.text, piece.kind, phases.get(piece.block))

    def _write(
        self, run: str, message_id: str | None, delta: str, kind: Kind = "text", phase: Phase | None = None
    ) -> Iterator[Event]:
        text = self._open.get(run)
        if text is not None and text.declared != phase and phase is not None:
            yield from self._close(run, None, "completed")
            text = None
        if text is None:
            text = yield from self._begin(run, message_id, phase)
        elif message_id not in text.ids:
            text.ids.add(message_id)
        yield from text.write(delta, kind)

    def _begin(self, run: str, message_id: str | None, phase: Phase | None = None) -> Generator[Event, None, Wording]:
        yield from self._thoughts.close(run)
        yield from self._close_ended()
        text = self._open[run] = Wording(self._output.open(), {message_id}, phase)
        yield text.open()
        return text

    def _close_ended(self) -> Iterator[Event]:
        """Something follows; whether what ended was the answer is known at the end only."""
        for run in [run for run, text in self._open.items() if text.ended]:
            yield from self._close(run, None)

    def _close(self, run: str, phase: Phase | None, status: Status | None = None) -> Iterator[Event]:
        text = self._open.pop(run)
        yield from text.close(self._output, phase, status or _status(text))
        self._closed.append(text)

    # -- what nodes return --------------------------------------------------------------------------------------

    def returned(self, message: AIMessage) -> Iterator[Event]:
        """A node returned this message: as far as is known, it is the answer."""
        said = spoken_by(message).whole
        if not said.strip():
            return
        run = self._run_of(message, said)
        if run is not None:
            yield from self._confirm(run, message, said)
        elif (text := self._closed_as(message, said)) is not None:
            self._answer, self._held = text, None
        else:
            self._rewritten(message, said)
            self._hold(message)

    def took_back(self, message_id: str | None) -> None:
        """A node removed this message: it was no answer."""
        for text in [*self._closed, *self._open.values()]:
            if text.is_of(message_id) and not text.is_aside:
                text.retracted = True

    def requested_tools(self, message: AIMessage) -> Iterator[Event]:
        """A node returned this message with tool calls: what it says is commentary."""
        yield from self._thoughts.close()
        said = spoken_by(message).whole
        run = self._run_of(message, said)
        if run is not None:
            yield from self._close(run, "commentary", "completed")
        elif (text := self._closed_as(message, said)) is not None:
            self._settle(text, "commentary")
        self._answer = self._held = None
        yield from self._close_ended()
        yield from self._thoughts.write_whole(message)

    def _run_of(self, message: AIMessage, said: str) -> str | None:
        """The open text that is this message: by its id, or by what it says where a node returns a message anew."""
        for run, text in self._open.items():
            if text.is_of(message.id):
                return run
        same = (run for run, text in self._open.items() if text.written.strip() == said.strip())
        return next(same, None)

    def _closed_as(self, message: AIMessage, said: str) -> Wording | None:
        """The closed text that is this message and may be the answer: by id first, the latest else."""
        same = [text for text in self._closed if text.written.strip() == said.strip() and not text.is_aside]
        if not said.strip() or not same:
            return None
        return next((text for text in same if text.is_of(message.id)), same[-1])

    def _confirm(self, run: str, message: AIMessage, said: str) -> Iterator[Event]:
        text = self._open[run]
        whole = text.written
        if said.strip() != whole.strip():
            if not said.startswith(whole):
                # Its node thought better of what was streamed: what it returned counts.
                text.retracted = True
                yield from self._close(run, "commentary", "completed")
                self._hold(message)
                return
            yield from text.write(said[len(whole) :])
        text.message = message
        self._answer, self._held = text, None

    def _rewritten(self, message: AIMessage, said: str) -> None:
        for text in self._closed:
            if text.is_of(message.id) and not text.is_aside:
                text.retracted = text.written.strip() != said.strip()

    def _hold(self, message: AIMessage) -> None:
        """Nobody streamed it, perhaps on purpose: it is shown only if it is still the last one at the end."""
        self._answer, self._held = None, message

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(
        self, answer: AIMessage | None, *, removed: Set[str] = frozenset()
    ) -> Generator[Event, None, Ending | None]:
        """Close what is open. `answer` is the last message left; unknown, it is the last returned, else the last text.

        `removed` are the ids of messages that the graph took back. Gives what ended the answer, if not its model.
        """
        if answer is not None:
            self._decide(answer)
        yield from self._thoughts.close_all()
        for message_id in removed:
            self.took_back(message_id)
        chosen = self._answer
        if chosen is None and self._held is None:
            chosen = self._last_text()
        ending = self._ending(chosen)
        for run, text in list(self._open.items()):
            cut = text is chosen and ending is not None
            yield from self._close(run, _phase(text, chosen), "incomplete" if cut else None)
        if self._held is not None:
            chosen = yield from self._show(self._held, "incomplete" if ending else "completed")
        self._settle_all(chosen)
        return ending

    def show_aside(self, message: AIMessage) -> Iterator[Event]:
        """The text of the calls a graph ends on, unless it was streamed."""
        said = spoken_by(message)
        told = any(text.is_aside and text.written.strip() == said.whole.strip() for text in self._closed)
        if said.whole.strip() and not told:
            yield from self._show(message, "completed", "commentary")

    def cut(self, sentence: str | None) -> Iterator[Event]:
        """Close what is open, the last text with `sentence` at its end."""
        yield from self._thoughts.close_all()
        run = max(self._open, key=lambda run: self._open[run].index, default=None)
        if run is None and sentence is not None:
            run = events.new_id("run")
            yield from self._begin(run, None)
        elif sentence is not None:
            sentence = f"\n\n{sentence}"
        last = self._last_text() if run is None else self._open[run]
        for other, text in list(self._open.items()):
            if text is not last:
                yield from self._close(other, "commentary")
        if run is not None:
            if sentence is not None:
                yield from self._open[run].write(sentence)
            yield from self._close(run, "final_answer", "incomplete")
        self._settle_all(last)

    def break_off(self) -> Iterator[Event]:
        """Close what is open as it stands."""
        yield from self._thoughts.close_all()
        for run, text in list(self._open.items()):
            yield from self._close(run, None, "incomplete" if text.ending else None)

    def _decide(self, answer: AIMessage) -> None:
        said = spoken_by(answer).whole
        run = self._run_of(answer, said)
        text = self._open[run] if run is not None else self._closed_as(answer, said)
        if text is not None and text.written.strip() == said.strip():
            text.message = text.message or answer
            self._answer, self._held = text, None
        else:
            self._hold(answer)

    def _ending(self, chosen: Wording | None) -> Ending | None:
        message = self._held or (chosen.message if chosen is not None else None)
        told = ending_of(message.response_metadata) if message is not None else None
        return told or (chosen.ending if chosen is not None and self._held is None else None)

    def _last_text(self) -> Wording | None:
        texts = [*self._open.values(), *(text for text in self._closed if not text.is_aside)]
        return max(texts, key=lambda text: text.index, default=None)

    def _show(
        self, message: AIMessage, status: Status, phase: Phase = "final_answer"
    ) -> Generator[Event, None, Wording]:
        """A message that was held back."""
        yield from self._thoughts.write_whole(message)
        said = spoken_by(message)
        if said.aside and said.whole:
            yield from self._show_part(message, said.aside, "", "commentary", "completed")
        return (yield from self._show_part(message, said.text, said.refusal, phase, status))

    def _show_part(
        self, message: AIMessage, words: str, refusal: str, phase: Phase, status: Status
    ) -> Generator[Event, None, Wording]:
        run = events.new_id("run")
        text = yield from self._begin(run, message.id)
        if words:
            yield from text.write(words)
        if refusal:
            yield from text.write(refusal, "refusal")
        if phase == "final_answer":
            text.message = message
        yield from self._close(run, phase, status)
        return text

    def _settle(self, text: Wording, phase: Phase) -> None:
        text.phase = text.phase or phase
        self._output.settle(text.index, phase)

    def _settle_all(self, chosen: Wording | None) -> None:
        for text in self._closed:
            self._settle(text, _phase(text, chosen))
            if text.retracted and self._plain and text is not chosen:
                self._output.drop(text.index)


def _phase(text: Wording, chosen: Wording | None) -> Phase:
    return "final_answer" if text is chosen else "commentary"


def _status(text: Wording) -> Status:
    return "completed" if text.ended else "incomplete"
