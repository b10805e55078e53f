"""The events that tell the life of a response, one builder each; `item_events` has those of its items.

Each event has the fields that unmodified OpenAI, Databricks, MLflow and LangChain clients need. MLflow validates only
five event types, so these builders are the schema. The event log adds `sequence_number`.

Source: OpenAI API reference, "Responses streaming events"; MLflow `mlflow.types.responses`.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Event = dict[str, Any]
Item = dict[str, Any]
Phase = Literal["commentary", "final_answer"]
Status = Literal["queued", "in_progress", "completed", "incomplete", "failed"]

ITEMS_DISCARDED = "graph_agent:items_discarded"
"""Event types of extensions begin with their maker's name, as the Open Responses specification has it."""

NODE = "graph_agent:node"
"""The event that tells of a step: a node of the graph."""

DOCUMENTS = "graph_agent:documents"
"""The event that tells which documents a search has found."""

OF_CONNECTION = "of_connection"
"""Marks the field of a data class that only a run at a connection needs, so that no record has it."""

OF_PROCESS = "of_process"
"""Marks the field of a data class that never leaves the memory of a process, such as credentials."""

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


def is_terminal(event: Event) -> bool:
    """Whether it is the last event of its stream."""
    return event.get("type") in TERMINAL or "databricks_output" in event


def new_id(prefix: str) -> str:
    """A fresh item or response id such as `msg_4f1c…`, which cannot be guessed."""
    return f"{prefix}_{os.urandom(12).hex()}"


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
    """The fields that are the same in every `response` object of one request."""

    model: str
    id: str = field(default_factory=lambda: new_id("resp"))
    created_at: int = field(default_factory=lambda: int(time.time()))
    metadata: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request that the response repeats."""

    pending_usage: bool = False
    """Whether `usage` is null until it is known. Otherwise it is absent: null breaks Databricks' accumulators."""

    warnings: Sequence[str] = ()
    """What of the request has no effect. The response says so beside the warnings of the graph."""

    background: bool = False
    """Whether the run is queued before it starts, and belongs to no connection."""

    previous: str | None = field(default=None, metadata={OF_CONNECTION: True})
    """The id of the response that this one follows, if only its connection remembers both."""

    stored: "StoredHead | None" = None
    """What a stored response says of its conversation. `None`: it is not stored."""

    def response(self, status: Status, output: Sequence[Item] = (), **more: Any) -> dict[str, Any]:
        """The response object, with every field that the Open Responses specification requires."""
        said = self.said
        if self.pending_usage:
            more = {"usage": None} | more
        if self.stored is not None:
            more = self.stored.added_to(more)
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": self.background,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": None,
            "max_tool_calls": None,
            "model": self.model,
            "output": list(output),
            "parallel_tool_calls": True,
            "previous_response_id": self.previous,
            "prompt_cache_key": None,
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
            "reasoning": {"effort": None, "summary": None, **(said.get("reasoning") or {})},
            "text": {**(said.get("text") or {}), "format": _format(said.get("text") or {})},
            "metadata": dict(self.metadata),
            **more,
        }


def _format(text: Mapping[str, Any]) -> Mapping[str, Any]:
    """The form of the answer as a response says it, with every field that the specification requires there."""
    said: Mapping[str, Any] = text.get("format") or {"type": "text"}
    if said["type"] != "json_schema":
        return said
    return {**said, "description": said.get("description"), "strict": said.get("strict") or False}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHead:
    """The fields that a stored response has besides those of any response."""

    conversation: str
    """The id of the conversation."""

    previous: str | None
    """The id of the response that this one follows."""

    has_field: bool
    """Whether this API has a `conversation` field."""

    def added_to(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """These fields and the given ones. The conversation's id is where each kind of client looks for it."""
        added: dict[str, Any] = {
            **fields,
            "store": True,
            "previous_response_id": self.previous,
            # Last, so that a graph cannot name another conversation.
            "custom_outputs": {**fields.get("custom_outputs", {}), "thread_id": self.conversation},
        }
        if self.has_field:
            added["conversation"] = {"id": self.conversation}
        return added


def lifecycle(kind: str, response: dict[str, Any]) -> Event:
    """`response.created`, `.queued`, `.in_progress`, `.completed`, `.incomplete` or `.failed`."""
    return {"type": kind, "response": response}


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
