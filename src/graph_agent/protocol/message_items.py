"""Message items: streams what models say, and decides which of it was the answer.

Text is streamed before it is known to be the answer. What nodes return and what the graph leaves decides that: the last
message left is the answer, text before tool calls is commentary, and so is text that no node returns, if another text
is returned. Text that a node rewrites or takes back was sent already, so it stays; a plain reply leaves it out.
"""

from collections.abc import Container, Generator, Iterator, Set

from langchain_core.messages import AIMessage, AIMessageChunk

from graph_agent.protocol import events
from graph_agent.protocol.events import Event, Phase, Status
from graph_agent.protocol.finish_reasons import EarlyEnd, early_end_of
from graph_agent.protocol.logprobs import Token, tokens_in
from graph_agent.protocol.message_registry import MessageRegistry, phase_of
from graph_agent.protocol.message_writer import MessageWriter
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.reasoning_items import ReasoningItems
from graph_agent.protocol.resumed_items import ResumedItems
from graph_agent.protocol.visible_content import Kind, Piece, pieces_of, visible_content_of

SILENT = {"model_provider"}
"""What LangChain's models write into the metadata of each token, and what says nothing."""


class MessageItems:
    """Message and reasoning items of one response. With `plain`, the end leaves out what was taken back. With
    `answer_only`, what is not the answer is reasoning, and nothing streams but that."""

    def __init__(
        self, output: OutputItems, *, plain: bool = False, answer_only: bool = False, logprobs: bool = False
    ) -> None:
        """With `logprobs`, texts have the probabilities of their tokens, where models report them."""
        self._logprobs = logprobs
        self._plain = plain
        self._answer_only = answer_only
        self._said = MessageRegistry(output)
        self._thoughts = ReasoningItems(output)
        self._phases: dict[str, dict[object, Phase]] = {}
        self._named: set[tuple[str, object]] = set()
        self._answer: MessageWriter | None = None
        self._held: AIMessage | None = None

    @property
    def texts(self) -> list[str]:
        """Texts that may be the answer so far: closed messages that are not commentary, then open ones."""
        return self._said.texts

    def message_ids(self, known: Container[str | None]) -> dict[str, str]:
        """Item id -> message id, for the items that are one of the `known` messages."""
        return self._said.message_ids(known)

    def has_said(self, text: str) -> bool:
        """Whether a model said exactly this text in one message."""
        return any(one.written.strip() == text.strip() for one in self._said.candidates)

    # -- a run that resumes -----------------------------------------------------------------------------------------

    def restore(self, resumed: ResumedItems) -> None:
        """Restore the valid items of an earlier attempt of this run."""
        for one in resumed.items:
            message = resumed.message_of.get(one.index)
            if one.kind == "reasoning":
                self._thoughts.restore(one.shown, message)
            elif one.kind == "message":
                # A log has no secrets and no message ids; the checkpoint has both, and nodes may return them again.
                said = visible_content_of(message).whole if message is not None else one.shown
                self._said.restore(MessageWriter.restored(one.index, one.item, said, message.id if message else None))

    def write_again(self, message: AIMessage) -> Iterator[Event]:
        """Write a message again as if its model produced it now: its first item was incomplete and is discarded."""
        yield from self._thoughts.write_whole(message)
        said, run = visible_content_of(message), events.new_id("run")
        text = yield from self._begin(run, message.id)
        if said.text:
            yield from text.write(said.text)
        if said.refusal:
            yield from text.write(said.refusal, "refusal")
        text.complete = True

    # -- while models speak -------------------------------------------------------------------------------------

    def next_delta(self, run: str, chunk: AIMessageChunk) -> list[Event] | None:
        """The event of a token that only goes on with an open text, as nearly all do. `None` for any other, which
        `spoke` takes. It says the same of both; this takes a third of the time."""
        content = chunk.content
        if (
            content.__class__ is not str
            or not content
            or self._answer_only
            or chunk.additional_kwargs
            or (chunk.response_metadata and chunk.response_metadata.keys() != SILENT)
            or chunk.chunk_position is not None
        ):
            return None
        text = self._said.open.get(run)
        return None if text is None or chunk.id not in text.ids else text.next_delta(str(content))

    def spoke(self, run: str, chunk: AIMessageChunk, *, in_form: bool = False) -> Iterator[Event]:
        """A token, or several, of the model run `run`. With `in_form`, they can only be of the answer."""
        content = chunk.content
        if self._answer_only and not in_form:
            yield from self._thoughts.heard(run, chunk)
        elif isinstance(content, str) and not chunk.additional_kwargs:
            if content:
                tokens = tokens_in(chunk.response_metadata) if self._logprobs and chunk.response_metadata else None
                yield from self._write(run, chunk.id, content, tokens=tokens)
        else:
            yield from self._thoughts.heard(run, chunk)
            for piece in pieces_of(chunk):
                yield from self._piece(run, chunk.id, piece)
        last = chunk.chunk_position == "last"
        if last:
            self._thoughts.complete(run)
        if (text := self._said.open.get(run)) is not None:
            text.complete = text.complete or last
            if chunk.response_metadata:
                text.ending = early_end_of(chunk.response_metadata) or text.ending

    def _piece(self, run: str, message_id: str | None, piece: Piece) -> Iterator[Event]:
        if piece.names:
            if (run, piece.block) in self._named and piece.block is not None:
                return
            self._named.add((run, piece.block))
        phases = self._phases.setdefault(run, {})
        if piece.phase is not None:
            # Providers declare the phase only on the first chunk of a block.
            phases[piece.block] = piece.phase
        if piece.text:
            yield from self._write(run, message_id, piece.text, piece.kind, phases.get(piece.block))

    def _write(
        self,
        run: str,
        message_id: str | None,
        delta: str,
        kind: Kind = "text",
        phase: Phase | None = None,
        tokens: list[Token] | None = None,
    ) -> Iterator[Event]:
        text = self._said.open.get(run)
        # A new phase is a new item: clients read the phase of an item, not of its parts.
        if text is not None and text.declared != phase and phase is not None:
            yield from self._said.close(run, None, "completed")
            text = None
        if text is None:
            text = yield from self._begin(run, message_id, phase)
        elif message_id not in text.ids:
            # Some providers send the real id late.
            text.ids.add(message_id)
        yield from text.write(delta, kind, tokens)

    def _begin(
        self, run: str, message_id: str | None, phase: Phase | None = None
    ) -> Generator[Event, None, MessageWriter]:
        yield from self._thoughts.close(run)
        yield from self._said.close_ended()
        text = self._said.begin(run, message_id, phase)
        yield text.open()
        return text

    # -- what nodes return --------------------------------------------------------------------------------------

    def returned(self, message: AIMessage) -> Iterator[Event]:
        """A node returned this message. It is the answer unless another one follows."""
        said = visible_content_of(message).whole
        if not said.strip():
            return
        run = self._said.run_of(message, said)
        if run is not None:
            yield from self._confirm(run, message, said)
        elif (text := self._said.closed_as(message, said)) is not None:
            self._answer, self._held = text, None
        else:
            self._said.retract(message.id, said)
            self._hold(message)

    def took_back(self, message_id: str | None) -> None:
        """A node removed this message, so it is not the answer."""
        self._said.retract(message_id)

    def requested_tools(self, message: AIMessage) -> Iterator[Event]:
        """A node returned this message with tool calls, so its text is commentary."""
        yield from self._thoughts.close()
        said = visible_content_of(message).whole
        run = self._said.run_of(message, said)
        if run is not None:
            yield from self._said.close(run, "commentary", "completed")
        elif (text := self._said.closed_as(message, said)) is not None:
            self._said.settle(text, "commentary")
        self._answer = self._held = None
        yield from self._said.close_ended()
        yield from self._thoughts.write_whole(message)
        if self._answer_only:
            yield from self._thoughts.write_text(said)

    def turns_to_calls(self, run: str) -> Iterator[Event]:
        """A model that has spoken writes a call now, so its text is commentary."""
        yield from self._thoughts.close(run)
        if run in self._said.open:
            yield from self._said.close(run, "commentary", "completed")

    def _confirm(self, run: str, message: AIMessage, said: str) -> Iterator[Event]:
        text = self._said.open[run]
        whole = text.written
        if said.strip() != whole.strip():
            if not said.startswith(whole):
                # The node changed what was streamed: what it returned counts.
                text.retracted = True
                yield from self._said.close(run, "commentary", "completed")
                self._hold(message)
                return
            yield from text.write(said[len(whole) :])
        text.message = message
        self._answer, self._held = text, None

    def _hold(self, message: AIMessage) -> None:
        """No model streamed it, perhaps on purpose, so it is shown only if it is still the last one at the end."""
        self._answer, self._held = None, message

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(
        self, answer: AIMessage | None, *, removed: Set[str] = frozenset()
    ) -> Generator[Event, None, EarlyEnd | None]:
        """Close what is open. `answer` is the last message left; if unknown, the last one returned, else the last text.

        `removed` are the ids of messages that the graph took back. Returns why the answer was ended, if its model did
        not end it.
        """
        if answer is not None:
            self._decide(answer)
        yield from self._thoughts.close_all()
        for message_id in removed:
            self.took_back(message_id)
        chosen = self._answer
        if chosen is None and self._held is None:
            chosen = self._said.last()
        ending = self._ending(chosen)
        for run, text in list(self._said.open.items()):
            cut = text is chosen and ending is not None
            yield from self._said.close(run, phase_of(text, chosen), "incomplete" if cut else None)
        if self._held is not None:
            chosen = yield from self._show(self._held, "incomplete" if ending else "completed")
        self._said.settle_all(chosen, plain=self._plain)
        return ending

    def show_aside(self, message: AIMessage) -> Iterator[Event]:
        """The text of a message whose calls end the graph, unless it was streamed."""
        said = visible_content_of(message)
        if self._answer_only:
            return
        if said.whole.strip() and not self._said.was_aside(said.whole):
            yield from self._show(message, "completed", "commentary")

    def cut(self, sentence: str | None) -> Iterator[Event]:
        """Close what is open, the last text with `sentence` at its end."""
        yield from self._thoughts.close_all()
        # Several models may be writing. The sentence goes to the newest message, which is the last that people read.
        run = max(self._said.open, key=lambda run: self._said.open[run].index, default=None)
        if run is None and sentence is not None:
            run = events.new_id("run")
            yield from self._begin(run, None)
        elif sentence is not None:
            sentence = f"\n\n{sentence}"
        last = self._said.last() if run is None else self._said.open[run]
        for other, text in list(self._said.open.items()):
            if text is not last:
                yield from self._said.close(other, "commentary")
        if run is not None:
            if sentence is not None:
                yield from self._said.open[run].write(sentence)
            yield from self._said.close(run, "final_answer", "incomplete")
        self._said.settle_all(last, plain=self._plain)

    def break_off(self) -> Iterator[Event]:
        """Close what is open, as it is."""
        yield from self._thoughts.close_all()
        for run, text in list(self._said.open.items()):
            yield from self._said.close(run, None, "incomplete" if text.ending else None)

    def _decide(self, answer: AIMessage) -> None:
        said = visible_content_of(answer).whole
        run = self._said.run_of(answer, said)
        text = self._said.open[run] if run is not None else self._said.closed_as(answer, said)
        if text is not None and text.written.strip() == said.strip():
            text.message = text.message or answer
            self._answer, self._held = text, None
        else:
            self._hold(answer)

    def _ending(self, chosen: MessageWriter | None) -> EarlyEnd | None:
        message = self._held or (chosen.message if chosen is not None else None)
        early_end = early_end_of(message.response_metadata) if message is not None else None
        return early_end or (chosen.ending if chosen is not None and self._held is None else None)

    def _show(
        self, message: AIMessage, status: Status, phase: Phase = "final_answer"
    ) -> Generator[Event, None, MessageWriter]:
        """A message that was held back."""
        yield from self._thoughts.write_whole(message)
        said = visible_content_of(message)
        if said.aside and said.whole and self._answer_only:
            yield from self._thoughts.write_text(said.aside)
        elif said.aside and said.whole:
            yield from self._show_part(message, said.aside, "", "commentary", "completed")
        return (yield from self._show_part(message, said.text, said.refusal, phase, status))

    def _show_part(
        self, message: AIMessage, words: str, refusal: str, phase: Phase, status: Status
    ) -> Generator[Event, None, MessageWriter]:
        run = events.new_id("run")
        text = yield from self._begin(run, message.id)
        if words:
            tokens = tokens_in(message.response_metadata) if self._logprobs else None
            yield from text.write(words, tokens=tokens)
        if refusal:
            yield from text.write(refusal, "refusal")
        if phase == "final_answer":
            text.message = message
        yield from self._said.close(run, phase, status)
        return text
