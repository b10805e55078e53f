"""Reads the bodies of the conversations API. As in a run's request, no field is ignored silently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.protocol.conversation_fields import CONVERSATION_CHANGE, NEW_CONVERSATION, NEW_ITEMS
from graph_agent.protocol.events import new_id
from graph_agent.protocol.field_checks import Fields, at, check_fields
from graph_agent.protocol.item_shapes import PREFIXES, check_item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.messages import to_messages
from graph_agent.protocol.request_bodies import body_fields, redacted

Item = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversation:
    """The body of `POST /conversations`."""

    items: Sequence[Item] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationChange:
    """The body of `POST /conversations/{id}`. What is `None` stays as it is."""

    metadata: Mapping[str, str] | None = None
    title: str | None = None


def parse_new_conversation(body: bytes, *, pulse: Pulse = no_pulse) -> NewConversation:
    """Read the body of `POST /conversations`.

    Raises:
        InvalidRequest: the body is wrong; `param` names the field.
    """
    fields = _fields(body, NEW_CONVERSATION, pulse)
    return NewConversation(
        items=_items(fields.get("items") or [], pulse),
        metadata=fields.get("metadata") or {},
        title=fields.get("title"),
    )


def parse_conversation_change(body: bytes, *, pulse: Pulse = no_pulse) -> ConversationChange:
    """Read the body of `POST /conversations/{id}`.

    Raises:
        InvalidRequest: the body is wrong, or changes nothing; `param` names the field.
    """
    fields = _fields(body, CONVERSATION_CHANGE, pulse)
    if not fields:
        raise InvalidRequest("`metadata` and `title` are missing: send the one to change.", param="metadata")
    return ConversationChange(metadata=fields.get("metadata"), title=fields.get("title"))


def parse_new_items(body: bytes, *, pulse: Pulse = no_pulse) -> Sequence[Item]:
    """Read the body of `POST /conversations/{id}/items`. Every item gets an id of its own.

    Raises:
        InvalidRequest: the body is wrong; `param` names the field.
    """
    fields = _fields(body, NEW_ITEMS, pulse)
    return _items(fields["items"], pulse)


def _fields(body: bytes, known: Fields, pulse: Pulse) -> dict[str, Any]:
    fields = redacted(body_fields(body, pulse), pulse)
    check_fields(fields, known)
    return {name: value for name, value in fields.items() if value is not None}


def _items(given: Sequence[Any], pulse: Pulse) -> Sequence[Item]:
    for index, item in enumerate(given):
        if isinstance(item, dict) and item.get("type") == "item_reference":
            path = at("items", index)
            raise UnsupportedField(f"`{path}` is an item_reference; send the item itself.", param=path)
    # Says what is wrong with an item before anything is stored: the next run makes the same messages of it.
    to_messages(given, path="items", pulse=pulse)
    return _with_own_ids([check_item(item, at("items", index)) for index, item in enumerate(given)])


def _with_own_ids(items: Sequence[Item]) -> Sequence[Item]:
    """The items with fresh ids: an item that was copied from another conversation is a new one here."""
    renamed: dict[str, str] = {}
    named = []
    for item in items:
        fresh = new_id(PREFIXES.get(item["type"], "item"))
        # Not that of an answer, which some clients give the id of its request.
        if item["type"] == "mcp_approval_request":
            renamed[item["id"]] = fresh
        named.append({**item, "id": fresh})
    # An answer to an approval request names it by its id.
    answers = "approval_request_id"
    return [
        {**item, answers: renamed.get(item[answers], item[answers])} if isinstance(item.get(answers), str) else item
        for item in named
    ]
