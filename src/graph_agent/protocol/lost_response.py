"""Ends the log of a response whose process is gone, and whose run nobody takes over."""

from collections.abc import Iterator, Mapping
from typing import Any

from graph_agent.errors import AgentError
from graph_agent.protocol import events, item_events
from graph_agent.protocol.events import Event
from graph_agent.protocol.item_shapes import CLIENT_CALLS
from graph_agent.protocol.logged_response import NEVER_RETURNED, LoggedResponse
from graph_agent.protocol.steps import Steps


def lost_end(logged: LoggedResponse, error: AgentError, *, head: Mapping[str, Any]) -> Iterator[Event]:
    """The events that follow the log: they close what is open, and end the response as failed.

    `head` is the response object that is used if the log has none.
    """
    for _, one in sorted(logged.items.items()):
        yield from one.closing(NEVER_RETURNED)
    custom = {}
    if logged.nodes:
        steps = Steps()
        steps.restore(logged.nodes.values())
        yield from steps.close()
        custom = {"custom_outputs": steps.summary()}
    output = [one.item for _, one in sorted(logged.items.items())]
    answered = {item["call_id"] for item in output if item["type"] == "function_call_output"}
    for item in list(output):
        if item["type"] in CLIENT_CALLS and item["call_id"] not in answered:
            # For clients, a call without a result is an unfinished turn.
            result = item_events.function_call_output_item(item["call_id"], NEVER_RETURNED)
            output.append(result)
            yield item_events.item_added(logged.taken, result)
            yield item_events.item_done(logged.taken, result)
            logged.taken += 1
    fields = error.fields()
    yield events.stream_error(fields)
    summary = {"code": fields["code"], "message": fields["message"]}
    response = {**(logged.response or head), "status": "failed", "error": summary, "output": output, **custom}
    yield events.lifecycle("response.failed", response)
