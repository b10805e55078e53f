"""Tool calls and their results as items, in either dialect."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from langchain_core.messages import AIMessage, ToolMessage

from graph_agent.contract import PUBLIC_ERROR
from graph_agent.protocol import events
from graph_agent.protocol.content import output_text
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event
from graph_agent.protocol.output import Output
from graph_agent.redaction import redact

NEVER_RETURNED = "the run ended before this tool returned"


@dataclass(slots=True)
class _Call:
    """A tool call that waits for its result; in the Databricks dialect its own item is already closed."""

    index: int
    item_id: str
    name: str
    arguments: str


class Calls:
    """The tool calls of one response. `known` are the ids of calls the caller sent: they are nobody's news."""

    def __init__(self, output: Output, *, dialect: Dialect, server: str, known: Iterable[str]) -> None:
        self._output = output
        self._prefix = dialect.tool_items
        self._server = server
        self._asked = set(known)
        self._waiting: dict[str, _Call] = {}
        self.count = 0

    def requested(self, message: AIMessage) -> Iterator[Event]:
        """The calls of a message."""
        for call in message.tool_calls:
            call_id = call["id"] or events.new_id("call")
            if call_id in self._asked:
                continue
            self._asked.add(call_id)
            self.count += 1
            arguments = redact(json.dumps(call["args"], ensure_ascii=False, skipkeys=True, default=str))
            yield from self._open(call_id, call["name"], arguments)

    def answered(self, message: ToolMessage) -> Iterator[Event]:
        """A tool's result; one of a call nobody asked for in this run is left out."""
        if message.tool_call_id in self._waiting:
            call = self._waiting.pop(message.tool_call_id)
            failed = message.status == "error"
            yield from self._close(message.tool_call_id, call, _public(message, call.name), failed=failed)

    def abandon(self) -> Iterator[Event]:
        """Close the calls whose result never came: a call without one is an unfinished turn to every client."""
        for call_id, call in self._waiting.items():
            yield from self._close(call_id, call, NEVER_RETURNED, failed=True)
        self._waiting.clear()

    def leave_open(self) -> Iterator[Event]:
        """The graph ended on its calls: a `function_call` without a result is one the client may answer itself."""
        if self._prefix == "mcp_call":
            yield from self.abandon()

    def _open(self, call_id: str, name: str, arguments: str) -> Iterator[Event]:
        prefix, index = self._prefix, self._output.open()
        item_id = events.new_id("fc" if prefix == "function_call" else "mcp")
        self._waiting[call_id] = _Call(index, item_id, name, arguments)
        if prefix == "function_call":
            yield events.item_added(index, events.function_call_item(item_id, call_id, name, "", "in_progress"))
        else:
            opened = events.mcp_call_item(item_id, name, "", "in_progress", server=self._server)
            yield events.item_added(index, opened)
            yield events.mcp_call_progress(item_id, index, "in_progress")
        yield events.arguments_delta(prefix, item_id, index, arguments)
        yield events.arguments_done(prefix, item_id, index, name, arguments)
        if prefix == "function_call":
            done = events.function_call_item(item_id, call_id, name, arguments, "completed")
            yield self._output.close(index, done)

    def _close(self, call_id: str, call: _Call, text: str, *, failed: bool) -> Iterator[Event]:
        if self._prefix == "function_call":
            index, item = self._output.open(), events.function_call_output_item(call_id, text)
            yield events.item_added(index, item)
            yield self._output.close(index, item)
            return
        state: Literal["failed", "completed"] = "failed" if failed else "completed"
        item = events.mcp_call_item(
            call.item_id,
            call.name,
            call.arguments,
            state,
            server=self._server,
            output=None if failed else text,
            error=text if failed else None,
        )
        yield events.mcp_call_progress(call.item_id, call.index, state)
        yield self._output.close(call.index, item)


def _public(message: ToolMessage, name: str) -> str:
    """What the caller may read: the text of an error may quote any exception, and that is meant for the model."""
    public = message.additional_kwargs.get(PUBLIC_ERROR)
    if message.status == "error" and not public:
        return f"the tool {name!r} failed"
    return redact(public if message.status == "error" and isinstance(public, str) else output_text(message))
