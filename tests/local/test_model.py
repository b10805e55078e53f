import asyncio
import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from graph_agent.errors import InvalidRequest, LocalModelFailed, PromptTooLong
from graph_agent.local.model.completion import Completion
from graph_agent.local.model.engine import Engine, EngineOptions, Piece, Turn
from graph_agent.local.model.local_model import LocalModel
from graph_agent.local.model.on_demand import OnDemandModel
from graph_agent.local.model.upstream import UpstreamModel
from graph_agent.local.preparation import chat_backend
from graph_agent.local.weights.fetch import WEIGHTS
from graph_agent.settings import Settings

pytestmark = pytest.mark.anyio

SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
ASKED = {"role": "user", "content": "what is x?"}


def called(query: str) -> list[dict[str, Any]]:
    function = {"name": "search", "arguments": json.dumps({"query": query})}
    return [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c", "content": "x is a letter"},
    ]


def calls_json(query: str) -> str:
    return json.dumps([{"name": "search", "arguments": {"query": query}}])


class ScriptedDecoder:
    """Replies from a list; a token is a word. `closed` is set when an iterator was closed."""

    def __init__(self, *replies: str, window: int = 4096, stopped: Any = "end") -> None:
        self.window = window
        self._replies = list(replies)
        self._stopped = stopped
        self.prompts: list[str] = []
        self.beginnings: list[str] = []
        self.parameters: list[dict[str, Any]] = []
        self.closed = anyio.Event()

    async def prompt_of(self, turns: Sequence[Turn]) -> str:
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)

    async def count(self, text: str) -> int:
        return len(text.split())

    async def generate(self, prompt: str, beginning: str = "", **parameters: Any) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        self.beginnings.append(beginning)
        self.parameters.append(parameters)
        words = self._replies.pop(0).split(" ")
        try:
            for number, word in enumerate(words):
                text = word if number == 0 else f" {word}"
                yield Piece(text=text, probabilities=_told(text) if parameters.get("n_probs") else ())
            yield Piece(text="", stopped=self._stopped, prompt_tokens=7, cached_tokens=5, output_tokens=len(words))
        finally:
            self.closed.set()

    async def aclose(self) -> None: ...


def _told(text: str) -> list[dict[str, Any]]:
    """A token as llama.cpp tells it, and the likeliest ones in its place."""
    tokens = [{"id": 1, "token": one, "logprob": -0.5, "bytes": [*one.encode()]} for one in (text, "other")]
    return [{**tokens[0], "top_logprobs": tokens}]


