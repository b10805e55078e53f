"""The invocations of Agent Bricks: their requests as fields of the Responses API, and responses and events as theirs.

Source: databricks-agentbricks 0.7, `DurableAgentServer` and its LangGraph template, whose messages are LangChain's.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.chat_fields import CHAT
from graph_agent.protocol.events import Event, Item
from graph_agent.protocol.field_checks import (
    Field,
    Fields,
    Schema,
    Shape,
    a_boolean,
    a_name,
    a_string,
    accepts,
    an_object,
    at,
    check_fields,
    fields_schema,
    kind_of,
    wrong,
)
from graph_agent.protocol.wire_schemas import OPEN, STRING, any_of, array_of, closed, const, enum

_MESSAGES = CHAT["messages"].check
_PAYLOAD = Shape(
    optional={"messages": _MESSAGES, "resume": an_object, "model": a_string, "actor": a_string},
    alternatives=("messages", "resume"),
)


@accepts({"type": "string", "format": "uuid"})
def _a_uuid(value: Any, path: str) -> None:
    a_string(value, path)
    try:
        UUID(value)
    except ValueError:
        raise wrong(path, "a UUID", "another string") from None


@accepts({"anyOf": [_MESSAGES.schema, _PAYLOAD.schema]})
def _input(value: Any, path: str) -> None:
    if isinstance(value, list):
        _MESSAGES(value, path)
    elif isinstance(value, dict):
        _PAYLOAD(value, path)
        if (name := next((one for one in value if one not in _PAYLOAD.optional), None)) is not None:
            known = ", ".join(_PAYLOAD.optional)
            raise InvalidRequest(f"`{at(path, name)}` is not known; known: {known}.", param=at(path, name))
    else:
        raise wrong(path, "an array of messages or an object", kind_of(value))


INVOCATION: Fields = {
    "id": Field(
        _a_uuid, "The client's id of the invocation. The same id finds the one that exists.", required="send one"
    ),
    "session_id": Field(a_name, "The conversation. It begins with the first invocation that names it."),
    "input": Field(
        _input,
        "The messages, or an object with `messages`, `resume` (id of an interrupt -> its answer), `model` and `actor`.",
        required="send messages",
    ),
    "background": Field(a_boolean, "Whether to queue the run and answer at once."),
    "stream": Field(a_boolean, "Whether to answer with server-sent events."),
}
"""The body of an invocation of Agent Bricks. MLflow's form has no `id`."""

BODY: Schema = {"title": "NewInvocation", **fields_schema(INVOCATION)}

_OUTPUT = array_of(OPEN)
STATE = closed(
    "Invocation",
    {"id": STRING, "status": enum("queued", "active", "completed", "failed")},
    {
        "output": closed(None, {"output": _OUTPUT, "status": enum("completed", "interrupted")}),
        "error": STRING,
        "status_url": STRING,
        "events_url": STRING,
    },
    says="An invocation of Agent Bricks.",
)
EVENT = any_of(
    "InvocationEvent",
    closed(None, {"type": const("delta"), "content": STRING, "id": STRING}),
    closed(None, {"type": const("message"), "message": OPEN}),
    closed(None, {"type": const("interrupt"), "id": STRING, "value": OPEN}),
    closed(None, {"type": const("error"), "message": STRING, "code": STRING}),
    says="The JSON of one frame of a stream of Agent Bricks.",
)

STATUSES: Mapping[str, str] = {
    "queued": "queued",
    "in_progress": "active",
    "completed": "completed",
    "incomplete": "completed",
    "failed": "failed",
    "cancelled": "failed",
}
"""Status of a response -> that of its invocation."""


def check_invocation(fields: Mapping[str, Any]) -> None:
    """Check that `fields` are an invocation.

    Raises:
        InvalidRequest: they are not; `param` is the path of the field.
    """
    check_fields(fields, INVOCATION)


def payload_of(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The input as an object."""
    value = fields["input"]
    return {"messages": value} if isinstance(value, list) else value


def responses_fields(fields: Mapping[str, Any], items: Sequence[Item]) -> dict[str, Any]:
    """The fields of a request for a response, given the items of the messages."""
    payload = payload_of(fields)
    answers = [
        {"type": "mcp_approval_response", "approval_request_id": id_, "approve": True, "payload": answer}
        for id_, answer in (payload.get("resume") or {}).items()
    ]
    made: dict[str, Any] = {"input": [*items, *answers], "store": True}
    if fields.get("background"):
        made["background"] = True
    elif fields.get("stream"):
        made["stream"] = True
    if fields.get("session_id") is not None:
        made["context"] = {"conversation_id": fields["session_id"]}
    if payload.get("model") is not None:
        made["model"] = payload["model"]
    if payload.get("actor") is not None:
        # For the graph. It says nothing about who is calling.
        made["custom_inputs"] = {"actor": payload["actor"]}
    return made


def state_of(response: Mapping[str, Any], id_: str) -> dict[str, Any]:
    """The state of the invocation with this response."""
    status = STATUSES[response["status"]]
    state: dict[str, Any] = {"id": id_, "status": status}
    if status == "completed":
        told = [one for item in response["output"] if (one := _told(item)) is not None]
        waits = bool(told) and told[-1]["type"] == "interrupt"
        output = [one["message"] if one["type"] == "message" else one for one in told]
        state["output"] = {"output": output, "status": "interrupted" if waits else "completed"}
    elif status == "failed":
        error = response.get("error") or {}
        state["error"] = error.get("message") or "the run was cancelled"
    return state


def told_event(event: Event) -> dict[str, Any] | None:
    """What Agent Bricks' clients are told of an event, or `None`."""
    # Frames with the trace have no type. Who wants them uses the other form.
    match event.get("type"):
        case "response.output_text.delta":
            return {"type": "delta", "content": event["delta"], "id": event["item_id"]}
        case "response.output_item.done":
            return _told(event["item"])
        case "response.failed":
            error = event["response"]["error"]
            return {"type": "error", "message": error["message"], "code": error["code"]}
    return None


def _told(item: Item) -> dict[str, Any] | None:
    match item["type"]:
        case "message":
            text = "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
            return _message("ai", item["id"], text, tool_calls=[])
        case "function_call":
            arguments = _arguments(item["arguments"])
            call = {"type": "tool_call", "id": item["call_id"], "name": item["name"], "args": arguments}
            return _message("ai", item["id"], "", tool_calls=[call])
        case "function_call_output":
            return _message("tool", item["id"], item["output"], tool_call_id=item["call_id"])
        case "mcp_approval_request":
            value = {"name": item["name"], "arguments": _arguments(item["arguments"])}
            return {"type": "interrupt", "id": item["id"], "value": value}
    return None


def _message(kind: str, id_: str, content: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "message": {"type": kind, "id": id_, "content": content, **more}}


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        # As a model has written it.
        return {"text": text}
    return found if isinstance(found, dict) else {"value": found}
