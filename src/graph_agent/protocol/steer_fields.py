"""The fields of a request that steers a response. Light, because the description of the API needs them."""

from collections.abc import Sequence
from typing import Any

from graph_agent.protocol.field_checks import (
    NOT_BLANK,
    Field,
    Fields,
    Schema,
    a_name,
    accepts,
    fields_schema,
    kind_of,
    one_of,
    wrong,
)
from graph_agent.protocol.item_shapes import ITEMS, tagged
from graph_agent.protocol.steering import ACCEPTED, FAILED, PENDING
from graph_agent.protocol.steering import STEER as STEER_MESSAGE
from graph_agent.protocol.wire_schemas import COUNT, STRING, array_of, closed, const

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

SOCKET_STEER: Fields = {
    "type": Field(one_of(STEER_MESSAGE), f"`{STEER_MESSAGE}`.", required=f"send '{STEER_MESSAGE}'"),
    "previous_response_id": Field(a_name, "The response in flight.", required="send the id of the response in flight"),
    **STEER,
}
"""The message of a WebSocket that steers."""

STEER_SCHEMA: Schema = {
    "title": "ResponseSteerMessage",
    "description": "Says something to the response in flight.",
    **fields_schema(SOCKET_STEER),
}
"""The schema of that message."""

REQUIRED_INPUT: Schema = closed(
    "RequiredInput", {"type": STRING}, dict.fromkeys(("call_id", "name", "approval_request_id"), STRING)
)
"""What a response waits for, without its answer."""

_STEER = {"id": STRING, "previous_response_id": STRING}
_SAID = {"previous_response_id": STRING, "input": {"type": ["string", "array"]}}
_ERROR = closed(None, {"type": const("invalid_request_error"), "code": STRING, "message": STRING})

STEER_EVENTS: Sequence[Schema] = (
    closed("SteerAccepted", {"type": const(ACCEPTED), "sequence_number": COUNT, "steer": closed(None, _STEER)}),
    closed(
        "SteerPending",
        {
            "type": const(PENDING),
            "sequence_number": COUNT,
            "steer": closed(None, _STEER),
            "reason": const("waiting_for_required_input"),
            "required_input": array_of(REQUIRED_INPUT),
        },
    ),
    closed(
        "SteerFailed",
        {
            "type": const(FAILED),
            "sequence_number": COUNT,
            "steer": closed(None, _SAID, {"id": STRING}),
            "error": _ERROR,
        },
    ),
)
"""The schemas of what is said about it."""