async def answer(decoder: ScriptedDecoder, *messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    model = LocalModel(decoder, name="tiny")
    return [chunk async for chunk in model.stream_chat({"messages": [*messages], **fields})]


def texts(chunks: Sequence[dict[str, Any]]) -> list[str]:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return [delta["content"] for delta in deltas if delta.get("content")]


def calls(chunks: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    found: list[list[str]] = []
    for piece in (p for c in chunks for choice in c["choices"] for p in choice["delta"].get("tool_calls", [])):
        if "id" in piece:
            found.append([piece["function"]["name"], ""])
        found[piece["index"]][1] += piece["function"]["arguments"]
    return [(name, arguments) for name, arguments in found]


def finish(chunks: Sequence[dict[str, Any]]) -> list[str]:
    return [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]


async def test_a_text_streams_token_by_token_and_ends_with_its_usage() -> None:
    chunks = await answer(ScriptedDecoder("hello my friend"), ASKED)
    head = {"object": "chat.completion.chunk", "model": "tiny", "id": chunks[0]["id"], "created": chunks[0]["created"]}
    choice = {"index": 0, "finish_reason": None, "logprobs": None}
    used = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    used |= {"prompt_tokens_details": {"cached_tokens": 5}}
    assert chunks == [
        head | {"choices": [choice | {"delta": {"role": "assistant", "content": ""}}]},
        head | {"choices": [choice | {"delta": {"content": "hello"}}]},
        head | {"choices": [choice | {"delta": {"content": " my"}}]},
        head | {"choices": [choice | {"delta": {"content": " friend"}}]},
        head | {"choices": [choice | {"delta": {}, "finish_reason": "stop"}]},
        head | {"choices": [], "usage": used},
    ]


async def test_only_instructions_with_tools_are_kept_and_never_a_turn() -> None:
    decoder = ScriptedDecoder("hello", "hello")
    rules = {"role": "system", "content": "rule"}
    await answer(decoder, rules, ASKED)
    await answer(decoder, rules, ASKED, tools=[SEARCH])
    assert decoder.beginnings[0] == ""
    assert decoder.prompts[1].startswith(decoder.beginnings[1])
    assert "system: rule" in decoder.beginnings[1]
    assert "what is x?" not in decoder.beginnings[1]


async def test_a_call_streams_its_name_first_and_its_arguments_in_pieces() -> None:
    chunks = await answer(ScriptedDecoder(calls_json("x" * 40)), ASKED, tools=[SEARCH])
    assert (texts(chunks), calls(chunks), finish(chunks)) == (
        [],
        [("search", json.dumps({"query": "x" * 40}))],
        ["tool_calls"],
    )


async def test_a_call_that_was_answered_already_makes_the_model_write() -> None:
    decoder = ScriptedDecoder(calls_json("x"), "x is a letter")
    chunks = await answer(decoder, ASKED, *called("x"), tools=[SEARCH])
    assert ("".join(texts(chunks)), calls(chunks), finish(chunks)) == ("x is a letter", [], ["stop"])
    assert decoder.prompts[0] == decoder.prompts[1]


async def test_another_call_of_the_same_tool_is_made() -> None:
    chunks = await answer(ScriptedDecoder(calls_json("y")), ASKED, *called("x"), tools=[SEARCH])
    assert calls(chunks) == [("search", '{"query": "y"}')]


async def test_the_same_call_may_be_made_again_for_the_next_question() -> None:
    chunks = await answer(ScriptedDecoder(calls_json("x")), ASKED, *called("x"), ASKED, tools=[SEARCH])
    assert calls(chunks) == [("search", '{"query": "x"}')]


async def test_a_turn_with_many_rounds_of_calls_is_made_to_end() -> None:
    decoder = ScriptedDecoder("enough")
    rounds = [message for number in range(6) for message in called(str(number))]
    assert texts(await answer(decoder, ASKED, *rounds, tools=[SEARCH])) == ["enough"]
    assert "start: text" in decoder.parameters[0]["grammar"]


@pytest.mark.parametrize(
    ("choice", "start"),
    [
        ("none", "start: text"),
        ("required", "start: calls"),
        ({"type": "function", "function": {"name": "search"}}, "start: calls"),
        ("auto", "start: calls | text"),
        (None, "start: calls | text"),
    ],
)
async def test_tool_choice_decides_what_may_be_written(choice: Any, start: str) -> None:
    decoder = ScriptedDecoder(calls_json("x"))
    await answer(decoder, ASKED, tools=[SEARCH], tool_choice=choice)
    assert decoder.parameters[0]["grammar"].splitlines()[1] == start


@pytest.mark.parametrize(
    "fields",
    [{"tool_choice": "required"}, {"tools": [SEARCH], "tool_choice": {"function": {"name": "rm"}}}],
    ids=["no tools", "unknown tool"],
)
async def test_a_tool_choice_that_cannot_be_met_names_the_field(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await answer(ScriptedDecoder(), ASKED, **fields)
    assert raised.value.param == "tool_choice"


async def test_an_answer_that_was_cut_off_says_so() -> None:
    decoder = ScriptedDecoder("once upon", stopped="length")
    assert finish(await answer(decoder, ASKED, max_tokens=2)) == ["length"]
    assert decoder.parameters == [{"temperature": 0.0, "n_predict": 2}]


async def test_a_long_conversation_loses_its_oldest_turns() -> None:
    decoder = ScriptedDecoder("ok", window=100)
    await answer(decoder, {"role": "system", "content": "rule"}, {"role": "user", "content": "old " * 90}, ASKED)
    assert decoder.prompts == ["system: rule\nuser: what is x?"]


async def test_a_question_longer_than_the_window_is_refused() -> None:
    with pytest.raises(PromptTooLong):
        await answer(ScriptedDecoder(window=100), {"role": "user", "content": "long " * 200})


async def test_closing_an_answer_closes_the_decoding() -> None:
    decoder = ScriptedDecoder("a very long story")
    async with aclosing(LocalModel(decoder, name="tiny").stream_chat({"messages": [ASKED]})) as chunks:
        await anext(chunks)
        await anext(chunks)
    assert decoder.closed.is_set()


async def test_a_missing_model_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(LocalModelFailed, match="GRAPH_AGENT_LOCAL_MODEL"):
        await LocalModel.load(tmp_path / "none.gguf")


async def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    with pytest.raises(LocalModelFailed, match="cannot load"):
        Engine.open(tmp_path / "bad.gguf", EngineOptions())


@pytest.mark.parametrize(("given", "used"), [(None, "passive"), ("active", "active")])
async def test_its_threads_wait_without_taking_the_cores_they_wait_for(
    given: str | None, used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    with pytest.raises(LocalModelFailed):
        Engine.open(tmp_path / "bad.gguf", EngineOptions())
    assert os.environ["OMP_WAIT_POLICY"] == used


ANSWERED = {
    "id": "c1",
    "object": "chat.completion",
    "model": "big",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


def refused(message: str, status: int = 400) -> Response:
    """The error of a model server, in OpenAI's form."""
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=status)


async def upstream(reply: Response, received: list[Any]) -> list[dict[str, Any]]:
    async def complete(request: Request) -> Response:
        received.append((await request.json(), request.headers.get("authorization")))
        return reply

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    transport = httpx.ASGITransport(app)
    model = UpstreamModel("http://upstream/v1", model="big", api_key="k", transport=transport)
    return [chunk async for chunk in model.stream_chat({"messages": [ASKED], "model": "local-model"})]


def told_tokens(chunks: Sequence[dict[str, Any]]) -> list[list[Any] | None]:
    """The tokens of each text, with the likeliest ones in their place."""
    told = [choice["logprobs"] for one in chunks for choice in one["choices"] if choice["delta"].get("content")]
    return [
        one and [(token["token"], [other["token"] for other in token["top_logprobs"]]) for token in one["content"]]
        for one in told
    ]


@pytest.mark.parametrize(
    ("asked", "likeliest", "read"),
    [({"logprobs": True, "top_logprobs": 2}, ["no", "other"], 2), ({"logprobs": True}, [], 1)],
)
async def test_the_probabilities_of_a_text_are_told_with_it(
    asked: dict[str, Any], likeliest: list[str], read: int
) -> None:
    decoder = ScriptedDecoder("no")
    chunks = await answer(decoder, ASKED, **asked)
    assert told_tokens(chunks) == [[("no", likeliest)]]
    assert decoder.parameters[0]["n_probs"] == read
    whole = Completion()
    for chunk in chunks:
        whole.add(chunk)
    [token] = whole.reply()["choices"][0]["logprobs"]["content"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("no", -0.5, [*b"no"])


async def test_nobody_who_does_not_ask_for_probabilities_is_told_them() -> None:
    decoder = ScriptedDecoder("no")
    assert told_tokens(await answer(decoder, ASKED, top_logprobs=2)) == [None]
    assert "n_probs" not in decoder.parameters[0]


async def test_the_tokens_of_calls_that_are_not_made_are_not_told_with_the_text_after_them() -> None:
    decoder = ScriptedDecoder(calls_json("x"), "x is a letter")
    chunks = await answer(decoder, ASKED, *called("x"), tools=[SEARCH], logprobs=True)
    tokens = [token for one in told_tokens(chunks) for token, _ in one or ()]
    assert "".join(tokens) == "".join(texts(chunks)) == "x is a letter"


async def test_an_upstream_server_gets_the_request_with_its_own_model() -> None:
    received: list[Any] = []
    reply = PlainTextResponse('data: {"choices": []}\n\n: ping\n\ndata: [DONE]\n\n')
    assert await upstream(reply, received) == [{"choices": []}]
    assert received == [
        (
            {"messages": [ASKED], "model": "big", "stream": True, "stream_options": {"include_usage": True}},
            "Bearer k",
        )
    ]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (PlainTextResponse("secret", status_code=401), "answered 401: set GRAPH_AGENT_LOCAL_API_KEY"),
        (PlainTextResponse("secret" * 10_000, status_code=500), "answered 500: check GRAPH_AGENT_LOCAL_MODEL"),
        (
            JSONResponse({"error": {"message": "model 'secret' not found"}}, status_code=404),
            "LOCAL_MODEL_NAME to a model",
        ),
        (JSONResponse({"error": {"message": "secret: Loading model"}}, status_code=503), "busy or still loads"),
        (refused("registry/library/secret does not support tools"), "gets no tools there: choose one"),
        (refused('"auto" tool choice requires --enable-auto-tool-choice, secret'), "vLLM: --enable-auto-tool-choice"),
        (refused("tools param requires --jinja flag, secret", 500), "llama.cpp: --jinja"),
        (PlainTextResponse('data: {"choices": []}\n\n'), "broke off"),
        (PlainTextResponse('data: {"error": "secret"}\n\n'), "failed while answering"),
        (PlainTextResponse("data: nonsense\n\n"), "failed while answering"),
    ],
)
async def test_an_upstream_failure_is_told_without_its_words(reply: Response, message: str) -> None:
    with pytest.raises(LocalModelFailed, match=message) as raised:
        await upstream(reply, [])
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "reply",
    [
        refused("This model's maximum context length is 4096 tokens. However, you requested 9000 secret tokens"),
        refused("the request exceeds the available context size, secret", 500),
        JSONResponse({"error": {"type": "exceed_context_size_error", "message": "secret"}}, status_code=400),
    ],
)
async def test_a_prompt_that_an_upstream_server_finds_too_long_is_told_as_one_of_the_own_model(reply: Response) -> None:
    with pytest.raises(PromptTooLong, match="send a shorter conversation") as raised:
        await upstream(reply, [])
    assert "secret" not in raised.value.message


async def test_a_whole_completion_of_an_upstream_server_is_streamed_on() -> None:
    answered = Completion()
    chunks = await upstream(JSONResponse(ANSWERED), [])
    for chunk in chunks:
        answered.add(chunk)
    reply = answered.reply()
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": "Hi"}
    assert (reply["choices"][0]["finish_reason"], reply["usage"]) == ("stop", ANSWERED["usage"])
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


async def test_calls_in_a_whole_completion_of_an_upstream_server_are_numbered() -> None:
    calls = [{"id": f"c{at}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for at in range(2)]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    reply = JSONResponse({**ANSWERED, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    [choice] = (await upstream(reply, []))[0]["choices"]
    assert choice["delta"]["tool_calls"] == [{"index": at, **call} for at, call in enumerate(calls)]


@pytest.mark.parametrize(
    ("reply", "what", "setting"),
    [
        (HTMLResponse("\n<!doctype html><p>secret"), "a web page", "GRAPH_AGENT_LOCAL_MODEL is the base URL"),
        (PlainTextResponse("Ollama is running, secret"), "text that is not", "GRAPH_AGENT_LOCAL_MODEL is the base URL"),
        (JSONResponse({"models": ["secret"]}), "JSON that is not", "GRAPH_AGENT_LOCAL_MODEL is the base URL"),
        (
            JSONResponse({"choices": [{"text": "secret"}]}),
            "JSON that is not",
            "GRAPH_AGENT_LOCAL_MODEL is the base URL",
        ),
        (PlainTextResponse('{"choices": '), "JSON that is not", "GRAPH_AGENT_LOCAL_MODEL is the base URL"),
        (Response(b""), "an empty body", "GRAPH_AGENT_LOCAL_MODEL is the base URL"),
        (JSONResponse({"error": {"message": "secret"}}), "an error", "GRAPH_AGENT_LOCAL_MODEL_NAME"),
        (PlainTextResponse('{"a": "' + "x" * (17 << 20)), "more than 16 MB", ""),
    ],
)
async def test_an_answer_of_an_upstream_server_that_is_no_stream_is_named(
    reply: Response, what: str, setting: str
) -> None:
    with pytest.raises(LocalModelFailed) as raised:
        await upstream(reply, [])
    assert f"the model server answered with {what}" in raised.value.message
    assert setting in raised.value.message
    assert "secret" not in raised.value.message


@pytest.mark.local_model
async def test_the_real_model_answers_stops_when_its_reader_leaves_and_reads_a_beginning_once(tmp_path: Path) -> None:
    settings = Settings.from_environment()
    path = settings.cache_dir / WEIGHTS[settings.local_model].file_name
    assert path.exists(), "run `graph-agent model` first, as `make test` does"
    model = await LocalModel.load(path, EngineOptions(window=1024, slots=2, at_once=1, states=tmp_path))
    rules = {"role": "system", "content": "Answer in one word. " * 20}
    with anyio.fail_after(120):
        asked = {"messages": [rules, ASKED], "tools": [SEARCH], "max_tokens": 500}
        async with aclosing(model.stream_chat(asked)) as chunks:
            await anext(chunks)
            await anext(chunks)
        # One at a time: the next answer can only come when the first one has stopped. It gets the other slot, and the
        # file of what both begin with.
        other = {"role": "user", "content": "how are you?"}
        said = [chunk async for chunk in model.stream_chat(asked | {"messages": [rules, other], "max_tokens": 4})]
    usage = said[-1]["usage"]
    assert usage["completion_tokens"] <= 4
    assert usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] < 20
    assert len(os.listdir(tmp_path)) == 1
    await model.aclose()


async def test_a_model_on_demand_is_loaded_once_by_the_first_that_ask_it_and_again_after_a_failure(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"This is no model.")
    settings = Settings(local_model=str(broken))
    with pytest.raises(LocalModelFailed):
        chat_backend(settings)
    # Nothing is loaded yet.
    asked = chat_backend(settings, on_demand=True)
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(LocalModelFailed):
        await anext(asked.stream_chat(body))

    loads: list[str] = []
    fails = [True, False]

    def load() -> LocalModel:
        loads.append("loaded")
        if fails.pop(0):
            raise LocalModelFailed("not yet")
        return LocalModel(ScriptedDecoder("Hello there."), name="fixed")

    model = OnDemandModel(load)
    with pytest.raises(LocalModelFailed):
        await model.count_tokens(body)
    assert await asyncio.gather(model.count_tokens(body), model.count_tokens(body)) == [2, 2]
    chunks = [chunk async for chunk in model.stream_chat(body)]
    assert "".join(texts(chunks)) == "Hello there."
    assert loads == ["loaded"] * 2
