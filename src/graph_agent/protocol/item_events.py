"""Items of the output and the events that tell them, one builder each.

As with `events`, these builders are the schema: no client's library validates all of these types.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from graph_agent.protocol.events import Event, Item, Phase, Status, new_id


def item_added(index: int, item: Item) -> Event:
    """`response.output_item.added`."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def item_done(index: int, item: Item) -> Event:
    """`response.output_item.done`. Its item has the id that the deltas have as `item_id`."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def text_part(
    text: str, annotations: Sequence[dict[str, Any]] = (), logprobs: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """An `output_text` content part."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}


def message_item(
    item_id: str, status: Status, content: Sequence[dict[str, Any]] = (), phase: Phase | None = None
) -> Item:
    """An assistant message. `phase` separates commentary from the answer, as newer OpenAI models do."""
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


def text_done(item_id: str, index: int, place: int, text: str, logprobs: Sequence[dict[str, Any]] = ()) -> Event:
    """`response.output_text.done`."""
    return _of_part("response.output_text.done", item_id, index, place) | {"text": text, "logprobs": list(logprobs)}


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


def custom_tool_call_item(item_id: str, call_id: str, name: str, text: str, status: Status) -> Item:
    """A call of a client's tool that takes one string."""
    return {
        "type": "custom_tool_call",
        "id": item_id,
        "call_id": call_id,
        "name": name,
        "input": text,
        "status": status,
    }


def custom_input_delta(item_id: str, index: int, delta: str) -> Event:
    """`response.custom_tool_call_input.delta`."""
    return {
        "type": "response.custom_tool_call_input.delta",
        "item_id": item_id,
        "output_index": index,
        "delta": delta,
    }


def custom_input_done(item_id: str, index: int, text: str) -> Event:
    """`response.custom_tool_call_input.done`."""
    return {"type": "response.custom_tool_call_input.done", "item_id": item_id, "output_index": index, "input": text}


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
    approval: str | None = None,
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
        "approval_request_id": approval,
    }


def mcp_call_progress(item_id: str, index: int, state: Literal["in_progress", "completed", "failed"]) -> Event:
    """`response.mcp_call.in_progress`, `.completed` or `.failed`."""
    return {"type": f"response.mcp_call.{state}", "item_id": item_id, "output_index": index}


def tool_list_item(
    item_id: str, server: str, tools: Sequence[Mapping[str, Any]] = (), error: str | None = None
) -> Item:
    """The tools of an MCP server that the client names, or why there is no list of them."""
    item = {"type": "mcp_list_tools", "id": item_id, "server_label": server, "tools": list(tools)}
    return item if error is None else item | {"error": error}


def tool_list_progress(item_id: str, index: int, state: Literal["in_progress", "completed", "failed"]) -> Event:
    """`response.mcp_list_tools.in_progress`, `.completed` or `.failed`."""
    return {"type": f"response.mcp_list_tools.{state}", "item_id": item_id, "output_index": index}


def reasoning_item(item_id: str, text: str | None) -> Item:
    """A reasoning summary of at most one part: Databricks reads only `summary[0]`."""
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


def whole_item(index: int, item: Item) -> Iterator[Event]:
    """The events before `item_done` of an item that is known from the start."""
    if item["type"] != "message":
        yield item_added(index, item)
        return
    yield item_added(index, {**item, "status": "in_progress", "content": []})
    for place, part in enumerate(item["content"]):
        if part["type"] == "refusal":
            yield part_added(item["id"], index, place, refusal_part(""))
            yield refusal_delta(item["id"], index, place, part["refusal"])
            yield refusal_done(item["id"], index, place, part["refusal"])
        else:
            yield part_added(item["id"], index, place, text_part(""))
            yield text_delta(item["id"], index, place, part["text"])
            for position, annotation in enumerate(part["annotations"]):
                yield annotation_added(item["id"], index, place, position, annotation)
            yield text_done(item["id"], index, place, part["text"], part["logprobs"])
        yield part_done(item["id"], index, place, part)
