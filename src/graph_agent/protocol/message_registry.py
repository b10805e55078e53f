"""The message items of one response, open and closed, and how to find the item of a message."""

from collections.abc import Container, Iterator

from langchain_core.messages import AIMessage

from graph_agent.protocol.events import Event, Phase, Status
from graph_agent.protocol.message_writer import MessageWriter
from graph_agent.protocol.output_items import OutputItems


class MessageRegistry:
    """Message items by model run while they are open, and in a list afterwards."""

    def __init__(self, output: OutputItems) -> None:
        self._output = output
        self.open: dict[str, MessageWriter] = {}
        self._closed: list[MessageWriter] = []

    @property
    def texts(self) -> list[str]:
        """Texts that may be the answer so far: closed messages that are not commentary, then open ones."""
        return self._output.texts() + [text.shown for text in self.open.values()]

    @property
    def candidates(self) -> list[MessageWriter]:
        """Items that may be the answer."""
        return [text for text in [*self._closed, *self.open.values()] if not text.is_aside]

    def message_ids(self, known: Container[str | None]) -> dict[str, str]:
        """Item id -> message id, for the closed items that are one of the `known` messages."""
        found = {}
        for text in self._closed:
            ids = [text.message.id if text.message is not None else None, *text.ids]
            message_id = next((one for one in ids if one in known), None)
            if message_id is not None:
                found[text.item_id] = message_id
        return found

    def begin(self, run: str, message_id: str | None, declared: Phase | None = None) -> MessageWriter:
        """A new item of that run, not sent yet."""
        text = self.open[run] = MessageWriter(self._output.open(), {message_id}, declared)
        return text

    def close(self, run: str, phase: Phase | None, status: Status | None = None) -> Iterator[Event]:
        """Close the item of that run; without a status, as completed if its model or its node has ended."""
        text = self.open.pop(run)
        yield from text.close(self._output, phase, status or ("completed" if text.ended else "incomplete"))
        self._closed.append(text)

    def close_ended(self) -> Iterator[Event]:
        """Close ended items because another follows. Only the end shows whether one was the answer."""
        for run in [run for run, text in self.open.items() if text.ended]:
            yield from self.close(run, None)

    def settle(self, text: MessageWriter, phase: Phase) -> None:
        """Set the phase of a closed item, unless it has one."""
        text.phase = text.phase or phase
        self._output.settle(text.index, phase)

    def settle_all(self, answer: MessageWriter | None, *, plain: bool) -> None:
        """Every item is closed: one is the answer, all others are commentary. `plain` drops what was taken back."""
        for text in self._closed:
            self.settle(text, phase_of(text, answer))
            # A stream has sent the item, and a sent item stays. Nothing of a plain reply was sent yet.
            if text.retracted and plain and text is not answer:
                self._output.drop(text.index)

    def restore(self, text: MessageWriter) -> None:
        """An item that an earlier attempt of this run closed."""
        self._closed.append(text)

    # -- which one is a message -----------------------------------------------------------------------------------

    def run_of(self, message: AIMessage, said: str) -> str | None:
        """The run whose open item is this message: by its id, else by its text, because a node may return a copy."""
        for run, text in self.open.items():
            if text.is_of(message.id):
                return run
        # Compared without surrounding white space, which some nodes strip.
        same = (run for run, text in self.open.items() if text.written.strip() == said.strip())
        return next(same, None)

    def closed_as(self, message: AIMessage, said: str) -> MessageWriter | None:
        """The closed item that is this message and may be the answer: by its id, else the latest with its text."""
        same = [text for text in self._closed if text.written.strip() == said.strip() and not text.is_aside]
        if not said.strip() or not same:
            return None
        return next((text for text in same if text.is_of(message.id)), same[-1])

    def was_aside(self, said: str) -> bool:
        """Whether this text was sent as commentary."""
        return any(text.is_aside and text.written.strip() == said.strip() for text in self._closed)

    def retract(self, message_id: str | None, said: str = "") -> None:
        """The message with that id was taken back, or says `said` now."""
        for text in self.candidates:
            if text.is_of(message_id):
                text.retracted = text.written.strip() != said.strip()

    def last(self) -> MessageWriter | None:
        """The last item that may be the answer."""
        return max(self.candidates, key=lambda text: text.index, default=None)


def phase_of(text: MessageWriter, answer: MessageWriter | None) -> Phase:
    """The phase of an item, given the answer."""
    return "final_answer" if text is answer else "commentary"
