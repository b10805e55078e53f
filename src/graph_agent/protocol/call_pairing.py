"""Finds the result of each tool call, and items that repeat another item."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graph_agent.client_tools import INPUT
from graph_agent.errors import InvalidRequest
from graph_agent.protocol.item_shapes import CALL_ID, RESULT_ID, Item, call_id_path
from graph_agent.protocol.json_decoding import Pulse, UnusableJson, decode, no_pulse

_ID_FIELD = {**CALL_ID, **RESULT_ID}


@dataclass(slots=True)
class Pairs:
    """Indexes into a list of items."""

    calls: dict[str, int] = field(default_factory=dict)
    """Call id -> the item that is the call."""

    results: dict[str, int] = field(default_factory=dict)
    """Call id -> the item that is its result."""

    unread: set[int] = field(default_factory=set)
    """Items that another item repeats or replaces. They are kept, but do not become messages."""

    said: dict[int, list[Any]] = field(default_factory=dict)
    """Contents of items that were repeated: parsed once, however often they are repeated."""


def pair(items: Sequence[Item], path: str, *, first: int = 0, pulse: Pulse = no_pulse) -> Pairs:
    """Find calls and results. `first` is the place of the first item in the list at `path`.

    Raises `InvalidRequest` if two different items have the same call id.
    """
    pairs = Pairs()
    for index, item in enumerate(items):
        pulse()
        if item["type"] in CALL_ID:
            _claim(pairs, pairs.calls, items, index, path, first)
        elif item["type"] in RESULT_ID:
            _claim(pairs, pairs.results, items, index, path, first)
    for item in items:
        if item["type"] == "mcp_call":
            # It contains its own result, and it implies that an approval, if one was needed, was given.
            _overtake_result(pairs, item["id"])
            _overtake_approval(pairs, items, item.get("approval_request_id"))
    return pairs


def call_id_of(item: Item) -> str:
    """The id of the call that an item is or answers."""
    return str(item[_ID_FIELD[item["type"]]])


def arguments_of(call: Item) -> dict[str, Any]:
    """The call's arguments. Broken JSON of a model becomes one argument, so that the conversation can continue."""
    if call["type"] == "custom_tool_call":
        return {INPUT: call["input"]}
    text = call["arguments"]
    try:
        arguments = decode(text) if text.strip() else {}
    except UnusableJson:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"arguments": text}


def _claim(pairs: Pairs, taken: dict[str, int], items: Sequence[Item], index: int, path: str, first: int) -> None:
    call_id = call_id_of(items[index])
    earlier = taken.setdefault(call_id, index)
    if earlier == index:
        return
    if _is_approval(items[index]) != _is_approval(items[earlier]):
        # The call replaces its approval request, and the result replaces the approval: they say more.
        approval, fact = (index, earlier) if _is_approval(items[index]) else (earlier, index)
        pairs.unread.add(approval)
        taken[call_id] = fact
    elif _said_before(pairs, items, earlier) == _said(items[index]):
        # ChatDatabricks resends each call twice: from the message's content and from its tool calls.
        pairs.unread.add(index)
    else:
        param = call_id_path(items[index], f"{path}[{max(index + first, 0)}]")
        before = f"`{path}[{earlier + first}]`" if earlier + first >= 0 else "an item earlier in the conversation"
        raise InvalidRequest(f"`{param}` is already used by {before}.", param=param)


def _is_approval(item: Item) -> bool:
    return bool(item["type"].startswith("mcp_approval"))


def _overtake_result(pairs: Pairs, call_id: str) -> None:
    if (index := pairs.results.pop(call_id, None)) is not None:
        pairs.unread.add(index)


def _overtake_approval(pairs: Pairs, items: Sequence[Item], approval_id: str | None) -> None:
    index = pairs.calls.get(approval_id) if approval_id else None
    if approval_id and index is not None and items[index]["type"] == "mcp_approval_request":
        pairs.unread.add(pairs.calls.pop(approval_id))
        _overtake_result(pairs, approval_id)


def _said_before(pairs: Pairs, items: Sequence[Item], index: int) -> list[Any]:
    if index not in pairs.said:
        pairs.said[index] = _said(items[index])
    return pairs.said[index]


def _said(item: Item) -> list[Any]:
    if item["type"] in CALL_ID:
        return [item["type"], item["name"], arguments_of(item)]
    return [item["type"], item.get("output"), item.get("approve")]
