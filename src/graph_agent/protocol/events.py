"""The wire: every Responses event this service sends, one builder each.

Field by field what unmodified OpenAI, Databricks, MLflow and LangChain clients need. MLflow validates five of these
types only, so these builders are the schema. `sequence_number` is added where the event is sent.

Source: OpenAI API reference, "Responses streaming events"; MLflow `mlflow.types.responses`.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Event = dict[str, Any]
Item = dict[str, Any]
Phase = Literal["commentary", "final_answer"]
Status = Literal["in_progress", "completed", "incomplete", "failed"]

ITEMS_DISCARDED = "graph_agent:items_discarded"
"""Event types of extensions begin with their maker's name, as the Open Responses specification has it."""

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


def new_id(prefix: str) -> str:
    """A fresh item or response id such as `msg_4f1c…`; unguessable."""
    return f"{prefix}_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of all model calls of a run."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def fields(self) -> dict[str, Any]:
        """As the Responses API nests them."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """What every `response` object of one request repeats."""

    model: str
    id: str = field(default_factory=lambda: new_id("resp"))
    created_at: int = field(default_factory=lambda: int(time.time()))
    metadata: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    """What the request said of the fields below: the response repeats it."""

    pending_usage: bool = False
    """`usage` is null until it is known; else absent, as null breaks Databricks' accumulators."""

    def response(self, status: Status, output: Sequence[Item] = (), **more: Any) -> dict[str, Any]:
        """The response object, every field that the Open Responses specification requires."""
        said = self.said
        if self.pending_usage:
            more = {"usage": None} | more
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": None,
            "max_tool_calls": None,
            "model": self.model,
            "output": list(output),
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "prompt_cache_key": None,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": None,
            "service_tier": "default",
            "store": False,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "user": None,
            **said,
            "text": {**(said.get("text") or {}), "format": {"type": "text"}},
            "metadata": dict(self.metadata),
            **more,
        }


def lifecycle(kind: str, response: dict[str, Any]) -> Event:
    """`response.created`, `.in_progress`, `.completed`, `.incomplete` or `.failed`."""
    return {"type": kind, "response": response}


