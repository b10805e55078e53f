"""What endpoints answer in shapes of their own: lists of content, reasoning, calls without ids, and what is no answer.

Shapes: Claude, GPT-OSS and Gemini on Databricks, open models' servers, agents' endpoints, and reports of bugs.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel
from tests.databricks.service import service_here, text_of
from tests.standin.server import USAGE, StandIn, delta

from graph_agent.errors import AgentError, ModelFailed, ModelRateLimited
from graph_agent.models import chat_model

MODEL = "/serving-endpoints/chat/completions"
ASK = {"model": "asking", "input": "What colour?"}

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]


def thought(text: str, **more: str) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text, **more}]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def frames(*found: Mapping[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in found) + b"data: [DONE]\n\n"


def completion(message: Mapping[str, Any], finish_reason: str = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}).encode()


STREAMED = {
    "Claude": [
        delta(role="assistant", content=""),
        delta(content=[thought("The sky ")]),
        delta(content=[thought("scatters.")]),
        delta(content=[thought("", signature="c2ln")]),
        delta(content=[text("It is ")]),
        delta(content=[text("blue.")]),
        delta("stop") | {"usage": USAGE},
    ],
    "Claude, texts after its thoughts": [
        delta(content=[thought("The sky scatters.", signature="c2ln")]),
        delta(content="It is "),
        delta(content="blue."),
        delta("stop"),
    ],
    "GPT-OSS, one piece": [delta(content=[thought("The sky scatters."), text("It is blue.")]), delta("stop")],
    "open models' servers": [
        delta(role="assistant", content=None, reasoning_content="The sky "),
        delta(reasoning_content="scatters."),
        delta(content="It is blue."),
        delta("stop"),
    ],
    "the newer name of the same": [delta(reasoning="The sky scatters."), delta(content="It is blue."), delta("stop")],
    "Anthropic's own blocks": [
        delta(content=[{"type": "thinking", "thinking": "The sky scatters.", "signature": "c2ln"}]),
        delta(content=[text("It is blue.")]),
        delta("stop"),
    ],
    "a summary that is a text": [
        delta(content=[{"type": "reasoning", "summary": "The sky scatters."}]),
        delta(content="It is blue."),
        delta("stop"),
    ],
}

WHOLE: dict[str, dict[str, Any]] = {
    "Claude": {"content": [thought("The sky scatters.", signature="c2ln"), text("It is blue.")]},
    "Gemini": {
        "reasoning_content": "The sky scatters.",
        "content": [text("It is ") | {"thoughtSignature": "c2ln"}, text("blue.")],
    },
    "GPT-OSS": {"content": [thought("The sky scatters."), text("It is blue.")]},
    "output_text parts": {"content": [thought("The sky scatters."), {"type": "output_text", "text": "It is blue."}]},
    "open models' servers": {"content": "It is blue.", "reasoning_content": "The sky scatters."},
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("shape", STREAMED)
async def test_text_and_reasoning_reach_the_user_apart(standing: StandIn, shape: str, stream: bool) -> None:
    standing.model.script = lambda body: STREAMED[shape]
    async with service_here() as client:
        answer = await client.post("/invocations", json=ASK | {"stream": stream})
    said, thoughts = items_of(answer)
    assert said == ["It is blue."]
    assert thoughts == ["The sky scatters."]
    for mark in ('"type\\"', "summary_text\\", "c2ln"):
        assert mark not in answer.text


@pytest.mark.parametrize("shape", WHOLE)
async def test_an_answer_in_one_piece_is_read_the_same_way(standing: StandIn, shape: str) -> None:
    standing.reply(MODEL, completion(WHOLE[shape]), times=2)
    said = await chat_model("databricks:local-model").ainvoke("What colour?")
    whole = await chat_model("databricks:local-model")._agenerate([HumanMessage("What colour?")])
    for message in (said, whole.generations[0].message):
        assert message.text == "It is blue."
        thoughts = [block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning"]
        assert thoughts == ["The sky scatters."]


async def test_plain_text_stays_a_string(standing: StandIn) -> None:
    model = chat_model("databricks:local-model")
    assert (await model.ainvoke("What colour?")).content == "It is blue."
    standing.reply(MODEL, completion({"content": [text("It is "), text("blue.")]}))
    assert (await model._agenerate([HumanMessage("What colour?")])).generations[0].message.content == "It is blue."


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_endpoint_gets_its_signed_thoughts_and_calls_back_and_nothing_it_does_not_know(
    standing: StandIn, streamed: bool
) -> None:
    piece = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look", "arguments": "{}"},
        "thoughtSignature": "Z2Vt",
    }
    if streamed:
        standing.model.script = lambda body: [
            delta(content=[thought("I look ")]),
            delta(content=[thought("first.")]),
            delta(content=[thought("", signature="c2ln")]),
            delta(content=[text("Looking.")]),
            delta(tool_calls=[piece | {"index": 0}]),
            delta("tool_calls"),
        ]
    else:
        content = [thought("I look first.", signature="c2ln"), text("Looking.")]
        standing.reply(MODEL, completion({"content": content, "tool_calls": [piece]}, "tool_calls"))
    model = chat_model("databricks:local-model")
    said: Any = (
        await streamed_by(model, "Look.")
        if streamed
        else (await model._agenerate([HumanMessage("Look.")])).generations[0].message
    )
    standing.forget()
    await model.ainvoke([HumanMessage("Look."), said, ToolMessage("blue", tool_call_id="c1")])
    sent = standing.calls(MODEL)[-1].json["messages"][1]
    assert sent["content"] == [thought("I look first.", signature="c2ln"), text("Looking.")]
    assert sent["tool_calls"] == [piece]
    # Another endpoint could not read them.
    other = chat_model("databricks:local-model", extra_params={})
    foreign = said.model_copy(update={"response_metadata": {"endpoint": "another"}})
    await other.ainvoke([HumanMessage("Look."), foreign, ToolMessage("blue", tool_call_id="c1")])
    assert standing.calls(MODEL)[-1].json["messages"][1]["content"] == "Looking."


async def test_annotated_and_unsigned_content_is_resent_as_its_text(standing: StandIn) -> None:
    annotated = text("It is blue. [1]") | {"annotations": [{"type": "url_citation", "url": "https://x", "title": "x"}]}
    unsigned = {"type": "reasoning", "reasoning": "The sky scatters."}
    history = [HumanMessage("What colour?"), AIMessage([unsigned, annotated]), HumanMessage("Sure?")]
    await chat_model("databricks:local-model").ainvoke(history)
    assert standing.calls(MODEL)[-1].json["messages"][1] == {"role": "assistant", "content": "It is blue. [1]"}


class Colour(BaseModel):
    """A colour."""

    name: str


async def test_structured_output_is_read_beside_reasoning(standing: StandIn) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "Colour", "arguments": {"name": "blue"}}}
    standing.model.script = lambda body: [
        delta(content=[thought("Blue.", signature="s")]),
        delta(tool_calls=[call]),
        delta("tool_calls"),
    ]
    structured = chat_model("databricks:local-model").with_structured_output(Colour)
    assert await structured.ainvoke("?") == Colour(name="blue")
    assert [one async for one in structured.astream("?")][-1] == Colour(name="blue")
    standing.model.script = lambda body: [delta(content=[thought("Blue."), text('{"name": "blue"}')]), delta("stop")]
    said = await streamed_by(chat_model("databricks:local-model"), "?", response_format={"type": "json_object"})
    assert json.loads(said.text) == {"name": "blue"}


def call(index: Any = "none", **fields: Any) -> dict[str, Any]:
    function = {key: fields.pop(key) for key in ("name", "arguments") if key in fields}
    return ({} if index == "none" else {"index": index}) | {**fields, "function": function}


ONE = [("look", {"at": "sky"})]
TWO = [("look", {"at": "sky"}), ("look", {"at": "sea"})]
SKY, SEA = '{"at": "sky"}', '{"at": "sea"}'
PIECES: dict[str, tuple[list[Any], list[Any]]] = {
    "no index": ([[call(id="a", name="look", arguments=SKY)]], ONE),
    "no index, in pieces": ([[call(id="a", name="look", arguments='{"at"')], [call(arguments=': "sky"}')]], ONE),
    "no id": ([[call(0, name="look", arguments=SKY)]], ONE),
    "an empty id": ([[call(0, id="", name="look", arguments=SKY)]], ONE),
    "a null id": ([[call(0, id=None, name="look", arguments=SKY)]], ONE),
    "a number as id": ([[call(0, id=7, name="look", arguments=SKY)]], ONE),
    "the name with each piece": (
        [[call(0, id="a", name="look", arguments='{"at"')], [call(0, id="a", name="look", arguments=': "sky"}')]],
        ONE,
    ),
    "the name with each piece, no id": (
        [[call(0, name="look", arguments='{"at"')], [call(0, name="look", arguments=': "sky"}')]],
        ONE,
    ),
    "the name once more at the end": (
        [[call(0, id="a", name="look", arguments=SKY)], [call(0, id="a", name="look", arguments="")]],
        ONE,
    ),
    "the whole call once more at the end": (
        [[call(0, id="a", name="look", arguments=SKY)], [call(0, id="a", name="look", arguments=SKY)]],
        ONE,
    ),
    "a name in two pieces": ([[call(0, id="a", name="lo")], [call(0, name="ok")], [call(0, arguments=SKY)]], ONE),
    "arguments as an object": ([[call(0, id="a", name="look", arguments={"at": "sky"})]], ONE),
    "arguments within a text": ([[call(0, id="a", name="look", arguments=json.dumps(SKY))]], ONE),
    "null arguments": ([[call(0, id="a", name="look", arguments=None)]], [("look", {})]),
    "no arguments": ([[call(0, id="a", name="look")]], [("look", {})]),
    "the text null": ([[call(0, id="a", name="look", arguments="null")]], [("look", {})]),
    "the text null in pieces": (
        [[call(0, id="a", name="look", arguments="nu")], [call(0, arguments="ll")]],
        [("look", {})],
    ),
    "null first, then arguments": (
        [[call(0, id="a", name="look", arguments=None)], [call(0, arguments=SKY)]],
        ONE,
    ),
    "one index for two calls": (
        [[call(0, id="a", name="look", arguments=SKY)], [call(0, id="b", name="look", arguments=SEA)]],
        TWO,
    ),
    "one index for two calls without ids": (
        [[call(0, name="look", arguments=SKY)], [call(0, name="look", arguments=SEA)]],
        TWO,
    ),
    "one id for two calls": (
        [[call(0, id="a", name="look", arguments=SKY), call(1, id="a", name="look", arguments=SEA)]],
        TWO,
    ),
    "no index and no id, two calls": ([[call(name="look", arguments=SKY), call(name="look", arguments=SEA)]], TWO),
    "no index, two calls without arguments": (
        [[call(name="look"), call(name="listen")]],
        [("look", {}), ("listen", {})],
    ),
    "pieces of two calls in turn": (
        [
            [call(0, id="a", name="look", arguments='{"at": ')],
            [call(1, id="b", name="look", arguments='{"at": ')],
            [call(0, arguments='"sky"}')],
            [call(1, arguments='"sea"}')],
        ],
        TWO,
    ),
    "an object in place of a list": ([call(0, id="a", name="look", arguments=SKY)], ONE),
}


@pytest.mark.parametrize("shape", PIECES)
async def test_calls_in_any_shape_are_called_once_each_under_an_id_of_their_own(standing: StandIn, shape: str) -> None:
    pieces, wanted = PIECES[shape]
    standing.model.script = lambda body: [*(delta(tool_calls=one) for one in pieces), delta("tool_calls")]
    said = await streamed_by(chat_model("databricks:local-model"), "Look.")
    assert [(one["name"], one["args"]) for one in said.tool_calls] == wanted
    assert said.invalid_tool_calls == []
    ids = [one["id"] for one in said.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("shape", [name for name, (pieces, _) in PIECES.items() if len(pieces) == 1])
async def test_whole_calls_in_any_shape_too(standing: StandIn, shape: str) -> None:
    (calls,), wanted = PIECES[shape]
    standing.reply(MODEL, completion({"content": None, "tool_calls": calls}, "tool_calls"))
    result = await chat_model("databricks:local-model")._agenerate([HumanMessage("Look.")])
    said = result.generations[0].message
    assert isinstance(said, AIMessage)
    assert [(one["name"], one["args"]) for one in said.tool_calls] == wanted
    assert len({one["id"] for one in said.tool_calls}) == len(wanted)


async def test_arguments_that_are_no_object_are_not_called(standing: StandIn) -> None:
    model = chat_model("databricks:local-model")
    for arguments in ('{"at": ', "[1]", "sky"):
        standing.reply(
            MODEL, completion({"tool_calls": [call(id="a", name="look", arguments=arguments)]}, "tool_calls")
        )
        said = (await model._agenerate([HumanMessage("Look.")])).generations[0].message
        assert isinstance(said, AIMessage)
        assert said.tool_calls == []
        (bad,) = said.invalid_tool_calls
        assert (bad["name"], bad["args"], bad["id"]) == ("look", arguments, "a")


HTML = b"<!doctype html><html><body>Sign in, s3cret</body></html>"
UNREADABLE = {
    "a web page": ([HTML], {"content-type": "text/html"}, "web page"),
    "a web page called JSON": ([HTML], {"content-type": "application/json"}, "web page"),
    "an empty body": ([], {"content-type": "application/json"}, "empty answer"),
    "an empty stream": ([], {"content-type": "text/event-stream"}, "empty answer"),
    "a stream that is only done": ([b"data: [DONE]\n\n"], {"content-type": "text/event-stream"}, "empty answer"),
    "only comments": ([b": wait\n\n: s3cret\n\n"], {"content-type": "text/event-stream"}, "empty answer"),
    "no choices": ([b'{"id": "s3cret", "object": "chat.completion"}'], {}, "without choices"),
    "null choices": ([b'{"choices": null, "usage": null}'], {}, "without choices"),
    "an empty list of choices": ([b'{"choices": [], "id": "s3cret"}'], {}, "without choices"),
    "choices that are no objects": ([b'{"choices": ["s3cret"]}'], {}, "without choices"),
    "a list": ([b'["s3cret"]'], {}, "not a chat completion"),
    "half a JSON text": ([b'{"choices": [{"message": {"content": "s3cret'], {}, "not a chat completion"),
    "deep nesting": ([b'{"choices": ' + b"[" * 100_000], {}, "not a chat completion"),
    "an error object": ([b'{"error": {"message": "s3cret"}}'], {}, "with an error"),
    "an error text": ([b'{"error": "s3cret"}'], {}, "with an error"),
    "a Databricks error": ([b'{"error_code": "SOMETHING", "message": "s3cret"}'], {}, "with an error"),
    "an error of another server": ([b'{"object": "error", "message": "s3cret", "code": 500}'], {}, "failed (500)"),
    "an error of a known status": ([b'{"error_code": "PERMISSION_DENIED", "message": "s3cret"}'], {}, "CAN_QUERY"),
    "a choice with an error": (
        [b'{"choices": [{"error": {"message": "s3cret"}, "message": {}}]}'],
        {},
        "with an error",
    ),
    "an error frame": ([frames(delta(content="It "), {"error": {"message": "s3cret"}})], {}, "with an error"),
    "a Databricks error frame": (
        [frames(delta(content="It "), {"error_code": "INTERNAL_ERROR", "message": "s3cret"})],
        {},
        "failed (500)",
    ),
    "an error that ends a choice": ([frames(delta(content="It "), delta("error"))], {}, "with an error"),
    "a frame that is no JSON": ([b"data: It is s3cret\n\n"], {}, "not a chat completion"),
    "a frame that is a list": ([b'data: ["s3cret"]\n\n'], {}, "not a chat completion"),
    "a stream without its end": (
        [frames(delta(content="It ")).replace(b"data: [DONE]\n\n", b"")],
        {},
        "ended its answer early",
    ),
    "plain words": ([b"upstream s3cret\n"], {"content-type": "text/plain"}, "empty answer"),
}


@pytest.mark.parametrize("asked", ["whole", "streamed", "in a thread"])
@pytest.mark.parametrize("shape", UNREADABLE)
async def test_what_is_no_answer_is_a_typed_error_that_quotes_nobody(standing: StandIn, shape: str, asked: str) -> None:
    pieces, headers, says = UNREADABLE[shape]
    standing.reply(MODEL, *pieces, headers=headers)
    model = chat_model("databricks:local-model", max_retries=0)

    async def answer() -> None:
        if asked == "whole":
            await model._agenerate([HumanMessage("What colour?")])
        elif asked == "in a thread":
            model.invoke("What colour?")
        else:
            await streamed_by(model, "What colour?")

    with pytest.raises(ModelFailed, match=r"^model endpoint 'local-model' ") as failure:
        await answer()
    assert says in str(failure.value)
    assert "s3cret" not in str(failure.value)


async def test_a_limit_told_within_an_answer_is_a_limit(standing: StandIn) -> None:
    for told in ({"error": {"code": 429, "message": "m"}}, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "m"}):
        standing.reply(MODEL, json.dumps(told).encode())
        with pytest.raises(ModelRateLimited):
            _ = [chunk async for chunk in chat_model("databricks:local-model").astream("What colour?")]


ODD = {
    "a whole answer where a stream was asked for": [completion({"content": "It is blue."})],
    "the same in pieces": [
        b"\n ",
        completion({"content": "It is blue."})[:20],
        completion({"content": "It is blue."})[20:],
    ],
    "lines that end in CRLF": [frames(delta(content="It is blue."), delta("stop")).replace(b"\n", b"\r\n")],
    "lines that end in CR": [frames(delta(content="It is blue."), delta("stop")).replace(b"\n", b"\r")],
    "no space after the colon": [frames(delta(content="It is blue."), delta("stop")).replace(b"data: ", b"data:")],
    "names of events": [b"event: chunk\n" + frames(delta(content="It is blue."), delta("stop"))],
    "a last line without its end": [frames(delta(content="It is blue."), delta("stop")).removesuffix(b"\n\n")],
    "no last word": [frames(delta(content="It is blue."), delta("stop")).replace(b"data: [DONE]\n\n", b"")],
    "a byte at a time": [bytes([one]) for one in frames(delta(content="It is blue."), delta("stop"))],
    "an agent's pieces": [frames({"delta": {"role": "assistant", "content": "It is blue."}, "id": "1"})],
    "an agent's steps": [
        json.dumps(
            {"messages": [{"role": "assistant", "content": "Hm."}, {"role": "assistant", "content": "It is blue."}]}
        ).encode()
    ],
    "frames without content": [
        frames({"choices": []}, {"id": "1"}, delta(), delta(content="It is blue."), delta("stop"))
    ],
    "null fields": [
        frames(
            delta(content=None, tool_calls=None, role=None),
            delta(content="It is blue."),
            delta("stop") | {"usage": None, "error": None},
        )
    ],
    "usage in texts and nulls": [
        frames(
            delta(content="It is blue."), delta("stop") | {"usage": {"prompt_tokens": None, "completion_tokens": "7"}}
        )
    ],
}


@pytest.mark.parametrize("shape", ODD)
async def test_an_odd_answer_is_still_the_answer(standing: StandIn, shape: str) -> None:
    standing.reply(MODEL, *ODD[shape], times=2)
    model = chat_model("databricks:local-model")
    assert "".join([chunk.text async for chunk in model.astream("What colour?")]) == "It is blue."
    if shape != "the same in pieces":
        assert (await model._agenerate([HumanMessage("What colour?")])).generations[0].message.text == "It is blue."


@pytest.mark.parametrize("status", [400, 422, 501])
async def test_an_endpoint_that_cannot_stream_is_asked_for_a_whole_answer_from_then_on(
    standing: StandIn, status: int
) -> None:
    def refuse() -> None:
        standing.fail(
            MODEL, status, body={"error_code": "BAD_REQUEST", "message": "This model does not support streaming"}
        )

    refuse()
    model = chat_model("databricks:local-model")
    assert "".join([chunk.text async for chunk in model.astream("What colour?")]) == "It is blue."
    assert "".join([chunk.text async for chunk in model.astream("What colour?")]) == "It is blue."
    assert [one.json["stream"] for one in standing.calls(MODEL)] == [True, False, False]
    # One that likes the request in no form is told as ever, and asked to stream again.
    model = chat_model("databricks:local-model")
    refuse()
    refuse()
    with pytest.raises(ModelFailed, match=r"failed \(501\): " if status == 501 else "does not accept the request"):
        await anext(model.astream("What colour?"))
    standing.forget()
    assert "".join([chunk.text async for chunk in model.astream("What colour?")]) == "It is blue."
    assert [one.json["stream"] for one in standing.calls(MODEL)] == [True]


WAITS = {
    "seconds": "45",
    "a date": "Fri, 31 Dec 2100 23:59:59 GMT",
    "an hour": "3600",
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", WAITS)
async def test_a_long_wait_is_told_and_not_slept_through(standing: StandIn, wait: str, status: int) -> None:
    standing.fail(MODEL, status, times=9, headers={"retry-after": WAITS[wait]})
    model = chat_model("databricks:local-model")
    for ask in (lambda: anext(model.astream("What colour?")), lambda: asyncio.to_thread(model.invoke, "What colour?")):
        standing.forget()
        with pytest.raises(AgentError, match="try again in ") as failure:
            await ask()
        assert isinstance(failure.value, ModelRateLimited if status == 429 else ModelFailed)
        assert len(standing.calls(MODEL)) == 1
    assert wait != "seconds" or "in 45 s" in str(failure.value)


async def test_the_caller_of_the_service_reads_how_long_to_wait(standing: StandIn) -> None:
    standing.fail(MODEL, 429, times=9, headers={"retry-after": "45"})
    async with service_here() as client:
        answer = await client.post("/invocations", json=ASK)
    assert answer.status_code == 429
    assert "try again in 45 s" in answer.json()["error"]["message"]


async def test_a_short_wait_is_waited(standing: StandIn) -> None:
    standing.fail(MODEL, 429, headers={"retry-after": "0.2"})
    assert (await chat_model("databricks:local-model").ainvoke("What colour?")).text == "It is blue."


async def streamed_by(model: Any, question: str, **options: Any) -> AIMessage:
    """The sum of the chunks, as LangGraph makes it where it streams."""
    whole = None
    async for chunk in model.astream(question, **options):
        whole = chunk if whole is None else whole + chunk
    assert isinstance(whole, AIMessage)
    return whole


def items_of(answer: httpx.Response) -> tuple[list[str], list[str]]:
    """The messages and the thoughts of an answer, plain or streamed."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
        done = [event for event in map(json.loads, lines) if event["type"] == "response.output_item.done"]
        items = [event["item"] for event in done]
    else:
        items = answer.json()["output"]
        assert text_of(answer) == "It is blue."
    said = ["".join(part["text"] for part in item["content"]) for item in items if item["type"] == "message"]
    return said, ["".join(part["text"] for part in item["summary"]) for item in items if item["type"] == "reasoning"]
