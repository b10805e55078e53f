"""Chat Completions, with unmodified clients over a real socket, and by its requests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from openai import OpenAI
from pydantic import BaseModel
from tests.serving.conftest import Service, Upstream
from tests.serving.describing import flaws, schema_in
from tests.serving.test_requests import check_error
from tests.wire import frames

from graph_agent import AgentContext, AgentState, Settings, create_app, make_planner
from graph_agent.testing import (
    AgentClient,
    Call,
    Finish,
    Reasoning,
    RequestRefused,
    ScriptedChatModel,
    Wait,
    on_loopback,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"
ANSWER = "It is sunny in Paris and mild in Rome."
TEAM = f"Let me look that up.\n\nNotes: two cities.\n\n{ANSWER}"

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ROME, PARIS = Call("weather", {"city": "Rome"}, id="c1"), Call("weather", {"city": "Paris"}, id="c2")


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: OpenAI, model: str, words: str = "Hello?", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": words}], **more)


def said(chunks: Any, field: str = "content") -> str:
    return "".join(getattr(chunk.choices[0].delta, field, None) or "" for chunk in chunks if chunk.choices)


# -- the OpenAI SDK -------------------------------------------------------------------------------------------------


def test_an_answer_is_a_chat_completion(client: OpenAI) -> None:
    completion = ask(client, "plain")
    (choice,) = completion.choices
    assert completion.id.startswith("chatcmpl-")
    assert (completion.object, completion.model) == ("chat.completion", "plain")
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hello world.", "stop")
    assert completion._request_id == completion.id.replace("chatcmpl-", "resp_")


def test_a_stream_begins_with_the_role_and_ends_with_the_reason(client: OpenAI) -> None:
    chunks = list(ask(client, "plain", stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert said(chunks) == "Hello world."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_the_usage_is_a_chunk_of_its_own_where_it_is_asked_for(client: OpenAI) -> None:
    whole = ask(client, "team").usage
    last = list(ask(client, "team", stream=True, stream_options={"include_usage": True}))[-1]
    assert last.choices == []
    assert last.usage == whole
    assert (whole.prompt_tokens, whole.completion_tokens, whole.total_tokens) == (49, 21, 70)


def test_tools_that_the_service_ran_are_not_calls_of_the_client(client: OpenAI) -> None:
    whole = ask(client, "team").choices[0]
    chunks = list(ask(client, "team", stream=True))
    assert whole.message.content == said(chunks) == TEAM
    assert whole.message.tool_calls is None
    assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks)
    assert whole.finish_reason == chunks[-1].choices[0].finish_reason == "stop"


def test_the_sdks_accumulator_reaches_the_same_completion(client: OpenAI) -> None:
    with client.chat.completions.stream(model="team", messages=[{"role": "user", "content": "Weather?"}]) as stream:
        final = [event for event in stream][-1]
        completion = stream.get_final_completion()
    assert final.type == "content.done"
    assert completion.choices[0].message.content == TEAM


def test_reasoning_is_told_where_an_effort_is_asked_for(client: OpenAI) -> None:
    assert not hasattr(ask(client, "team").choices[0].message, "reasoning_content")
    assert said(ask(client, "team", stream=True, reasoning_effort="none"), "reasoning_content") == ""
    thought = ask(client, "team", reasoning_effort="low").choices[0].message.reasoning_content
    assert thought
    assert said(ask(client, "team", stream=True, reasoning_effort="low"), "reasoning_content") == thought


def test_a_refusal_is_typed_as_one(client: OpenAI) -> None:
    message = ask(client, "moody", "refuse").choices[0].message
    assert (message.content, message.refusal) == (None, "I cannot help with that.")
    assert said(ask(client, "moody", "refuse", stream=True), "refusal") == message.refusal


@pytest.mark.parametrize(("mood", "reason"), [("cut", "length"), ("filter", "content_filter")])
def test_an_answer_that_was_ended_has_the_reason(client: OpenAI, mood: str, reason: str) -> None:
    (choice,) = ask(client, "moody", mood).choices
    assert (choice.message.content, choice.finish_reason) == ("The ans", reason)
    assert list(ask(client, "moody", mood, stream=True))[-1].choices[0].finish_reason == reason


@pytest.mark.parametrize("limit", [{"max_tokens": 3}, {"max_completion_tokens": 3, "max_tokens": 9}])
def test_a_limit_of_tokens_ends_the_answer_with_a_sentence(client: OpenAI, limit: dict[str, int]) -> None:
    (choice,) = ask(client, "busy", "Please talk.", **limit).choices
    assert choice.finish_reason == "length"
    assert choice.message.content == "0 1 2 \n\nI stopped here: the length limit of one run was reached."


def test_an_error_before_the_first_byte_is_the_sdks_own_exception(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, "plain", n=2)
    assert (raised.value.param, raised.value.code) == ("n", "unsupported_field")
    with pytest.raises(openai.NotFoundError) as missing:
        ask(client, "plian", stream=True)
    assert "Did you mean 'plain'?" in missing.value.message


@pytest.mark.parametrize(
    ("fail", "code"), [("before", "graph_failed"), ("model", "model_failed"), ("interrupt", "approval_needs_store")]
)
def test_a_run_that_fails_is_the_sdks_own_exception(client: OpenAI, service: Service, fail: str, code: str) -> None:
    more = {"extra_body": {"custom_inputs": {"fail": fail}}}
    with pytest.raises(openai.APIStatusError) as raised:
        ask(client, "failing", **more)
    assert (raised.value.code, raised.value.response.headers["x-should-retry"]) == (code, "false")
    with pytest.raises(openai.APIError) as streamed:
        list(ask(client, "failing", stream=True, **more))
    assert streamed.value.code == code
    assert "hunter2" not in f"{raised.value} {streamed.value} {service.log}"


async def test_a_stream_that_fails_ends_with_the_error_and_done(service: Service) -> None:
    body = {"model": "failing", "stream": True, "custom_inputs": {"fail": "after"}}
    async with service.client() as http:
        answer = await http.post(PATH, json=body | {"messages": [{"role": "user", "content": "Go."}]})
    *_, error, done = frames(answer.text)
    assert done == "[DONE]"
    assert (error["error"]["code"], error["error"]["type"]) == ("graph_failed", "server_error")


@pytest.mark.parametrize("stream", [True, False])
async def test_the_models_connection_is_closed_when_the_client_leaves(
    service: Service, upstream: Upstream, stream: bool
) -> None:
    body = {"model": "upstream", "stream": stream, "custom_inputs": {"upstream": upstream.url}}
    async with service.client() as http:
        asking = asyncio.ensure_future(
            http.post(PATH, json=body | {"messages": [{"role": "user", "content": "Hi"}]}, timeout=30)
        )
        with anyio.fail_after(20):
            await upstream.asked.wait()
            upstream.say("Half")
            asking.cancel()
            await upstream.left.wait()


# -- LangChain ------------------------------------------------------------------------------------------------------


async def test_langchain_reads_whole_answers_and_streams(service: Service) -> None:
    async with httpx.AsyncClient() as http:
        options: dict[str, Any] = {"base_url": f"{service.url}/v1", "api_key": "none", "http_async_client": http}
        model = ChatOpenAI(model="team", stream_usage=True, **options)
        whole = await model.ainvoke("Weather?")
        streamed: Any = None
        async for chunk in model.astream("Weather?"):
            assert isinstance(chunk, AIMessageChunk)
            streamed = chunk if streamed is None else streamed + chunk
    assert isinstance(whole.usage_metadata, dict)
    assert whole.content == streamed.content == TEAM
    assert whole.usage_metadata["total_tokens"] == streamed.usage_metadata["total_tokens"] == 70
    assert whole.response_metadata["finish_reason"] == streamed.response_metadata["finish_reason"] == "stop"


# -- in process: tools, and what is asked ---------------------------------------------------------------------------


def planner(model: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    builder.add_edge(START, "planner")
    builder.add_edge("planner", END)
    return builder.compile()


DESCRIBED: dict[str, Any] = {}
"""The description of the API, which is the same for every app here. It takes long to make."""


class Talk:
    """A client of one graph whose model says what the test has written."""

    def __init__(self, http: AgentClient, model: ScriptedChatModel) -> None:
        self.http, self.model = http, model

    async def ask(self, *messages: Any, **fields: Any) -> dict[str, Any]:
        return await self.http.ask({"messages": _messages(messages)} | fields, path=PATH)

    async def choice(self, *messages: Any, **fields: Any) -> dict[str, Any]:
        answer = await self.ask(*messages, **fields)
        assert flaws(schema_in(DESCRIBED, "ChatCompletion"), answer) == []
        return dict(answer["choices"][0])

    async def chunks(self, *messages: Any, **fields: Any) -> list[dict[str, Any]]:
        chunks = [one async for one in self.http.stream({"messages": _messages(messages)} | fields, path=PATH)]
        schema = schema_in(DESCRIBED, "ChatFrame")
        assert [flaw for one in chunks for flaw in flaws(schema, one)] == []
        return chunks

    @property
    def heard(self) -> list[tuple[str, Any]]:
        """The conversation as the model saw it last, without the prompt of the graph."""
        return [(one.type, one.content) for one in self.model.requests[-1].messages[1:]]


def _messages(messages: tuple[Any, ...]) -> list[Any]:
    return [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]


@asynccontextmanager
async def talking(*replies: Any, each_turn: bool = False, **settings: Any) -> AsyncIterator[Talk]:
    model = ScriptedChatModel(*replies, each_turn=each_turn)
    values = {"tracing": "off", "store": "memory"} | settings
    app = create_app(Settings(**values), {"a": planner(model)}, environ={})
    async with AgentClient(app) as http:
        if not DESCRIBED:
            DESCRIBED.update((await http.get("/openapi.json")).json())
        yield Talk(http, model)


async def test_a_call_of_a_tool_of_the_client_ends_the_turn_and_its_result_goes_on() -> None:
    async with talking(["I look.", ROME, PARIS], ["I look.", ROME, PARIS], "Mild.") as talk:
        choice = await talk.choice("Weather?", tools=[WEATHER])
        assert choice["finish_reason"] == "tool_calls"
        calls = choice["message"]["tool_calls"]
        assert [(one["id"], one["type"], one["function"]) for one in calls] == [
            ("c1", "function", {"name": "weather", "arguments": '{"city": "Rome"}'}),
            ("c2", "function", {"name": "weather", "arguments": '{"city": "Paris"}'}),
        ]

        chunks = await talk.chunks("Weather?", tools=[WEATHER])
        streamed = [one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_calls", ())]
        assert streamed == [{"index": index, **call} for index, call in enumerate(calls)]
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"

        results = [{"role": "tool", "tool_call_id": one["id"], "name": "weather", "content": "mild"} for one in calls]
        completion = await talk.ask("Weather?", choice["message"], *results, tools=[WEATHER])
        [answer] = completion["choices"]
        assert (answer["message"]["content"], answer["finish_reason"]) == ("Mild.", "stop")
        assert "warnings" not in completion.get("custom_outputs", {})
        assert talk.heard == [("human", "Weather?"), ("ai", "I look."), ("tool", "mild"), ("tool", "mild")]
        [asked] = [one.tool_calls for one in talk.model.requests[-1].messages if one.type == "ai"]
        assert [(one["id"], one["args"]) for one in asked] == [("c1", {"city": "Rome"}), ("c2", {"city": "Paris"})]


async def test_a_custom_tool_takes_one_string() -> None:
    sql = {"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}
    async with talking(Call("sql", {"input": "select 1"}, id="c1"), "One.") as talk:
        message = (await talk.choice("Query!", tools=[sql]))["message"]
        assert message["content"] is None
        assert message["tool_calls"] == [{"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}]
        result = {"role": "tool", "tool_call_id": "c1", "content": "1"}
        assert (await talk.choice("Query!", message, result))["message"]["content"] == "One."


@pytest.mark.parametrize(
    ("choice", "bound"),
    [
        ("required", "required"),
        ({"type": "function", "function": {"name": "weather"}}, "weather"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            "required",
        ),
    ],
)
async def test_a_choice_of_tools_is_that_of_the_other_addresses(choice: Any, bound: str) -> None:
    async with talking(ROME) as talk:
        await talk.choice("Weather?", tools=[WEATHER], tool_choice=choice)
        assert talk.model.requests[-1].options["tool_choice"] == bound


async def test_every_role_and_part_reaches_the_model() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    async with talking("Yes.") as talk:
        await talk.choice(
            {"role": "system", "content": "Be short."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture, file]},
            {"role": "assistant", "content": None, "refusal": "No.", "reasoning_content": "Hm."},
            {"role": "user", "content": "Please."},
        )
        *before, (_, content), answer, last = talk.heard
    assert before == [("system", "Be short."), ("system", "Be kind.")]
    assert content[:2] == [{"type": "text", "text": "Look:"}, picture]
    # LangChain gives models a file in a form of its own.
    assert (content[2]["base64"], content[2]["mime_type"]) == ("AAAA", "application/pdf")
    assert (answer, last) == (("ai", "No."), ("human", "Please."))


async def test_models_that_speak_at_the_same_time_are_told_one_after_the_other() -> None:
    begun, spoke, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    first, second = ScriptedChatModel(["One ", Wait(goes_on, begun), "two."]), ScriptedChatModel(["Three ", "four."])

    async def speak(model: ScriptedChatModel) -> dict[str, Any]:
        return {"messages": [await model.ainvoke("Go.")]}

    async def one(state: AgentState) -> dict[str, Any]:
        return await speak(first)

    async def other(state: AgentState) -> dict[str, Any]:
        await begun.wait()
        said = await speak(second)
        spoke.set()
        return said

    builder = StateGraph(AgentState)
    builder.add_node("one", one)
    builder.add_node("other", other)
    builder.add_edge(START, "one")
    builder.add_edge(START, "other")
    app = create_app(Settings(tracing="off", store="memory"), {"a": builder.compile()}, environ={})
    async with AgentClient(app) as http:
        body = {"messages": [{"role": "user", "content": "Go."}]}
        chunks = []
        async for chunk in http.stream(body, path=PATH):
            chunks.append(chunk)
            if chunk["choices"][0]["delta"].get("content") == "One ":
                await spoke.wait()
                goes_on.set()
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in chunks)
    assert text == "One two.\n\nThree four."


async def test_citations_count_in_the_whole_content() -> None:
    source = {"type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 4}

    async def cite(state: AgentState) -> dict[str, Any]:
        text = {"type": "text", "text": "Rain tomorrow.", "annotations": [source]}
        return {"messages": [AIMessage([text])]}

    async def speak(state: AgentState) -> dict[str, Any]:
        await ScriptedChatModel("I look.").ainvoke("Go.")
        return {}

    builder = StateGraph(AgentState)
    builder.add_node("speak", speak)
    builder.add_node("cite", cite)
    builder.add_edge(START, "speak")
    builder.add_edge("speak", "cite")
    app = create_app(Settings(tracing="off", store="memory"), {"a": builder.compile()}, environ={})
    body = {"messages": [{"role": "user", "content": "Go."}]}
    async with AgentClient(app) as http:
        chunks = [one async for one in http.stream(body, path=PATH)]
        message = (await http.ask(body, path=PATH))["choices"][0]["message"]
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in chunks)
    [told] = [
        one["choices"][0]["delta"]["annotations"] for one in chunks if "annotations" in one["choices"][0]["delta"]
    ]
    for content, annotations in ((text, told), (message["content"], message["annotations"])):
        [citation] = [one["url_citation"] for one in annotations]
        assert content[citation["start_index"] : citation["end_index"]] == "Rain"
        assert citation["url"] == "https://a.example/"


async def test_reasoning_is_always_told_by_a_setting() -> None:
    async with talking([Reasoning("Hm."), "Yes."], chat_reasoning="always") as talk:
        assert (await talk.choice("Well?"))["message"]["reasoning_content"] == "Hm."


async def test_what_has_no_effect_is_named_in_a_warning() -> None:
    fields = {
        **{"seed": 0, "stop": ["x"], "logit_bias": {"1": 2}, "store": True, "temperature": 0.5},
        **{"reasoning_effort": "low", "web_search_options": {}, "user": "u", "prediction": {"type": "content"}},
    }
    async with talking("Yes.", "Yes.") as talk:
        message = {"role": "user", "content": "Well?", "name": "ann"}
        told = (await talk.ask(message, **fields))["custom_outputs"]["warnings"]
        *_, last = await talk.chunks(message, **fields)
    assert last["custom_outputs"]["warnings"] == told
    named = sorted(one.split("`")[1] for one in told)
    assert named == ["logit_bias", "name", "reasoning_effort", "seed", "stop", "store", "temperature"]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": []}, "messages", "not empty"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages", "nothing to answer"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "a string"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role", "tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "images": ["y"]}]}, "messages[0].images", "leave it out"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "messages[0].content[0].file.file_id",
            "`file_data`",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "video_url"}]}]},
            "messages[0].content[0].type",
            "text, image_url, file, input_audio",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                            {"id": "c", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                        ],
                    },
                    {"role": "user", "content": "x"},
                ]
            },
            "messages[0].tool_calls[1].id",
            "",
        ),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].function", "missing"),
        (
            {"tools": [{"type": "function", "function": {"name": "no spaces"}}]},
            "tools[0].function.name",
            "at most 64 letters",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice.function.name",
            "one of `tools`",
        ),
        ({"functions": [{"name": "f"}]}, "functions", "`tools`"),
        ({"audio": {"voice": "x"}}, "audio", "text"),
        ({"modalities": ["text", "audio"]}, "modalities", "text"),
        ({"n": 2}, "n", "one answer"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"input": "Hi"}, "input", "`messages`"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "/v1/responses"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    # Not the type of the format.
                    "json_schema": {"type": "text", "name": "s", "schema": {"type": "text"}},
                }
            },
            "response_format.json_schema.schema.type",
            "not valid",
        ),
        (
            {
                "tools": [{"type": "function", "function": {"name": "f", "format": "x"}}],
                "tool_choice": {"type": "function", "function": {"name": "g"}},
            },
            "tool_choice.function.name",
            "one of `tools`",
        ),
        ({"top_k": 4}, "top_k", "`custom_inputs`"),
    ],
)
async def test_a_wrong_field_is_named_as_this_api_names_it(
    service: Service, fields: dict[str, Any], param: str, words: str
) -> None:
    async with service.client() as http:
        answer = await http.post(PATH, json={"messages": [{"role": "user", "content": "Hi"}], **fields})
    error = answer.json()["error"]
    check_error(answer, 400, error["code"], param)
    assert words in error["message"]
    assert f"`{param}`" in error["message"]


async def test_a_key_that_would_find_a_stored_response_is_refused() -> None:
    async with talking("Never.") as talk:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        with pytest.raises(RequestRefused) as caught:
            await talk.http.ask(body, path=PATH, headers={"idempotency-key": "k"})
    assert caught.value.body["error"]["param"] == "Idempotency-Key"


@pytest.mark.parametrize("path", ["/chat/completions", "/api/chat/completions"])
async def test_it_has_the_same_addresses_as_responses(path: str) -> None:
    async with talking("Yes.") as talk:
        answer = await talk.http.ask({"messages": [{"role": "user", "content": "Hi"}]}, path=path)
    assert answer["choices"][0]["message"]["content"] == "Yes."


async def test_nothing_is_stored() -> None:
    async with talking("Yes.") as talk:
        await talk.choice("Hi", custom_inputs={"thread_id": "t"})
        listed = (await talk.http.get("/v1/conversations")).json()
    assert listed["data"] == []


async def test_an_end_that_the_model_declares_is_told_in_a_stream() -> None:
    async with talking(["Half", Finish("length")]) as talk:
        chunks = await talk.chunks("Hi")
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_a_call_at_which_the_model_was_cut_off_is_not_told_whole_or_streamed() -> None:
    cut = [Call("weather", '{"city": "Ro', id="c1"), Finish("length")]
    async with talking(cut, each_turn=True) as talk:
        choice = await talk.choice("Hi", tools=[WEATHER])
        chunks = await talk.chunks("Hi", tools=[WEATHER])
    assert (choice["finish_reason"], choice["message"].get("tool_calls")) == ("length", None)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert all("tool_calls" not in one["choices"][0]["delta"] for one in chunks)


# -- the form of the answer -------------------------------------------------------------------------------------------


class City(BaseModel):
    name: str
    people: int


ROME_JSON = '{"name": "Rome", "people": 3}'


@pytest.fixture(scope="module")
def planned() -> Iterator[str]:
    """The base URL of a graph that takes the form of its answer from the client."""
    model = ScriptedChatModel(ROME_JSON, each_turn=True)
    app = create_app(Settings(tracing="off", store="memory"), {"a": planner(model)}, environ={})
    with on_loopback(app) as url:
        yield f"{url}/v1"


def test_the_sdk_parses_an_answer_in_a_form(planned: str) -> None:
    with OpenAI(base_url=planned, api_key="none", max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": "Rome?"}]
        parsed = client.chat.completions.parse(model="a", messages=messages, response_format=City)
        assert parsed.choices[0].message.parsed == City(name="Rome", people=3)
        with client.chat.completions.stream(model="a", messages=messages, response_format=City) as stream:
            assert stream.get_final_completion().choices[0].message.parsed == City(name="Rome", people=3)


def test_langchain_parses_an_answer_in_a_form(planned: str) -> None:
    with httpx.Client() as http:
        options: dict[str, Any] = {"base_url": planned, "api_key": "none", "http_client": http}
        model = ChatOpenAI(model="a", **options)
        assert model.with_structured_output(City).invoke("Rome?") == City(name="Rome", people=3)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "thing"}}},
            "response_format.json_schema.schema.type",
        ),
    ],
)
async def test_a_form_that_cannot_be_asked_for_is_named_as_this_api_names_it(
    service: Service, form: dict[str, Any], param: str
) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "response_format": form}
    async with service.client() as http:
        answer = await http.post(PATH, json=body)
    check_error(answer, 400, answer.json()["error"]["code"], param)
    assert f"`{param}`" in answer.json()["detail"]


async def test_a_graph_that_decides_the_form_of_its_answer_says_so(service: Service) -> None:
    body = {
        "model": "plain",
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_object"},
    }
    async with service.client() as http:
        answer = await http.post(PATH, json=body)
    check_error(answer, 400, "unsupported_field", "response_format")
    assert "`response_format`" in answer.json()["detail"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_does_not_fit_fails_in_the_words_of_this_api(stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": City.model_json_schema()}}
    async with talking("Never.", each_turn=True) as talk:
        body = {"messages": [{"role": "user", "content": "Rome?"}], "response_format": form, "stream": stream}
        answer = await talk.http.http.post(PATH, json=body)
    error = frames(answer.text)[-2]["error"] if stream else answer.json()["error"]
    assert error["code"] == "answer_unfit"
    assert "`response_format`" in error["message"]


# -- the requests of apps, rebuilt from their sources -----------------------------------------------------------------


def of_open_webui(stream: bool) -> dict[str, Any]:
    """The second request of a turn in which Open WebUI has run one of its tools."""
    call = {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
    }
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {
        "model": "a",
        "stream": stream,
        "messages": [
            {"role": "system", "content": "You are kind."},
            {"role": "user", "content": [{"type": "text", "text": "Is it warm here?"}, picture]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "mild"},
        ],
        "tools": [WEATHER],
        **{"temperature": 0.7, "top_p": 0.9, "max_tokens": 500, "frequency_penalty": 0.0, "seed": 1, "stop": ["###"]},
    }
    return body | {"stream_options": {"include_usage": True}} if stream else body


def of_librechat(stream: bool) -> dict[str, Any]:
    """A turn of LibreChat's agents."""
    body = {
        "model": "a",
        "temperature": 0.7,
        "top_p": 1,
        "user": "6650f5",
        "stream": stream,
        "reasoning_effort": "low",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Is it warm here?"}],
    }
    return body | {"stream_options": {"include_usage": True}} if stream else body


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("body_of", [of_open_webui, of_librechat])
async def test_the_requests_of_chat_apps_are_taken(body_of: Any, stream: bool) -> None:
    async with talking([Reasoning("Hm."), "It is ", "mild."]) as talk:
        answer = await talk.http.http.post(PATH, json=body_of(stream))
    assert answer.status_code == 200
    if stream:
        *chunks, usage, done = frames(answer.text)
        assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == "It is mild."
        assert (usage["choices"], done) == ([], "[DONE]")
    else:
        assert answer.json()["choices"][0]["message"]["content"] == "It is mild."


