"""Tells a stored response as a stream again, when the events of its run are gone."""

from collections.abc import Iterator, Mapping
from typing import Any

from graph_agent.errors import AgentError
from graph_agent.protocol import events, item_events
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event


def retold(response: Mapping[str, Any], *, dialect: Dialect, error: AgentError | None) -> Iterator[Event]:
    """The events of a response that has ended: its items whole, and its end. `error` says why it failed, if it did."""
    begun = {
        **response,
        "status": "in_progress",
        "completed_at": None,
        "output": [],
        "error": None,
        "incomplete_details": None,
    }
    begun.pop("usage", None)
    if dialect.open_responses:
        begun["usage"] = None
    yield events.lifecycle("response.created", begun)
    yield events.lifecycle("response.in_progress", dict(begun))
    for index, item in enumerate(response.get("output") or ()):
        yield from item_events.whole_item(index, item)
        yield item_events.item_done(index, item)
    if error is None:
        yield events.lifecycle(f"response.{response['status']}", dict(response))
        return
    if dialect.failure == "error_frame":
        yield events.invocations_error(error.fields())
        return
    yield events.stream_error(error.fields())
    yield events.lifecycle("response.failed", dict(response))
