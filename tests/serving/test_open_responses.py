"""`/v1/responses` as the Open Responses specification has it: what every response, item and event must say.

Source: the Open Responses specification of 2026-04-24.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from tests.wire import named_frames

from graph_agent import AgentContext, AgentState, Settings, create_app, make_planner
from graph_agent.testing import AgentClient, Call, Finish, Reasoning, ScriptedChatModel, Usage

pytestmark = pytest.mark.anyio

NONE = type(None)
RESPONSE: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "object", "status", "model", "truncation", "service_tier"), (str,)),
    **dict.fromkeys(("previous_response_id", "instructions", "safety_identifier", "prompt_cache_key"), (str, NONE)),
    **dict.fromkeys(("created_at", "top_logprobs"), (int,)),
    **dict.fromkeys(("completed_at", "max_output_tokens", "max_tool_calls"), (int, NONE)),
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), (int, float)),
    **dict.fromkeys(("store", "background", "parallel_tool_calls"), (bool,)),
    **dict.fromkeys(("error", "incomplete_details", "reasoning", "usage"), (dict, NONE)),
    **dict.fromkeys(("text", "metadata"), (dict,)),
    **dict.fromkeys(("output", "tools"), (list,)),
    "tool_choice": (str, dict),
}
ITEMS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "message": dict.fromkeys(("id", "status", "role"), (str,)) | {"content": (list,)},
    "function_call": dict.fromkeys(("id", "call_id", "name", "arguments", "status"), (str,)),
    "reasoning": {"id": (str,), "summary": (list,)},
    "compaction": dict.fromkeys(("id", "encrypted_content"), (str,)),
}
COMPACTED = {**dict.fromkeys(("id", "object"), (str,)), "created_at": (int,), "output": (list,), "usage": (dict,)}
FUNCTION = {"type": (str,), "name": (str,), "description": (str, NONE), "parameters": (dict,), "strict": (bool, NONE)}
USAGE = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), (int,))
DETAILS = {"input_tokens_details": "cached_tokens", "output_tokens_details": "reasoning_tokens"}

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
# A GIF of one pixel.
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def message(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **fields}


ASKED: Mapping[str, dict[str, Any]] = {
    "a text": {"input": "Hi"},
    "a message": {"input": [message("user", "Hi")]},
    "a system message": {"input": [message("system", "Be short."), message("user", "Hi")]},
    "a conversation": {"input": [message("user", "I am Ann."), message("assistant", "Hi."), message("user", "Who?")]},
    "phases of the assistant": {
        "input": [
            message("assistant", "I look it up.", phase="commentary"),
            message("assistant", "It is four.", phase="final_answer"),
            message("user", "Repeat it."),
        ]
    },
    "an image": {
        "input": [
            message("user", [{"type": "input_text", "text": "See?"}, {"type": "input_image", "image_url": PIXEL}]),
        ]
    },
    "a tool": {"input": "Call", "tools": [WEATHER]},
    "a tool with a name alone": {"input": "Call", "tools": [{"type": "function", "name": "weather"}]},
    "a tool that is allowed": {
        "input": "Call",
        "tools": [WEATHER],
        "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "weather"}]},
    },
    "a form": {"input": "Form", "text": {"format": {"type": "json_schema", "name": "f", "schema": {"type": "object"}}}},
    "an end at a limit": {"input": "Cut", "max_output_tokens": 16},
}


def reply(messages: list[Any]) -> Any:
    match messages[-1].text:
        case "Call":
            return [Reasoning("I call it."), Call("weather", ["{", "}"], id="c1")]
        case "Form":
            return ["{", "}"]
        case "Cut":
            return ["It is", Finish("length")]
    return [Reasoning("Well."), "Hello ", "there.", Usage(5, 2)]


@pytest.fixture
async def client() -> AsyncIterator[AgentClient]:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=ScriptedChatModel(reply), tools=[], prompt="Help."))
    graph = builder.add_edge(START, "planner").add_edge("planner", END).compile()
    async with AgentClient(create_app(Settings(tracing="off", store="memory"), {"a": graph}, environ={})) as made:
        yield made


def check(value: Mapping[str, Any], required: Mapping[str, tuple[type, ...]]) -> None:
    wrong = {
        name: value.get(name, "is missing") for name in required if type(value.get(name, ...)) not in required[name]
    }
    assert not wrong


def check_response(response: Mapping[str, Any]) -> None:
    check(response, RESPONSE)
    assert response["object"] == "response"
    assert (response["completed_at"] is not None) == (response["status"] == "completed")
    assert (response["incomplete_details"] is not None) == (response["status"] == "incomplete")
    assert (response["usage"] is not None) == (response["status"] in ("completed", "incomplete"))
    if response["usage"] is not None:
        check(response["usage"], USAGE)
        assert all(type(response["usage"][name][inner]) is int for name, inner in DETAILS.items())
    for tool in response["tools"]:
        check(tool, FUNCTION)
    if isinstance(response["tool_choice"], dict):
        assert response["tool_choice"]["mode"] == "auto"
    form = response["text"]["format"]
    if form["type"] == "json_schema":
        check(form, {"name": (str,), "description": (str, NONE), "strict": (bool,)})
    for item in response["output"]:
        check_item(item)


def check_compaction(compacted: Mapping[str, Any]) -> None:
    check(compacted, COMPACTED)
    assert compacted["object"] == "response.compaction"
    check(compacted["usage"], USAGE)
    assert all(type(compacted["usage"][name][inner]) is int for name, inner in DETAILS.items())
    for item in compacted["output"]:
        check_item(item)


def check_item(item: Mapping[str, Any]) -> None:
    check(item, ITEMS[item["type"]])
    for part in item.get("content") or ():
        if part["type"] == "output_text":
            check(part, {"text": (str,), "annotations": (list,)})


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_a_response_says_all_that_the_specification_requires(client: AgentClient, asked: dict[str, Any]) -> None:
    response = await client.ask({"model": "a", **asked}, path="/v1/responses")
    check_response(response)
    expected = {"Call": "function_call"}.get(asked["input"] if isinstance(asked["input"], str) else "", "message")
    assert response["output"][-1]["type"] == expected
    assert response["status"] == ("incomplete" if asked["input"] == "Cut" else "completed")


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_a_stream_opens_and_closes_all_that_it_tells(client: AgentClient, asked: dict[str, Any]) -> None:
    answer = await client.post("/v1/responses", json={"model": "a", "stream": True, **asked})
    *told, (_, done) = named_frames(answer.text)
    assert done == "[DONE]"
    assert all(name == event["type"] for name, event in told)
    events = [event for _, event in told]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]["response"]
    assert [one["type"] for one in (*events[:2], events[-1])] == [
        "response.created",
        "response.in_progress",
        f"response.{last['status']}",
    ]
    for event in events:
        if "response" in event:
            check_response(event["response"])
    output, texts = replayed(events[2:-1])
    assert output == last["output"]
    assert all(texts.values())


def replayed(events: list[dict[str, Any]]) -> tuple[list[Any], dict[Any, bool]]:
    """The items that a client makes of the events, and for each of their texts whether its pieces add up to it."""
    items: list[Any] = []
    written: dict[Any, str] = {}
    whole: dict[Any, bool] = {}
    opened: set[int] = set()
    for event in events:
        kind, index = event["type"].removeprefix("response."), event["output_index"]
        place = (index, event.get("content_index"), event.get("summary_index"))
        match kind.split("."):
            case ["output_item", "added"]:
                assert index == len(items)
                check_item(event["item"])
                items.append(event["item"])
                opened.add(index)
            case ["output_item", "done"]:
                opened.remove(index)
                assert event["item"]["id"] == items[index]["id"]
                items[index] = event["item"]
            case [_, "delta"]:
                assert index in opened
                written[place] = written.get(place, "") + event["delta"]
            case ["output_text" | "reasoning_summary_text" | "function_call_arguments", "done"]:
                whole[place] = written.get(place, "") == event.get("text", event.get("arguments"))
        assert event.get("item_id", items[index]["id"]) == items[index]["id"]
    assert not opened
    assert whole.keys() >= written.keys()
    return items, whole


async def test_errors_are_told_as_the_specification_has_them(client: AgentClient) -> None:
    for body in ({}, {"input": []}, {"input": "Hi", "top_p": 2}, {"input": "Hi", "tools": [{"type": "function"}]}):
        answer = await client.post("/v1/responses", json=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        check(error, {"type": (str,), "code": (str, NONE), "message": (str,), "param": (str, NONE)})
        assert json.dumps(error["param"]) != "null"