def item_added(index: int, item: Item) -> Event:
    """`response.output_item.added`."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def item_done(index: int, item: Item) -> Event:
    """`response.output_item.done`; its item id is the deltas' `item_id`."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def text_part(text: str, annotations: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """An `output_text` content part."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def message_item(
    item_id: str, status: Status, content: Sequence[dict[str, Any]] = (), phase: Phase | None = None
) -> Item:
    """An assistant message. `phase` tells commentary on the way from the answer, as newer OpenAI models do."""
    item = {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": list(content)}
    return item if phase is None else item | {"phase": phase}


def refusal_part(refusal: str) -> dict[str, Any]:
    """A `refusal` content part: the model declines."""
    return {"type": "refusal", "refusal": refusal}


def part_added(item_id: str, index: int, place: int, part: dict[str, Any]) -> Event:
    """`response.content_part.added` for the part at `place` of a message."""
    return _of_part("response.content_part.added", item_id, index, place) | {"part": part}


def text_delta(item_id: str, index: int, place: int, delta: str) -> Event:
    """`response.output_text.delta`."""
    return {
        "type": "response.output_text.delta",
        "item_id": item_id,
        "output_index": index,
        "content_index": place,
        "delta": delta,
        "logprobs": [],
    }


def refusal_delta(item_id: str, index: int, place: int, delta: str) -> Event:
    """`response.refusal.delta`."""
    return _of_part("response.refusal.delta", item_id, index, place) | {"delta": delta}


def annotation_added(item_id: str, index: int, place: int, position: int, annotation: dict[str, Any]) -> Event:
    """`response.output_text.annotation.added`."""
    return _of_part("response.output_text.annotation.added", item_id, index, place) | {
        "annotation_index": position,
        "annotation": annotation,
    }


def text_done(item_id: str, index: int, place: int, text: str) -> Event:
    """`response.output_text.done`."""
    return _of_part("response.output_text.done", item_id, index, place) | {"text": text, "logprobs": []}


def refusal_done(item_id: str, index: int, place: int, refusal: str) -> Event:
    """`response.refusal.done`."""
    return _of_part("response.refusal.done", item_id, index, place) | {"refusal": refusal}


def part_done(item_id: str, index: int, place: int, part: dict[str, Any]) -> Event:
    """`response.content_part.done`."""
    return _of_part("response.content_part.done", item_id, index, place) | {"part": part}


def _of_part(kind: str, item_id: str, index: int, place: int) -> Event:
    return {"type": kind, "item_id": item_id, "output_index": index, "content_index": place}


def function_call_item(item_id: str, call_id: str, name: str, arguments: str, status: Status) -> Item:
    """A tool call in the Databricks dialect."""
    return {
        "type": "function_call",
        "id": item_id,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def function_call_output_item(call_id: str, output: str) -> Item:
    """A tool's result in the Databricks dialect."""
    return {
        "type": "function_call_output",
        "id": new_id("fco"),
        "call_id": call_id,
        "output": output,
        "status": "completed",
    }


def arguments_delta(prefix: str, item_id: str, index: int, delta: str) -> Event:
    """`response.function_call_arguments.delta` or `response.mcp_call_arguments.delta`."""
    return {"type": f"response.{prefix}_arguments.delta", "item_id": item_id, "output_index": index, "delta": delta}


def arguments_done(prefix: str, item_id: str, index: int, name: str, arguments: str) -> Event:
    """`response.function_call_arguments.done` or `response.mcp_call_arguments.done`."""
    event = {
        "type": f"response.{prefix}_arguments.done",
        "item_id": item_id,
        "output_index": index,
        "arguments": arguments,
    }
    return event | {"name": name} if prefix == "function_call" else event


def mcp_call_item(
    item_id: str,
    name: str,
    arguments: str,
    status: Literal["in_progress", "completed", "incomplete", "failed"],
    *,
    server: str,
    output: str | None = None,
    error: str | None = None,
) -> Item:
    """A tool call that the server ran itself, in the OpenAI dialect: one item holds call and result."""
    return {
        "type": "mcp_call",
        "id": item_id,
        "name": name,
        "arguments": arguments,
        "server_label": server,
        "output": output,
        "error": error,
        "status": status,
        "approval_request_id": None,
    }


def mcp_call_progress(item_id: str, index: int, state: Literal["in_progress", "completed", "failed"]) -> Event:
    """`response.mcp_call.in_progress`, `.completed` or `.failed`."""
    return {"type": f"response.mcp_call.{state}", "item_id": item_id, "output_index": index}


def reasoning_item(item_id: str, text: str | None) -> Item:
    """A reasoning summary; Databricks reads `summary[0]` only."""
    return {"type": "reasoning", "id": item_id, "summary": [] if text is None else [_summary(text)]}


def _summary(text: str) -> dict[str, str]:
    return {"type": "summary_text", "text": text}


def reasoning_part_added(item_id: str, index: int) -> Event:
    """`response.reasoning_summary_part.added`."""
    return {
        "type": "response.reasoning_summary_part.added",
        "item_id": item_id,
        "output_index": index,
        "summary_index": 0,
        "part": _summary(""),
    }


def reasoning_delta(item_id: str, index: int, delta: str) -> Event:
    """`response.reasoning_summary_text.delta`."""
    return {
        "type": "response.reasoning_summary_text.delta",
        "item_id": item_id,
        "output_index": index,
        "summary_index": 0,
        "delta": delta,
    }


def reasoning_text_done(item_id: str, index: int, text: str) -> Event:
    """`response.reasoning_summary_text.done`."""
    return {
        "type": "response.reasoning_summary_text.done",
        "item_id": item_id,
        "output_index": index,
        "summary_index": 0,
        "text": text,
    }


def reasoning_part_done(item_id: str, index: int, text: str) -> Event:
    """`response.reasoning_summary_part.done`."""
    return {
        "type": "response.reasoning_summary_part.done",
        "item_id": item_id,
        "output_index": index,
        "summary_index": 0,
        "part": _summary(text),
    }


def items_discarded(indexes: Sequence[int], item_ids: Sequence[str]) -> Event:
    """An extension of the API: a run went on after its process died, and these items do not count.

    What they said follows again in new items. They are closed, and are not in the output of the terminal event.
    """
    return {"type": ITEMS_DISCARDED, "output_indexes": list(indexes), "item_ids": list(item_ids)}


def stream_error(fields: Mapping[str, Any]) -> Event:
    """The `error` event of `/responses` and `/v1/responses`; `response.failed` follows it."""
    return {
        "type": "error",
        "code": fields["code"],
        "message": fields["message"],
        "param": fields["param"],
        "error": dict(fields),
    }


def invocations_error(fields: Mapping[str, Any]) -> Event:
    """The last frame of a failed stream on `/invocations`: the stock chat page prints `error` as text."""
    return {
        "type": "error",
        "error": fields["message"],
        "message": fields["message"],
        "code": fields["code"],
        "databricks_output": {"error": {"error_code": fields["code"], "message": fields["message"]}},
    }
