"""The fields of a request that steers a response. Light, because the description of the API needs them."""

from typing import Any

from graph_agent.protocol.field_checks import NOT_BLANK, Field, Fields, Schema, accepts, kind_of, wrong
from graph_agent.protocol.item_shapes import ITEMS, tagged

MOST_MESSAGES = 100
"""Messages in one request that steers."""

PARTS = ("input_text", "input_image", "input_file")
"""The content parts that a user's message may have."""

MESSAGE_FIELDS = ("type", "role", "content", "id", "status")

_MESSAGE: Schema = {
    "title": "SteerMessage",
    "description": "A message of the user.",
    "type": "object",
    "properties": {
        **tagged("message", ITEMS["message"], "Steer")["properties"],
        "type": {"const": "message"},
        "role": {"const": "user"},
    },
    "required": ["role", "content"],
    "additionalProperties": False,
}


@accepts(
    {
        "anyOf": [
            {"type": "string", "pattern": NOT_BLANK},
            {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": MOST_MESSAGES},
        ]
    }
)
def _messages(value: Any, path: str) -> None:
    expected = "a string or an array of messages of the user"
    if not isinstance(value, str | list):
        raise wrong(path, expected, kind_of(value))
    if not value or (isinstance(value, str) and value.isspace()):
        raise wrong(path, f"{expected} that is not empty", kind_of(value) if not value else "only white space")
    if len(value) > MOST_MESSAGES and isinstance(value, list):
        raise wrong(path, f"an array of at most {MOST_MESSAGES} messages", f"{len(value)}")


STEER: Fields = {
    "input": Field(
        _messages,
        "Messages of the user: a string, or an array of messages with text, images and files.",
        required="send a string or an array of messages",
    )
}
"""The body of `POST /responses/{id}/steer`."""
