"""Tool calls that must not be run: the model was cut off during the call, or the arguments are not a JSON object.

LangChain parses incomplete arguments of a streamed call, and half of the arguments would be run as if they were
complete. It removes calls whose arguments it cannot parse at all, and an agent then ends without an answer. Both kinds
go back to the model as an error: the call stays in the message, and its result says what was wrong.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolCall

from graph_agent.protocol.finish_reasons import EarlyEnd, early_end_of

BROKEN = "its arguments were not a JSON object. Call the tool again with all of its arguments as JSON."
CUT = "the model was cut off before it had finished."


@dataclass(slots=True)
class _Streamed:
    """A call that is being streamed."""

    call_id: str = ""
    arguments: list[str] = field(default_factory=list)


class InvalidCalls:
    """The invalid calls of one run of a graph."""

    def __init__(self) -> None:
        self._streamed: dict[UUID, dict[Any, _Streamed]] = {}
        self._broken: set[str] = set()
        self._without_id: set[str] = set()
        """Names of tools with a broken call. A graph may run such a call without its id."""
        self._cut: dict[str, EarlyEnd] = {}

    def heard(self, run_id: UUID, chunks: Iterable[Any]) -> None:
        """Record the pieces of calls in a chunk of a model's message."""
        calls = self._streamed.setdefault(run_id, {})
        for chunk in chunks:
            key = chunk.get("index")
            call = calls.setdefault(key if key is not None else (chunk.get("id") or len(calls)), _Streamed())
            call.call_id = call.call_id or chunk.get("id") or ""
            if isinstance(chunk.get("args"), str):
                call.arguments.append(chunk["args"])

    def ended(self, run_id: UUID, message: BaseMessage, *, repair: bool) -> None:
        """A model's message is complete. With `repair`, unreadable calls become calls without arguments."""
        streamed = self._streamed.pop(run_id, {})
        if not isinstance(message, AIMessage):
            return
        for call_id in (call["id"] or "" for call in message.tool_calls):
            # Some endpoints reuse ids. The same id in a new message is another call.
            self._broken.discard(call_id)
            self._cut.pop(call_id, None)
        self._broken |= {one.call_id for one in streamed.values() if not _is_object(one.arguments)}
        if repair:
            for broken in message.invalid_tool_calls:
                self._repair(message, broken)
        ending = early_end_of(message.response_metadata) if message.tool_calls else None
        if ending is not None:
            self._cut |= {call["id"] or "": ending for call in message.tool_calls}

    def _repair(self, message: AIMessage, broken: Any) -> None:
        if not broken["name"]:
            return
        call_id = broken["id"] or f"call_{uuid4().hex[:24]}"
        self._broken.add(call_id)
        self._without_id.add(broken["name"])
        call = ToolCall(name=broken["name"], args={}, id=call_id, type="tool_call")
        message.tool_calls = [*message.tool_calls, call]
        message.invalid_tool_calls = [one for one in message.invalid_tool_calls if one is not broken]

    def renamed(self, ids: Mapping[str, str]) -> None:
        """Calls got other ids than the model gave them: old id -> new id."""
        self._cut |= {new: self._cut[old] for old, new in ids.items() if old in self._cut}
        self._broken |= {new for old, new in ids.items() if old in self._broken}

    def cut(self, call_id: str | None) -> EarlyEnd | None:
        """Why the model was cut off while it wrote this call, or `None`."""
        return None if call_id is None else self._cut.get(call_id)

    def why(self, call_id: str | None, name: str, inputs: Any) -> str | None:
        """Why this call must not be run, or `None` if it may."""
        if call_id in self._cut:
            return CUT
        if call_id in self._broken or (call_id is None and not inputs and name in self._without_id):
            return BROKEN
        return None


def _is_object(arguments: list[str]) -> bool:
    text = "".join(arguments)
    if not text.strip():
        # For a tool without parameters, some models write nothing.
        return True
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except ValueError:
        return False
