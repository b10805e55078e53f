"""The ids of items that are stored."""

from collections.abc import Iterable

from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.items_from_messages import new_id
from graph_agent.protocol.json_decoding import Pulse, no_pulse

_RENEWED = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "compaction": "cmp",
    # Some clients give it the id of the request, which belongs to another item.
    "mcp_approval_response": "item",
}
"""Items that no other item refers to by `id` -> the prefix of their ids."""


def with_own_ids(items: Iterable[Item], *, pulse: Pulse = no_pulse) -> list[Item]:
    """The items as they are stored, each with an id.

    Ids that clients chose are replaced: they may repeat within a conversation, and LangGraph would then replace an
    earlier message by a later one. Only an id that another item refers to stays.
    """
    own = []
    for item in items:
        pulse()
        own.append({**item, "id": _id_of(item)})
    return own


def _id_of(item: Item) -> str:
    prefix = _RENEWED.get(item["type"])
    if prefix is not None:
        return new_id(prefix)
    return id_of(item) or new_id("item")


def id_of(item: Item) -> str | None:
    """The item's id, if it has one. An item of an unknown type may have anything there."""
    found = item.get("id")
    return found if isinstance(found, str) and found else None
