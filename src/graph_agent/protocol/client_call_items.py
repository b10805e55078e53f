"""The items of calls that the client runs: `function_call`, or `custom_tool_call` for a tool that takes one string.

They are the same in every dialect. The arguments of a function stream while its model writes them, if the id of the
call is final by then.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk

from graph_agent.client_tools import INPUT, ClientTool
from graph_agent.protocol import events, item_events
from graph_agent.protocol.events import Event, Item, Status
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.requested_calls import RequestedCall, RequestedCalls, arguments_of
from graph_agent.redaction import Redactor, redact


@dataclass(slots=True)
class _Streamed:
    """A call that is being written."""

    call_id: str
    tool: ClientTool
    index: int
    item_id: str
    written: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    redactor: Redactor = field(default_factory=Redactor)


class ClientCallItems:
    """The calls of one response that its client runs. `tools` are those of the request, as the model calls them."""

    def __init__(
        self, output: OutputItems, *, asked: RequestedCalls, tools: Mapping[str, ClientTool], parallel: bool
    ) -> None:
        self._output = output
        self._asked = asked
        self._tools = tools
        self._parallel = parallel
        self._streamed: dict[tuple[str, Any], _Streamed] = {}
        self._skipped: set[tuple[str, Any]] = set()

    def begins(self, chunk: AIMessageChunk) -> bool:
        """Whether a model begins to write a call whose item opens now."""
        return any(self._opens(piece) for piece in chunk.tool_call_chunks)

    def heard(self, run: str, chunk: AIMessageChunk) -> Iterator[Event]:
        """Pieces of calls, as the model run `run` writes them."""
        for piece in chunk.tool_call_chunks:
            key = (run, piece.get("index") if piece.get("index") is not None else piece.get("id"))
            if key not in self._streamed:
                if key in self._skipped or not self._opens(piece) or not self._may_be_next(run):
                    # What follows belongs to a call that does not stream.
                    self._skipped.add(key)
                    continue
                yield from self._open(key, piece)
            if arguments := piece.get("args"):
                yield from self._write(self._streamed[key], arguments)

    def ask(self, call: RequestedCall, status: Status = "completed") -> Iterator[Event]:
        """The client has to answer this call: its item, or the rest of one that was streamed. It is `incomplete` if its
        model was cut off."""
        assert call.client is not None
        key = next((key for key, one in self._streamed.items() if one.call_id == call.call_id), None)
        if key is None:
            yield from self._whole(call, call.client, status)
            return
        one = self._streamed.pop(key)
        yield from self._flush(one)
        written = "".join(one.shown)
        # A node may have edited the call. Then what it returned counts. Broken JSON stays as the model wrote it.
        arguments = written if _says(one.written, call.args) else arguments_of(call.args)
        yield from self._done(one, arguments, status)

    def break_off(self) -> Iterator[Event]:
        """Close the calls that no node has returned. The client must not run them, so the response leaves them out."""
        for one in list(self._streamed.values()):
            yield from self._flush(one)
            yield from self._done(one, "".join(one.shown), "incomplete")
            self._output.drop(one.index)
        self._streamed.clear()

    def _opens(self, piece: Any) -> bool:
        name, call_id = piece.get("name"), piece.get("id")
        tool = self._tools.get(name or "")
        if tool is None or tool.kind != "function" or not call_id:
            return False
        # Another id would be chosen later, and a call keeps the id under which it was sent.
        return self._asked.is_free(call_id) and all(one.call_id != call_id for one in self._streamed.values())

    def _may_be_next(self, run: str) -> bool:
        return self._parallel or not any(of == run for of, _ in (*self._streamed, *self._skipped))

    def _open(self, key: tuple[str, Any], piece: Any) -> Iterator[Event]:
        one = _Streamed(piece["id"], self._tools[piece["name"]], self._output.open(), events.new_id("fc"))
        self._streamed[key] = one
        yield item_events.item_added(one.index, _function_call(one.item_id, one.call_id, one.tool, "", "in_progress"))

    def _write(self, one: _Streamed, arguments: str) -> Iterator[Event]:
        one.written.append(arguments)
        if shown := one.redactor.feed(arguments):
            one.shown.append(shown)
            yield item_events.arguments_delta("function_call", one.item_id, one.index, shown)

    def _flush(self, one: _Streamed) -> Iterator[Event]:
        if rest := one.redactor.flush():
            one.shown.append(rest)
            yield item_events.arguments_delta("function_call", one.item_id, one.index, rest)
        if not "".join(one.shown).strip():
            # For a tool without parameters, some models write nothing, and clients parse JSON.
            one.shown.append("{}")
            yield item_events.arguments_delta("function_call", one.item_id, one.index, "{}")

    def _done(self, one: _Streamed, arguments: str, status: Status) -> Iterator[Event]:
        name = redact(one.tool.name)
        yield item_events.arguments_done("function_call", one.item_id, one.index, name, arguments)
        yield self._output.close(one.index, _function_call(one.item_id, one.call_id, one.tool, arguments, status))

    def _whole(self, call: RequestedCall, tool: ClientTool, status: Status) -> Iterator[Event]:
        index = self._output.open()
        if tool.kind == "custom":
            item_id, text = events.new_id("ctc"), redact(_input_of(call.args))
            yield item_events.item_added(index, _custom_call(item_id, call.call_id, tool, "", "in_progress"))
            yield item_events.custom_input_delta(item_id, index, text)
            yield item_events.custom_input_done(item_id, index, text)
            yield self._output.close(index, _custom_call(item_id, call.call_id, tool, text, status))
            return
        one = _Streamed(call.call_id, tool, index, events.new_id("fc"))
        arguments = arguments_of(call.args)
        yield item_events.item_added(index, _function_call(one.item_id, one.call_id, tool, "", "in_progress"))
        yield item_events.arguments_delta("function_call", one.item_id, index, arguments)
        yield from self._done(one, arguments, status)


def _function_call(item_id: str, call_id: str, tool: ClientTool, arguments: str, status: Status) -> Item:
    item = item_events.function_call_item(item_id, call_id, redact(tool.name), arguments, status)
    return item if tool.namespace is None else item | {"namespace": redact(tool.namespace)}


def _custom_call(item_id: str, call_id: str, tool: ClientTool, text: str, status: Status) -> Item:
    item = item_events.custom_tool_call_item(item_id, call_id, redact(tool.name), text, status)
    return item if tool.namespace is None else item | {"namespace": redact(tool.namespace)}


def _input_of(args: Any) -> str:
    """The text of a custom call. A model may have written other arguments, which then are the text."""
    text = args.get(INPUT) if isinstance(args, Mapping) and len(args) == 1 else None
    return text if isinstance(text, str) else json.dumps(args, ensure_ascii=False, skipkeys=True, default=str)


def _says(written: list[str], args: Any) -> bool:
    try:
        said = json.loads("".join(written) or "{}", strict=False)
    except (ValueError, RecursionError):
        return True
    return bool(said == args)
