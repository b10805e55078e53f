"""LangGraph stream parts in, Responses events out: a synchronous state machine without I/O.

    start ──► feed* ──► finish | cut | fail        exactly one terminal event, everything opened is closed

What is public:

- Text of a model streams as it is written, from subgraphs too, unless the model run is private (inside a tool, or
  asked for structured output) or tagged `nostream`.
- A message nobody streamed is held back: only when it is still the last one at the end is it the answer.
- Text that turned out to precede tool calls, or another message, becomes `phase: commentary`, an item of its own.
- Tool calls and tool results are public items; what a tool did inside is not, nor what an exception said.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage, convert_to_messages
from langgraph.types import Overwrite

from graph_agent.errors import AgentError, ApprovalsNotServed
from graph_agent.protocol import events
from graph_agent.protocol.calls import Calls
from graph_agent.protocol.content import text_of
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event, Item, ResponseHead, Usage
from graph_agent.protocol.output import Output
from graph_agent.protocol.speech import Speech
from graph_agent.redaction import redact_value

SPEAKER = "graph_agent_speaker"
"""Key in a stream part's metadata: which model run speaks. Absent where its words are nobody's answer."""

BUDGET_SENTENCES: Mapping[str, str] = {
    "steps": "I stopped here: this answer would take more steps than one run may use.",
    "tool_calls": "I stopped here: this answer would take more tool calls than one run may use.",
    "seconds": "I stopped here: the time for one run was used up.",
    "output_tokens": "I stopped here: the length limit of one run was reached.",
}


class Translator:
    """Turns one run's stream parts into one response's events.

    `known` are the messages the caller sent: a node that returns them again adds nothing. `server` is the label
    OpenAI's `mcp_call` items carry.
    """

    def __init__(
        self, *, dialect: Dialect, head: ResponseHead, known: Iterable[BaseMessage] = (), server: str = "agent"
    ) -> None:
        known = list(known)
        self._dialect = dialect
        self._head = head
        self._known = {message.id for message in known if message.id}
        self._returned: dict[str, tuple[str | None, ...]] = {}
        self._output = Output()
        self._speech = Speech(self._output)
        self._calls = Calls(self._output, dialect=dialect, server=server, known=_call_ids(known))
        self.custom_outputs: dict[str, Any] = {}
        self.ended = False

    @property
    def output(self) -> list[Item]:
        """Every item closed so far, in the order opened."""
        return self._output.items

    @property
    def answer(self) -> str:
        """The visible text so far, closed items and open ones, commentary left out."""
        return "\n".join(self._speech.texts)

    @property
    def tool_calls(self) -> int:
        """Tool calls the graph asked for."""
        return self._calls.count

    # -- the life of a response ---------------------------------------------------------------------------------

    def start(self) -> Iterator[Event]:
        """`response.created` and `response.in_progress`."""
        for kind in ("response.created", "response.in_progress"):
            yield events.lifecycle(kind, self._head.response("in_progress"))

    def feed(self, part: Mapping[str, Any]) -> Iterator[Event]:
        """One stream part (`version="v2"`, modes `messages` and `updates`).

        Raises:
            ApprovalsNotServed: the graph called `interrupt()`.
        """
        if part["type"] == "messages":
            message, metadata = part["data"]
            speaker = metadata.get(SPEAKER)
            if speaker is not None and isinstance(message, AIMessageChunk):
                return self._speech.spoke(speaker, message)
        elif part["type"] == "updates":
            return self._nodes_returned(part["data"], root=not part["ns"])
        return iter(())

    def finish(self, usage: Usage) -> Iterator[Event]:
        """The run ended by itself: close what is open, the last message as the answer, then `response.completed`."""
        yield from self._calls.leave_open()
        yield from self._speech.finish()
        yield self._terminal("response.completed", "completed", usage=usage.fields())

    def cut(self, budget: str, usage: Usage) -> Iterator[Event]:
        """A budget is spent: say so in the text, then `response.incomplete`."""
        yield from self._calls.abandon()
        yield from self._speech.cut(BUDGET_SENTENCES[budget])
        self.custom_outputs["budget"] = budget
        yield self._terminal(
            "response.incomplete",
            "incomplete",
            usage=usage.fields(),
            # Clients know two reasons only; the precise budget stands beside it.
            incomplete_details={"reason": "max_output_tokens"},
            metadata={**self._head.metadata, "budget": budget},
        )

    def fail(self, error: AgentError, usage: Usage) -> Iterator[Event]:
        """The run failed: close what is open as incomplete, then the error as this dialect says it."""
        yield from self._calls.abandon()
        yield from self._speech.break_off()
        fields = redact_value(error.fields())
        if self._dialect.failure == "error_frame":
            self.ended = True
            yield events.invocations_error(fields)
            return
        yield events.stream_error(fields)
        summary = {"code": fields["code"], "message": fields["message"]}
        yield self._terminal("response.failed", "failed", error=summary, usage=usage.fields())

    def _terminal(self, kind: str, status: events.Status, **more: Any) -> Event:
        self.ended = True
        if self.custom_outputs:
            more["custom_outputs"] = dict(self.custom_outputs)
        return events.lifecycle(kind, self._head.response(status, self.output, **more))

    # -- what nodes returned ------------------------------------------------------------------------------------

    def _nodes_returned(self, data: Mapping[str, Any], *, root: bool) -> Iterator[Event]:
        if "__interrupt__" in data:
            raise ApprovalsNotServed("the graph waits for a person's decision; approvals are not served yet")
        for update in data.values():
            for values in _mappings(update):
                if root and isinstance(outputs := values.get("custom_outputs"), Mapping):
                    self.custom_outputs.update(redact_value(outputs))
                for message in _messages(values.get("messages")):
                    if not self._is_repeated(message):
                        yield from self._returned_message(message)

    def _is_repeated(self, message: BaseMessage) -> bool:
        """Sent by the caller, or returned before: by its id, as long as it says the same."""
        if message.id is None:
            return False
        calls = message.tool_calls if isinstance(message, AIMessage) else ()
        says = (text_of(message.content), *(call["id"] for call in calls))
        before, self._returned[message.id] = self._returned.get(message.id), says
        return message.id in self._known or before == says

    def _returned_message(self, message: BaseMessage) -> Iterator[Event]:
        match message:
            case ToolMessage():
                yield from self._calls.answered(message)
            case AIMessage(tool_calls=[_, *_]):
                yield from self._speech.requested_tools(message)
                yield from self._calls.requested(message)
            case AIMessage():
                yield from self._speech.returned(message)


def _call_ids(messages: Iterable[BaseMessage]) -> Iterator[str]:
    for message in messages:
        if isinstance(message, AIMessage):
            yield from (call["id"] for call in message.tool_calls if call["id"])


def _mappings(update: Any) -> Iterator[Mapping[str, Any]]:
    """A node's update: a mapping, `None`, or a list of them from several `Command`s."""
    if isinstance(update, Mapping):
        yield update
    elif isinstance(update, list | tuple):
        for one in update:
            yield from _mappings(one)


def _messages(value: Any) -> Iterator[BaseMessage]:
    """Messages in every form LangGraph takes: objects, dictionaries, pairs of role and text, alone or in lists."""
    match value:
        case BaseMessage():
            yield value
        case {"role": str(), "content": _} | {"type": str(), "content": _}:
            yield from convert_to_messages([dict(value)])
        case tuple((str(), str())):
            yield from convert_to_messages([value])
        case list() | tuple():
            for one in value:
                yield from _messages(one)
        case Overwrite(value=replaced) | {"__overwrite__": replaced}:
            # What is new in a replaced list is told apart by id.
            yield from _messages(replaced)