async def test_tools_for_a_graph_that_takes_none_are_refused(service: Service) -> None:
    body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}], "tools": [WEATHER]}
    async with service.client() as http:
        check_error(await http.post(PATH, json=body), 400, "unsupported_field", "tools")


async def test_a_run_takes_a_slot_of_all_runs() -> None:
    hi = {"messages": [{"role": "user", "content": "Hi"}]}
    reached, goes_on = asyncio.Event(), asyncio.Event()
    async with talking([Wait(goes_on, reached), "Yes."], max_runs=1) as talk:
        first = asyncio.ensure_future(talk.http.ask(hi, path=PATH))
        await reached.wait()
        for path, body in ((PATH, hi), ("/v1/responses", {"input": "Hi"})):
            with pytest.raises(RequestRefused) as caught:
                await talk.http.ask(body, path=path)
            assert caught.value.status == 429
        goes_on.set()
        assert (await first)["choices"][0]["message"]["content"] == "Yes."


async def test_a_stream_is_kept_open_while_the_graph_is_busy_with_what_is_not_told() -> None:
    builder = StateGraph(AgentState)
    for step in range(20):

        async def work(state: AgentState, step: int = step) -> dict[str, Any]:
            await asyncio.sleep(0.01)
            call = {"name": "look", "args": {}, "id": f"c{step}"}
            return {"messages": [AIMessage("", tool_calls=[call]), ToolMessage("seen", tool_call_id=f"c{step}")]}

        builder.add_node(f"work{step}", work)
        builder.add_edge(f"work{step - 1}" if step else START, f"work{step}")
    # No pause between two events is as long as this, and all of them together are longer.
    settings = Settings(tracing="off", store="memory", keepalive_seconds=0.1, max_tool_calls=50)
    async with AgentClient(create_app(settings, {"a": builder.compile()}, environ={})) as client:
        body = {"messages": [{"role": "user", "content": "Go."}], "stream": True}
        answer = await client.http.post(PATH, json=body)
    assert ": keep-alive\n\n" in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
