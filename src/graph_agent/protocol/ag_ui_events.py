"""Tells a run as events of AG-UI.

It reads the events that the other dialects send, so that every dialect says the same:

- A message, a tool call and its result have the ids that they have elsewhere. So a client that resends them is
  understood.
- What a graph asks a person ends the run with the outcome `interrupt`. About a tool, the call is told too, under the id
  of the interrupt.
- A run that fails ends with `RUN_ERROR`. One that is ended early says so in its text and in `result`.

The events are plain objects, because a model of pydantic for each token would take several times as long. Source:
AG-UI, "Events" (docs.ag-ui.com) and the package ag-ui-protocol, with whose models the tests read them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graph_agent.protocol.events import DOCUMENTS, NODE, Event, Item
from graph_agent.protocol.json_encoding import encode

AgUiEvent = dict[str, Any]

PARAGRAPH = "\n\n"

TOLD = frozenset(
    (
        "response.created",
        "response.output_item.added",
        "response.output_text.delta",
        "response.refusal.delta",
        "response.output_text.annotation.added",
        "response.function_call_arguments.delta",
        "response.reasoning_summary_text.delta",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
        NODE,
        DOCUMENTS,
    )
)
"""The events of which others are made. The rest need not be read."""

QUESTION = "question"
"""The name of an approval that asks anything else than whether a tool may be called, as `approvals` has it."""

NOT_KEPT = "This call was not run: the agent did not keep it."
"""The result of a call that the client must not run."""


class AgUiWriter:
    """Turns the events of one run into those of AG-UI, in order."""

    def __init__(
        self,
        *,
        thread_id: str,
        run_id: str,
        parent_run_id: str | None = None,
        known_calls: frozenset[str] = frozenset(),
        versioned: bool = False,
    ) -> None:
        """The ids are those of the request. A client that has one of `known_calls` is not told that call again.

        `versioned` says that the client declares the version of the protocol. Older ones refuse what was added since.
        """
        self._versioned = versioned
        self._run = {"threadId": thread_id, "runId": run_id}
        self._parent = {} if parent_run_id is None else {"parentRunId": parent_run_id}
        self._known_calls = known_calls
        self._parts: dict[str, int] = {}
        """Message -> the part of its text that was told last."""
        self._annotations: dict[str, list[Any]] = {}
        self._calls: dict[str, str] = {}
        """Item of a call that is open -> the id of the call."""
        self._unanswered: dict[str, None] = {}
        """The calls without a result, in their order. At the end of a run, the client has to answer them."""
        self._thinking: set[str] = set()
        self._nodes: dict[str, str] = {}
        """Node that runs -> the name of its step. Nodes that run at the same time may share one."""
        self._interrupts: list[dict[str, Any]] = []

    def events(self, events: Iterable[Event]) -> Iterator[AgUiEvent]:
        """The events of AG-UI for these. Pieces of one text that follow each other are one event."""
        held: AgUiEvent | None = None
        pieces: list[str] = []
        for event in events:
            for made in self._made(event):
                if held is not None:
                    if made["type"] == "TEXT_MESSAGE_CONTENT" and made["messageId"] == held["messageId"]:
                        pieces.append(made["delta"])
                        continue
                    yield {**held, "delta": "".join(pieces)}
                    held = None
                if made["type"] == "TEXT_MESSAGE_CONTENT":
                    held, pieces = made, [made["delta"]]
                else:
                    yield made
        if held is not None:
            yield {**held, "delta": "".join(pieces)}

    def _made(self, event: Event) -> Iterator[AgUiEvent]:
        match event["type"]:
            case "response.output_text.delta" | "response.refusal.delta":
                yield from self._said(event["item_id"], event["content_index"], event["delta"])
            case "response.function_call_arguments.delta" if event["item_id"] in self._calls and event["delta"]:
                yield {
                    "type": "TOOL_CALL_ARGS",
                    "toolCallId": self._calls[event["item_id"]],
                    "delta": event["delta"],
                }
            case "response.reasoning_summary_text.delta":
                yield from self._thought(event["item_id"], event["delta"])
            case "response.output_text.annotation.added":
                self._annotations.setdefault(event["item_id"], []).append(event["annotation"])
            case "response.output_item.added":
                yield from self._opened(event["item"])
            case "response.output_item.done":
                yield from self._closed(event["item"])
            case "graph_agent:node":
                yield from self._stepped(event["node"])
            case "graph_agent:documents":
                value = {name: one for name, one in event.items() if name not in ("type", "sequence_number")}
                yield {"type": "CUSTOM", "name": DOCUMENTS, "value": value}
            case "response.created":
                yield {"type": "RUN_STARTED", **self._run, **self._parent}
            case "response.completed" | "response.incomplete":
                yield from self._finished(event["response"])
            case "response.failed":
                error = event["response"]["error"]
                yield {"type": "RUN_ERROR", "message": error["message"], "code": error["code"]}

    def _said(self, item: str, part: int, text: str) -> Iterator[AgUiEvent]:
        if text:
            between = PARAGRAPH if self._parts.get(item, part) != part else ""
            self._parts[item] = part
            yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": item, "delta": between + text}

    def _thought(self, item: str, text: str) -> Iterator[AgUiEvent]:
        if not text:
            return
        if item not in self._thinking:
            self._thinking.add(item)
            yield {"type": "REASONING_START", "messageId": item}
            yield {"type": "REASONING_MESSAGE_START", "messageId": item, "role": "reasoning"}
        yield {"type": "REASONING_MESSAGE_CONTENT", "messageId": item, "delta": text}

    # -- items ------------------------------------------------------------------------------------------------------

    def _opened(self, item: Item) -> Iterator[AgUiEvent]:
        if item["type"] == "message":
            yield {"type": "TEXT_MESSAGE_START", "messageId": item["id"], "role": "assistant"}
        elif item["type"] == "function_call" and item["call_id"] not in self._known_calls:
            self._calls[item["id"]] = item["call_id"]
            yield {"type": "TOOL_CALL_START", "toolCallId": item["call_id"], "toolCallName": item["name"]}

    def _closed(self, item: Item) -> Iterator[AgUiEvent]:
        match item["type"]:
            case "message":
                metadata = {"annotations": self._annotations.pop(item["id"], None), "phase": item.get("phase")}
                metadata = {name: value for name, value in metadata.items() if value is not None}
                end = {"type": "TEXT_MESSAGE_END", "messageId": item["id"]}
                yield {**end, "metadata": metadata} if metadata else end
            case "reasoning" if item["id"] in self._thinking:
                yield {"type": "REASONING_MESSAGE_END", "messageId": item["id"]}
                yield {"type": "REASONING_END", "messageId": item["id"]}
            case "function_call":
                if (call := self._calls.pop(item["id"], None)) is not None:
                    yield {"type": "TOOL_CALL_END", "toolCallId": call}
                    if item["status"] == "incomplete":
                        yield _result(f"{item['id']}_result", call, NOT_KEPT)
                        return
                self._unanswered[item["call_id"]] = None
            case "custom_tool_call" if item["status"] == "completed":
                # A client of another API has brought such a tool. Arguments are always an object here.
                yield from self._called(item["call_id"], item["name"], encode({"input": item["input"]}).decode())
                self._unanswered[item["call_id"]] = None
            case "function_call_output":
                call = item["call_id"]
                # A question that is no call has an answer, which the client knows.
                if (
                    self._unanswered.pop(call, call) is None
                    or not call.startswith("mcpr_")
                    or call in self._known_calls
                ):
                    yield _result(item["id"], call, item["output"])
            case "mcp_approval_request":
                self._interrupts.append(_interrupt(item))
                if item["name"] != QUESTION:
                    yield from self._called(item["id"], item["name"], item["arguments"])

    def _called(self, call: str, name: str, arguments: str) -> Iterator[AgUiEvent]:
        if call not in self._known_calls:
            yield {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": name}
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": arguments}
            yield {"type": "TOOL_CALL_END", "toolCallId": call}

    # -- the run ----------------------------------------------------------------------------------------------------

    def _stepped(self, node: Mapping[str, Any]) -> Iterator[AgUiEvent]:
        name = "/".join(node["path"])
        if node["status"] == "in_progress":
            if node["id"] not in self._nodes:
                is_new = name not in self._nodes.values()
                self._nodes[node["id"]] = name
                if is_new:
                    yield {"type": "STEP_STARTED", "stepName": name}
        elif self._nodes.pop(node["id"], None) is not None and name not in self._nodes.values():
            yield {"type": "STEP_FINISHED", "stepName": name}

    def _finished(self, response: Mapping[str, Any]) -> Iterator[AgUiEvent]:
        outputs = {name: one for name, one in response.get("custom_outputs", {}).items() if name not in OF_STEPS}
        if "state" in outputs:
            yield {"type": "STATE_SNAPSHOT", "snapshot": outputs["state"]}
        result = {"response_id": response["id"], "status": response["status"], "custom_outputs": outputs}
        if response["incomplete_details"] is not None:
            result |= {"incomplete_details": response["incomplete_details"], "metadata": response["metadata"]}
        outcome: dict[str, Any] = {"type": "success"}
        if self._unanswered and self._versioned:
            outcome["pendingToolCallIds"] = list(self._unanswered)
        if self._interrupts:
            outcome = {"type": "interrupt", "interrupts": self._interrupts}
        finished: AgUiEvent = {"type": "RUN_FINISHED", **self._run, "result": result, "outcome": outcome}
        if usage := response.get("usage"):
            finished["usage"] = [_usage(usage)]
        yield finished


OF_STEPS = ("steps", "steps_left_out")
"""Outputs that events have told."""


def _result(message: str, call: str, content: str) -> AgUiEvent:
    return {
        "type": "TOOL_CALL_RESULT",
        "messageId": message,
        "toolCallId": call,
        "content": content,
        "role": "tool",
    }


def _usage(usage: Mapping[str, Any]) -> dict[str, int]:
    return {
        "inputTokens": usage["input_tokens"],
        "outputTokens": usage["output_tokens"],
        "totalTokens": usage["total_tokens"],
        "reasoningTokens": usage["output_tokens_details"]["reasoning_tokens"],
        "cachedInputTokens": usage["input_tokens_details"]["cached_tokens"],
    }


def _interrupt(item: Item) -> dict[str, Any]:
    """What a person is asked, and the JSON schema of the answer as far as it is known."""
    arguments, allowed = json.loads(item["arguments"]), item["allowed_decisions"]
    schema = item.get("input_schema")
    if item["name"] == QUESTION:
        asked = {"id": item["id"], "reason": "input_required", "metadata": {"value": arguments}}
        if isinstance(question := arguments.get("question"), str):
            asked["message"] = question
        return asked if schema is None else {**asked, "responseSchema": schema}
    properties: dict[str, Any] = {"approved": {"type": "boolean"}}
    for kind, name, inner in (
        ("edit", "editedArgs", schema or {"type": "object"}),
        ("reject", "reason", {"type": "string"}),
        ("respond", "output", {"description": "The result in place of a call."}),
    ):
        if kind in allowed:
            properties[name] = inner
    return {
        "id": item["id"],
        "reason": "tool_call",
        "message": f"Shall {item['name']} be called?",
        "toolCallId": item["id"],
        "responseSchema": {"type": "object", "properties": properties, "required": ["approved"]},
        "metadata": {"name": item["name"], "arguments": arguments, "allowed_decisions": allowed},
    }
