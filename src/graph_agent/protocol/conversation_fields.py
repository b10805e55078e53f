"""The fields of the bodies of the conversations API. Light, because the description of the API needs them."""

from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import Field, Fields, Schema, accepts, an_array, text_within, wrong
from graph_agent.protocol.item_shapes import item_schema
from graph_agent.protocol.request_fields import a_metadata

MAX_TITLE = 200
"""Characters of a conversation's title."""

MAX_NEW_ITEMS = 1000
"""Items that one request may add."""

SEND_ITEMS = "send the items to add"

_ITEMS: Schema = {"type": "array", "items": item_schema(references=False), "maxItems": MAX_NEW_ITEMS}


@accepts(_ITEMS)
def _some_items(value: Any, path: str) -> None:
    an_array(value, path)
    if len(value) > MAX_NEW_ITEMS:
        raise wrong(path, f"an array of at most {MAX_NEW_ITEMS} items", f"{len(value)}")


@accepts({**_ITEMS, "minItems": 1})
def _new_items(value: Any, path: str) -> None:
    if not value and (value is None or isinstance(value, list)):
        raise InvalidRequest(f"`{path}` is missing: {SEND_ITEMS}.", param=path)
    _some_items(value, path)


_ABOUT: Fields = {
    "metadata": Field(a_metadata, "At most 16 strings by name. They replace those that there are."),
    "title": Field(text_within(MAX_TITLE), "What people see in a list of conversations."),
}

NEW_CONVERSATION: Fields = {"items": Field(_some_items, "The items that the conversation begins with."), **_ABOUT}
"""The body of `POST /conversations`."""

CONVERSATION_CHANGE: Fields = _ABOUT
"""The body of `POST /conversations/{id}`, which has one field at least."""

NEW_ITEMS: Fields = {"items": Field(_new_items, "The items to add at the end.", required=SEND_ITEMS)}
"""The body of `POST /conversations/{id}/items`."""
