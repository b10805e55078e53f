"""The bodies of requests about a history that start no run of a graph: to compact it, and to count its tokens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import Fields, check_fields
from graph_agent.protocol.history_fields import COMPACTION_BODY, COUNT_BODY
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.messages import check_items
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.protocol.requests import check_size, conversation_in, graph_named, without_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """A history, and what is asked about it."""

    graph: str | None
    """The graph's name in `langgraph.json`; `None` is the default graph."""

    items: Sequence[Item] = ()
    """The items of `input`, checked and redacted."""

    previous: str | None = None
    """The response up to which the stored history counts."""

    conversation: str | None = None
    """The conversation whose stored history counts."""

    instructions: str | None = None
    tools: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """As sent."""


def parse_compaction(
    body: bytes, *, graphs: Collection[str], fallback: str | None = None, pulse: Pulse = no_pulse
) -> HistoryRequest:
    """Read the body of `POST /responses/compact` for one of `graphs`, or for `fallback`.

    Raises:
        InvalidRequest: it is wrong, or one of its subclasses; `param` is the path of the field.
    """
    return _read(body, COMPACTION_BODY, graphs=graphs, fallback=fallback, pulse=pulse)


def parse_token_count(
    body: bytes, *, graphs: Collection[str], fallback: str | None = None, pulse: Pulse = no_pulse
) -> HistoryRequest:
    """Read the body of `POST /responses/input_tokens`. Raises as `parse_compaction` does."""
    return _read(body, COUNT_BODY, graphs=graphs, fallback=fallback, pulse=pulse)


def _read(body: bytes, known: Fields, *, graphs: Collection[str], fallback: str | None, pulse: Pulse) -> HistoryRequest:
    sent = body_fields(body, pulse)
    check_size(sent)
    fields = without_secrets(sent, pulse)
    check_fields(fields, known)
    previous, conversation, items = fields.get("previous_response_id"), conversation_in(fields), fields.get("input")
    if items is None and previous is None and conversation is None:
        raise InvalidRequest("`input` is missing: send a history, or `previous_response_id`.", param="input")
    if previous is not None and conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` both say what comes before; send only one of them.",
            param="conversation",
        )
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    return HistoryRequest(
        graph=graph_named(fields.get("model"), graphs, fallback),
        items=check_items(items or [], references=True, pulse=pulse),
        previous=previous,
        conversation=conversation,
        instructions=fields.get("instructions") or None,
        tools=fields.get("tools") or (),
    )
