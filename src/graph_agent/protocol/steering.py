"""What is said about steers: messages of a user for a response in progress.

Source: the types `ResponseSteer…` of openai-python 3.57.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.errors import AgentError, InvalidRequest
from graph_agent.protocol.events import Event, Item
from graph_agent.protocol.item_shapes import CLIENT_CALLS, OUTPUTS

STEERED = "steered"
"""The reason of a response that ended because it was steered."""

SUCCESSOR = "successor_id"
"""The key in the metadata of a response that was steered: the id of the response that has the messages."""

STEER = "response.steer"
"""The message of a WebSocket that steers."""

ACCEPTED, PENDING, FAILED = f"{STEER}.accepted", f"{STEER}.pending", f"{STEER}.failed"
"""What is answered to it, and said later about it."""

SENTENCE = "The graph stopped here, and goes on in the next response with the messages that came meanwhile."

_RESULT_OF: Mapping[str, str] = dict(zip(CLIENT_CALLS, OUTPUTS, strict=True))


def required_input(output: Sequence[Item]) -> list[dict[str, str]]:
    """What a response waits for: items that identify each question and each call of the client, without their answer.

    A request that follows the response has to fill them in.
    """
    answered = {item["call_id"] for item in output if item["type"] in OUTPUTS}
    stubs = []
    for item in output:
        if item["type"] == "mcp_approval_request":
            stubs.append({"type": "mcp_approval_response", "approval_request_id": item["id"]})
        elif item["type"] == "function_call" and item["call_id"] not in answered:
            stubs.append({"type": _RESULT_OF[item["type"]], "call_id": item["call_id"], "name": item["name"]})
        elif item["type"] in CLIENT_CALLS and item["call_id"] not in answered:
            stubs.append({"type": _RESULT_OF[item["type"]], "call_id": item["call_id"]})
    return stubs


def name_successor(event: Event, successor: str | None) -> None:
    """Let the terminal event of a response name the response that has the messages with which it was steered."""
    response = event["response"]
    metadata = {key: value for key, value in response["metadata"].items() if key != SUCCESSOR}
    response["metadata"] = metadata if successor is None else {**metadata, SUCCESSOR: successor}


def steer_accepted(steer: str, response: str) -> Event:
    """Over a WebSocket: the messages are queued."""
    return {"type": ACCEPTED, "steer": {"id": steer, "previous_response_id": response}}


def steer_pending(steer: str, response: str, required: Sequence[Mapping[str, str]]) -> Event:
    """Over a WebSocket: the response has ended, and the messages wait for the answer to what it asks."""
    return {
        "type": PENDING,
        "steer": {"id": steer, "previous_response_id": response},
        "reason": "waiting_for_required_input",
        "required_input": list(required),
    }


def steer_failed(steer: str | None, response: str, said: Any, *, code: str, message: str) -> Event:
    """Over a WebSocket: the messages are given back. `said` is the input, and without an id they were not accepted."""
    named = {} if steer is None else {"id": steer}
    return {
        "type": FAILED,
        "steer": {**named, "previous_response_id": response, "input": said},
        "error": {"type": "invalid_request_error", "code": code, "message": message},
    }


def failure_code(error: AgentError) -> str:
    """The code of an error as OpenAI's steering has it."""
    return "invalid_input" if isinstance(error, InvalidRequest) else error.code
