"""The JSON schemas of the events of AG-UI that the service sends. As in `wire_schemas`, its objects are closed."""

from collections.abc import Mapping

from graph_agent.protocol.field_checks import Schema
from graph_agent.protocol.wire_schemas import COUNT, OPEN, STRING, any_of, array_of, closed, const

_NOTHING: Mapping[str, Schema] = {}
_RUN: Mapping[str, Schema] = {"threadId": STRING, "runId": STRING}
_INTERRUPT = closed(
    "AgUiInterrupt",
    {"id": STRING, "reason": STRING, "metadata": OPEN},
    {"message": STRING, "toolCallId": STRING, "responseSchema": OPEN},
    says="A question to a person. The next run answers it in `resume`.",
)
_OUTCOME = any_of(
    "AgUiOutcome",
    closed(None, {"type": const("success")}, {"pendingToolCallIds": array_of(STRING)}),
    closed(None, {"type": const("interrupt"), "interrupts": array_of(_INTERRUPT)}),
    says="Whether the run waits for a person, and which calls the client has to answer.",
)
_COUNTS = ("inputTokens", "outputTokens", "totalTokens", "reasoningTokens", "cachedInputTokens")
_USAGE = closed("AgUiUsage", dict.fromkeys(_COUNTS, COUNT), says="The tokens of all model calls of a run.")
_RESULT = closed(
    "AgUiResult",
    {"response_id": STRING, "status": STRING, "custom_outputs": OPEN},
    {"incomplete_details": OPEN, "metadata": OPEN},
    says="The response of the run, which `GET /responses/{id}` shows whole.",
)

_EVENTS: Mapping[str, tuple[Mapping[str, Schema], Mapping[str, Schema]]] = {
    "RUN_STARTED": (_RUN, {"parentRunId": STRING}),
    "TEXT_MESSAGE_START": ({"messageId": STRING, "role": const("assistant")}, _NOTHING),
    "TEXT_MESSAGE_CONTENT": ({"messageId": STRING, "delta": STRING}, _NOTHING),
    "TEXT_MESSAGE_END": ({"messageId": STRING}, {"metadata": OPEN}),
    "TOOL_CALL_START": ({"toolCallId": STRING, "toolCallName": STRING}, _NOTHING),
    "TOOL_CALL_ARGS": ({"toolCallId": STRING, "delta": STRING}, _NOTHING),
    "TOOL_CALL_END": ({"toolCallId": STRING}, _NOTHING),
    "TOOL_CALL_RESULT": (
        {"messageId": STRING, "toolCallId": STRING, "content": STRING, "role": const("tool")},
        _NOTHING,
    ),
    "REASONING_START": ({"messageId": STRING}, _NOTHING),
    "REASONING_MESSAGE_START": ({"messageId": STRING, "role": const("reasoning")}, _NOTHING),
    "REASONING_MESSAGE_CONTENT": ({"messageId": STRING, "delta": STRING}, _NOTHING),
    "REASONING_MESSAGE_END": ({"messageId": STRING}, _NOTHING),
    "REASONING_END": ({"messageId": STRING}, _NOTHING),
    "STEP_STARTED": ({"stepName": STRING}, _NOTHING),
    "STEP_FINISHED": ({"stepName": STRING}, _NOTHING),
    "STATE_SNAPSHOT": ({"snapshot": {}}, _NOTHING),
    "CUSTOM": ({"name": STRING, "value": OPEN}, _NOTHING),
    "RUN_FINISHED": ({**_RUN, "result": _RESULT, "outcome": _OUTCOME}, {"usage": array_of(_USAGE)}),
    "RUN_ERROR": ({"message": STRING, "code": STRING}, _NOTHING),
}


def _event(kind: str, required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    title = f"AgUi{''.join(word.capitalize() for word in kind.split('_'))}Event"
    return closed(title, {"type": const(kind), **required}, optional)


EVENT = any_of(
    "AgUiEvent",
    *(_event(kind, required, optional) for kind, (required, optional) in _EVENTS.items()),
    says="The JSON of one frame of a stream. The last one is `RUN_FINISHED` or `RUN_ERROR`.",
)
