"""What each field of an AG-UI request must be.

Source: AG-UI, `RunAgentInput` (docs.ag-ui.com, "Core types"). `ag_ui_requests` says what the fields mean.
"""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.protocol.field_checks import (
    Check,
    Field,
    Fields,
    Schema,
    Shape,
    a_name,
    a_string,
    accepts,
    an_array,
    an_object,
    anything,
    array_of,
    at,
    check_fields,
    one_of,
    shown,
    wrong,
)
from graph_agent.protocol.item_shapes import a_content
from graph_agent.protocol.request_fields import MAX_ITEMS, meant_field

_SOURCE = Shape(required={"type": one_of("data", "url"), "value": a_name}, optional={"mimeType": a_string})


def _media(*, url: bool) -> Check:
    shape = Shape(required={"source": _SOURCE})

    @accepts(shape.schema)
    def checked(value: Any, path: str) -> None:
        shape(value, path)
        source, inner = value["source"], at(path, "source")
        if source["type"] == "data" and not source.get("mimeType"):
            raise InvalidRequest(f"`{at(inner, 'mimeType')}` is missing.", param=at(inner, "mimeType"))
        if source["type"] == "url" and not url:
            raise UnsupportedField(
                f"`{inner}` is a URL, and this service fetches no files: send the bytes, with the type data.",
                param=inner,
            )

    return checked


_BINARY = Shape(
    required={"mimeType": a_name},
    optional={"id": a_name, "url": a_name, "data": a_name, "filename": a_string},
    alternatives=("data", "url", "id"),
)


@accepts(_BINARY.schema)
def _a_binary(value: Any, path: str) -> None:
    _BINARY(value, path)
    if value.get("data") is None and (value.get("url") is None or not value["mimeType"].startswith("image/")):
        param = at(path, "id" if value.get("url") is None else "url")
        raise UnsupportedField(
            f"`{param}` is not supported, because this service fetches no files: send the bytes as `data`.",
            param=param,
        )


@accepts({"not": {}})
def _a_video(value: Any, path: str) -> None:
    raise UnsupportedField(f"`{path}` is a video, which no model here reads: leave it out.", param=path)


PARTS: Mapping[str, Check] = {
    "text": Shape(required={"text": a_string}),
    "image": _media(url=True),
    "audio": _media(url=False),
    "document": _media(url=False),
    "video": _a_video,
    "binary": _a_binary,
}
"""The parts of a user's message. `binary` is the older form of the others."""

_CONTENT = a_content(PARTS, suffix="AgUiPart")
_FUNCTION = Shape(required={"name": a_name, "arguments": a_string})
_CALL = Shape(required={"id": a_name, "function": _FUNCTION}, optional={"type": one_of("function")})
_ID: Mapping[str, Check] = {"id": a_name}
MESSAGES: Mapping[str, Shape] = {
    "developer": Shape(required={**_ID, "content": a_string}),
    "system": Shape(required={**_ID, "content": a_string}),
    "user": Shape(required={**_ID, "content": _CONTENT}),
    "assistant": Shape(required=_ID, optional={"content": a_string, "toolCalls": array_of(_CALL)}),
    "tool": Shape(required={**_ID, "toolCallId": a_name, "content": _CONTENT}, optional={"error": a_string}),
    "reasoning": Shape(required={**_ID, "content": a_string}),
    "activity": Shape(required=_ID, optional={"activityType": a_string, "content": an_object}),
}
"""Role -> the fields of its messages. `activity` is what a page shows beside the conversation; no model reads it."""

_ROLE = Shape(required={"role": one_of(*MESSAGES)})


def _message_schema(role: str, shape: Shape) -> Schema:
    schema = shape.schema
    return {
        "title": f"AgUi{role.capitalize()}Message",
        **schema,
        "properties": {"role": {"type": "string", "const": role}, **schema["properties"]},
        "required": ["role", *schema.get("required", ())],
    }


@accepts(
    {
        "type": "array",
        "items": {"anyOf": [_message_schema(role, shape) for role, shape in MESSAGES.items()]},
        "maxItems": MAX_ITEMS,
    }
)
def _messages(value: Any, path: str) -> None:
    an_array(value, path)
    if len(value) > MAX_ITEMS:
        raise wrong(path, f"an array of at most {MAX_ITEMS} messages", f"{len(value)}")
    for index, message in enumerate(value):
        _ROLE(message, at(path, index))
        MESSAGES[message["role"]](message, at(path, index))


_TOOL = Shape(required={"name": a_name}, optional={"description": a_string, "parameters": an_object})
_CONTEXT = Shape(required={"description": a_string, "value": a_string})
_RESUME = Shape(
    required={"interruptId": a_name, "status": one_of("resolved", "cancelled")}, optional={"payload": anything}
)

RUN_AGENT_INPUT: Fields = {
    "threadId": Field(
        a_name, "The conversation. It begins with the first run that names it.", required="send the conversation's id"
    ),
    "runId": Field(a_name, "The client's own id of this run, which the events repeat.", required="send an id"),
    "parentRunId": Field(a_string, "`RUN_STARTED` repeats it. What the run follows is seen from `messages`."),
    "protocolVersion": Field(a_string, "The version of AG-UI that the client speaks, from 1.0 on."),
    "messages": Field(
        _messages, "The conversation so far. What the service knows of it is not added again.", required="send an array"
    ),
    "tools": Field(array_of(_TOOL), "Tools that the client runs."),
    "context": Field(array_of(_CONTEXT), "What the models must know of the client, for this run only."),
    "state": Field(anything, "If it is not empty, the graph gets it as `custom_inputs.state`."),
    "forwardedProps": Field(anything, "If it is not empty, the graph gets it as `custom_inputs.forwarded_props`."),
    "resume": Field(array_of(_RESUME), "Answers to the interrupts with which an earlier run ended."),
}
"""The body of a request of an AG-UI client."""

_MEANT: Mapping[str, str] = {
    "input": "messages",
    "thread_id": "threadId",
    "conversation": "threadId",
    "run_id": "runId",
    "parent_run_id": "parentRunId",
    "forwarded_props": "forwardedProps",
    "custom_inputs": "forwardedProps",
}
"""Names of other APIs, and those of Python -> the name in this protocol."""


def check_run_agent_input(given: Mapping[str, Any]) -> None:
    """Check that `given` has the fields that a run needs, no unknown one, and none of the wrong kind.

    Raises:
        InvalidRequest: it does not; `param` is the path of the field.
    """
    check_fields(given, RUN_AGENT_INPUT, unknown=_unknown_field)


def _unknown_field(name: str, _: Fields) -> InvalidRequest:
    meant = meant_field(name, RUN_AGENT_INPUT, _MEANT)
    hint = f"Did you mean `{meant}`?" if meant else "Put input for the graph into `forwardedProps`."
    if name == "model":
        hint = "The address names the graph: POST to /ag-ui/NAME."
    return InvalidRequest(f"`{shown(name)}` is not a field of AG-UI's `RunAgentInput`. {hint}", param=shown(name))
