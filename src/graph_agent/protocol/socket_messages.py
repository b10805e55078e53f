"""The messages of the WebSocket at `/v1/responses`: what a client sends, and the errors that it gets.

Source: the Open Responses specification of 2026-04-24, "WebSocket Transport"; OpenAI's guide "WebSocket mode".
"""

from collections.abc import Iterable, Mapping
from typing import Any

from graph_agent.errors import AgentError, InvalidRequest, UnsupportedField
from graph_agent.protocol.field_checks import Schema, a_boolean, shown
from graph_agent.protocol.json_decoding import Pulse
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.protocol.request_fields import RUN
from graph_agent.protocol.wire_schemas import COUNT, ERROR_FIELDS, STRING, closed, enum
from graph_agent.redaction import redact_value

CREATE = "response.create"
"""The message that asks for a response. Its other fields are those of a request's body."""

CREATE_SCHEMA: Schema = {
    "title": "ResponseCreateMessage",
    "description": "Asks for a response over a WebSocket.",
    "type": "object",
    "properties": {
        "type": {"const": CREATE},
        "generate": {
            "type": ["boolean", "null"],
            "description": "`false`: nothing runs. The response only says what comes before the next one.",
        },
        **{name: field.schema for name, field in RUN.items() if name != "background"},
    },
    "required": ["type"],
    "additionalProperties": False,
}
"""The schema of that message. `input` may be missing where there is something to go on with."""

LONGEST_STREAM_ID = 64
"""Characters of a `stream_id` that is sent back."""

OWN = frozenset({"type", "generate", "stream_id"})
"""The fields of that message which the body of a request does not have."""


def error_schema(codes: Iterable[str]) -> Schema:
    """The schema of the message that ends a turn without a response. `codes` are those of its errors."""
    error = closed(None, {**ERROR_FIELDS, "code": enum(*sorted(codes))})
    optional = {"stream_id": STRING, "headers": {"type": "object", "additionalProperties": STRING}}
    return closed("SocketError", {"type": {"const": "error"}, "status": COUNT, "error": error}, optional)


def message_fields(message: bytes, pulse: Pulse) -> dict[str, Any]:
    """The fields of a message. Takes time linear in its length and calls `pulse` often.

    Raises:
        InvalidRequest: the message is not a JSON object with a `type`.
    """
    fields = body_fields(message, pulse, subject="The message")
    kind = fields.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidRequest(f"`type` must say what the message is, such as '{CREATE}'.", param="type")
    return fields


def unknown_message(kind: str) -> InvalidRequest:
    """The error for a message of an unknown kind."""
    return InvalidRequest(f"'{shown(kind)}' is not a message of this API; send '{CREATE}'.", param="type")


def asked_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The fields of a `response.create` that a request's body has too, and whether something is to be generated.

    Raises:
        InvalidRequest: a field that only this message has is of the wrong kind.
        UnsupportedField: a field makes no sense on a connection.
    """
    if fields.get("stream_id") is not None:
        raise UnsupportedField(
            "`stream_id` is not supported: a connection has one response in flight. Leave it out, and open another "
            "connection for each conversation that goes on at the same time.",
            param="stream_id",
        )
    if fields.get("background"):
        raise UnsupportedField(
            "`background` is not supported over WebSocket: a background run belongs to no connection. POST the request "
            "to /v1/responses.",
            param="background",
        )
    # Clients that share code with HTTP send `true`.
    if fields.get("stream") is False:
        raise UnsupportedField(
            "`stream` must not be false over WebSocket: a response is always told in events. Leave it out.",
            param="stream",
        )
    _refuse_trace(fields.get("databricks_options"))
    generate = fields.get("generate")
    if generate is not None:
        a_boolean(generate, "generate")
    return {name: value for name, value in fields.items() if name not in OWN}, generate is not False


def _refuse_trace(options: Any) -> None:
    if isinstance(options, Mapping) and options.get("return_trace"):
        path = "databricks_options.return_trace"
        raise UnsupportedField(
            f"`{path}` is not supported over WebSocket: the terminal event is the last message of a response. POST the "
            "request to /v1/responses.",
            param=path,
        )


def error_message(
    error: AgentError, *, stream_id: Any = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The message that ends a turn without a response. `stream_id` is what the client sent under this name, and
    `headers` say whether and when it should try again, as those of HTTP do."""
    told: dict[str, Any] = {"type": "error", "status": error.status, "error": redact_value(error.fields())}
    if isinstance(stream_id, str) and len(stream_id) <= LONGEST_STREAM_ID:
        told["stream_id"] = redact_value(stream_id)
    return {**told, "headers": dict(headers)} if headers else told
