"""LangGraph stream parts in, Responses events out: a synchronous state machine without I/O.

    start ──► feed* ──► finish | cut | fail        exactly one terminal event, everything opened is closed

What is public:

- Text of a model streams as it is written, from subgraphs too, unless the model run is private (inside a tool, or
  asked for structured output) or tagged `nostream`.
- A message nobody streamed is held back: only when it is still the last one at the end is it the answer.
- Text that turned out to precede tool calls, or another message, is closed as `phase: commentary`, an item of its own.
- Tool calls and tool results are public items; what a tool did inside is not.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from graph_agent.errors import AgentError, ApprovalsNotServed
from graph_agent.protocol import events
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event, Item, ResponseHead, Usage
from graph_agent.protocol.messages import annotations_of, output_text, reasoning_of, text_of

PRIVATE = "graph_agent_private"
"""Key in a stream part's metadata that marks a model run whose text is nobody's answer."""

BUDGET_SENTENCES: Mapping[str, str] = {
    "steps": "I stopped here: this answer would take more steps than one run may use.",
    "tool_calls": "I stopped here: this answer would take more tool calls than one run may use.",
    "seconds": "I stopped here: the time for one run was used up.",
    "output_tokens": "I stopped here: the length limit of one run was reached.",
}


@dataclass(slots=True)
class _Text:
    """A message item that is being written."""

    index: int
    item_id: str = field(default_factory=lambda: events.new_id("msg"))
    parts: list[str] = field(default_factory=list)
    message: BaseMessage | None = None
    """The whole message, once its node has returned it."""


@dataclass(slots=True)
class _Reasoning:
    """A reasoning item that is being written."""

    index: int
    item_id: str = field(default_factory=lambda: events.new_id("rs"))
    parts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Call:
    """A tool call that waits for its result; in the Databricks dialect its own item is already closed."""

    index: int
    item_id: str
    name: str
    arguments: str


class Translator:
    """Turns one run's stream parts into one response's events.

    `known` are the ids of messages the caller sent: a node that returns them again adds nothing. `server` is the
    label OpenAI's `mcp_call` items carry.
    """

    def __init__(self, *, dialect: Dialect, head: ResponseHead, known: Iterable[str] = (), server: str = "agent"):
        self._dialect = dialect
        self._head = head
        self._server = server
        self._returned = set(known)
        self._texts: dict[str, _Text] = {}
        self._reasonings: dict[str, _Reasoning] = {}
        self._calls: dict[str, _Call] = {}
        self._called: set[str] = set()
        self._answered: set[str] = set()
        self._held: BaseMessage | None = None
        self._output: dict[int, Item] = {}
        self._next_index = 0
        self.custom_outputs: dict[str, Any] = {}
        self.tool_calls = 0
        self.ended = False

    @property
    def output(self) -> list[Item]:
        """Every item closed so far, in the order opened."""
        return [self._output[index] for index in sorted(self._output)]

    @property
    def answer(self) -> str:
        """The visible text so far, closed items and open ones, commentary left out."""
        written = ["".join(text.parts) for text in self._texts.values()]
        closed = [
            part["text"]
            for item in self.output
            if item["type"] == "message" and item.get("phase") != "commentary"
            for part in item["content"]
        ]
        return "\n".join(closed + written)

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
        match part["type"]:
            case "messages":
                message, metadata = part["data"]
                if isinstance(message, AIMessageChunk) and not metadata.get(PRIVATE):
                    yield from self._model_spoke(message)
            case "updates":
                yield from self._nodes_returned(part["data"], root=not part["ns"])

    def finish(self, usage: Usage) -> Iterator[Event]:
        """The run ended by itself: close what is open, the last message as the answer, then `response.completed`."""
        yield from self._close_reasonings()
        answer = None if self._held else self._last_text()
        for key in list(self._texts):
            yield from self._close_text(key, "final_answer" if key == answer else "commentary")
        if self._held is not None:
            yield from self._whole_answer(self._held)
        yield from self._abandon_calls()
        yield self._terminal("response.completed", "completed", usage=usage.fields())

    def cut(self, budget: str, usage: Usage) -> Iterator[Event]:
        """A budget is spent: say so in the text, then `response.incomplete`."""
        yield from self._close_reasonings()
        yield from self._abandon_calls()
        sentence = BUDGET_SENTENCES[budget]
        key = self._last_text()
        if key is None:
            key = events.new_id("cut")
            yield from self._open_text(key)
        else:
            sentence = f"\n\n{sentence}"
        yield from self._write(self._texts[key], sentence)
        for open_key in list(self._texts):
            yield from self._close_text(open_key, "final_answer" if open_key == key else "commentary", "incomplete")
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
        yield from self._close_reasonings()
        yield from self._abandon_calls()
        for key in list(self._texts):
            yield from self._close_text(key, None, "incomplete")
        fields = error.fields()
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

    # -- tokens -------------------------------------------------------------------------------------------------

    def _model_spoke(self, chunk: AIMessageChunk) -> Iterator[Event]:
        key = chunk.id or ""
        if thought := reasoning_of(chunk):
            yield from self._thought(key, thought)
        if text := text_of(chunk.content):
            if key not in self._texts:
                yield from self._close_reasonings()
                yield from self._supersede()
                yield from self._open_text(key)
            yield from self._write(self._texts[key], text)

    def _open_text(self, key: str) -> Iterator[Event]:
        text = self._texts[key] = _Text(self._take_index())
        yield events.item_added(text.index, events.message_item(text.item_id, "in_progress"))
        yield events.part_added(text.item_id, text.index)

    def _write(self, text: _Text, delta: str) -> Iterator[Event]:
        text.parts.append(delta)
        yield events.text_delta(text.item_id, text.index, delta)

    def _close_text(
        self, key: str, phase: events.Phase | None, status: events.Status = "completed"
    ) -> Iterator[Event]:
        text = self._texts.pop(key)
        whole = "".join(text.parts)
        annotations = annotations_of(text.message) if text.message is not None else []
        for position, annotation in enumerate(annotations):
            yield events.annotation_added(text.item_id, text.index, position, annotation)
        part = events.text_part(whole, annotations)
        yield events.text_done(text.item_id, text.index, whole)
        yield events.part_done(text.item_id, text.index, part)
        yield self._done(text.index, events.message_item(text.item_id, status, [part], phase))

    def _last_text(self) -> str | None:
        """The text that is the answer if the run ends now: the last one returned, else the last one opened."""
        returned = [key for key, text in self._texts.items() if text.message is not None]
        return (returned or list(self._texts) or [None])[-1]

    def _supersede(self) -> Iterator[Event]:
        """Something follows: what was already returned was not the answer."""
        self._held = None
        for key in [key for key, text in self._texts.items() if text.message is not None]:
            yield from self._close_text(key, "commentary")

    def _whole_answer(self, message: BaseMessage) -> Iterator[Event]:
        key = message.id or events.new_id("held")
        yield from self._reasoned_before(message)
        yield from self._open_text(key)
        self._texts[key].message = message
        yield from self._write(self._texts[key], text_of(message.content))
        yield from self._close_text(key, "final_answer")

    # -- reasoning ----------------------------------------------------------------------------------------------

    def _thought(self, key: str, delta: str) -> Iterator[Event]:
        if key not in self._reasonings:
            item = self._reasonings[key] = _Reasoning(self._take_index())
            yield events.item_added(item.index, events.reasoning_item(item.item_id, None))
            yield events.reasoning_part_added(item.item_id, item.index)
        item = self._reasonings[key]
        item.parts.append(delta)
        yield events.reasoning_delta(item.item_id, item.index, delta)

    def _reasoned_before(self, message: BaseMessage) -> Iterator[Event]:
        if thought := reasoning_of(message):
            yield from self._thought(message.id or "", thought)
            yield from self._close_reasonings()

    def _close_reasonings(self) -> Iterator[Event]:
        for item in self._reasonings.values():
            whole = "".join(item.parts)
            yield events.reasoning_text_done(item.item_id, item.index, whole)
            yield events.reasoning_part_done(item.item_id, item.index, whole)
            yield self._done(item.index, events.reasoning_item(item.item_id, whole))
        self._reasonings.clear()

    # -- what nodes returned ------------------------------------------------------------------------------------

    def _nodes_returned(self, data: Mapping[str, Any], *, root: bool) -> Iterator[Event]:
        if "__interrupt__" in data:
            raise ApprovalsNotServed("the graph waits for a person's decision; approvals are not served yet")
        for update in data.values():
            for values in _mappings(update):
                if root and isinstance(outputs := values.get("custom_outputs"), Mapping):
                    self.custom_outputs.update(outputs)
                for message in _messages(values.get("messages")):
                    yield from self._returned_message(message)

    def _returned_message(self, message: BaseMessage) -> Iterator[Event]:
        if message.id is not None:
            if message.id in self._returned:
                return
            self._returned.add(message.id)
        match message:
            case ToolMessage():
                yield from self._tool_answered(message)
            case AIMessage(tool_calls=[_, *_]):
                yield from self._tools_requested(message)
            case AIMessage():
                yield from self._spoke_whole(message)

    def _spoke_whole(self, message: AIMessage) -> Iterator[Event]:
        key = self._streamed_as(message)
        if key is not None:
            self._texts[key].message = message
            return
        if text_of(message.content):
            yield from self._supersede()
            self._held = message

    def _streamed_as(self, message: AIMessage) -> str | None:
        if message.id in self._texts:
            return message.id
        # A node may stream a model's tokens and return a fresh message with the same text: that is one answer.
        text = text_of(message.content).strip()
        same = (key for key, item in self._texts.items() if item.message is None and "".join(item.parts).strip() == text)
        return next(same, None)

    def _tools_requested(self, message: AIMessage) -> Iterator[Event]:
        yield from self._close_reasonings()
        key = self._streamed_as(message)
        if key is not None:
            yield from self._close_text(key, "commentary")
        yield from self._supersede()
        for call in message.tool_calls:
            call_id = call["id"] or events.new_id("call")
            if call_id in self._called:
                continue
            self._called.add(call_id)
            self.tool_calls += 1
            arguments = json.dumps(call["args"], ensure_ascii=False, default=str)
            yield from self._open_call(call_id, call["name"], arguments)

    def _open_call(self, call_id: str, name: str, arguments: str) -> Iterator[Event]:
        prefix = self._dialect.tool_items
        call = _Call(self._take_index(), events.new_id("fc" if prefix == "function_call" else "mcp"), name, arguments)
        self._calls[call_id] = call
        if prefix == "function_call":
            opened = events.function_call_item(call.item_id, call_id, name, "", "in_progress")
            yield events.item_added(call.index, opened)
        else:
            opened = events.mcp_call_item(call.item_id, name, "", "in_progress", server=self._server)
            yield events.item_added(call.index, opened)
            yield events.mcp_call_progress(call.item_id, call.index, "in_progress")
        yield events.arguments_delta(prefix, call.item_id, call.index, arguments)
        yield events.arguments_done(prefix, call.item_id, call.index, name, arguments)
        if prefix == "function_call":
            done = events.function_call_item(call.item_id, call_id, name, arguments, "completed")
            yield self._done(call.index, done)

    def _tool_answered(self, message: ToolMessage) -> Iterator[Event]:
        if message.tool_call_id in self._answered:
            return
        self._answered.add(message.tool_call_id)
        call = self._calls.pop(message.tool_call_id, None)
        output = output_text(message)
        if self._dialect.tool_items == "mcp_call":
            if call is not None:
                yield from self._close_mcp_call(call, output, failed=message.status == "error")
            return
        index, item = self._take_index(), events.function_call_output_item(message.tool_call_id, output)
        yield events.item_added(index, item)
        yield self._done(index, item)

    def _close_mcp_call(self, call: _Call, output: str | None, *, failed: bool) -> Iterator[Event]:
        state: Any = "failed" if failed else "completed"
        item = events.mcp_call_item(
            call.item_id,
            call.name,
            call.arguments,
            state,
            server=self._server,
            output=None if failed else output,
            error=output if failed else None,
        )
        yield events.mcp_call_progress(call.item_id, call.index, state)
        yield self._done(call.index, item)

    def _abandon_calls(self) -> Iterator[Event]:
        """Calls whose result never came. Function calls are closed items already."""
        if self._dialect.tool_items == "mcp_call":
            for call in self._calls.values():
                yield from self._close_mcp_call(call, "the run ended before this tool returned", failed=True)
        self._calls.clear()

    # -- indices ------------------------------------------------------------------------------------------------

    def _take_index(self) -> int:
        self._next_index += 1
        return self._next_index - 1

    def _done(self, index: int, item: Item) -> Event:
        self._output[index] = item
        return events.item_done(index, item)


def _mappings(update: Any) -> Iterator[Mapping[str, Any]]:
    """A node's update: a mapping, `None`, or a list of them from several `Command`s."""
    if isinstance(update, Mapping):
        yield update
    elif isinstance(update, list | tuple):
        for one in update:
            yield from _mappings(one)


def _messages(value: Any) -> Iterator[BaseMessage]:
    if isinstance(value, BaseMessage):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _messages(one)
    elif hasattr(value, "value"):
        # `Overwrite([...])` replaces the list; what is new in it is told apart by id.
        yield from _messages(value.value)


