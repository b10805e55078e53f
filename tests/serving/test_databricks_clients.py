"""Databricks' and MLflow's own clients and validators, unmodified, against `/responses` and `/invocations`."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from databricks_langchain import ChatDatabricks
from databricks_openai import AsyncDatabricksOpenAI, DatabricksOpenAI
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from mlflow.types.responses import (
    ResponsesAgentResponse,
    ResponsesAgentStreamEvent,
    responses_agent_output_reducer,
)
from tests.serving.conftest import Service, Upstream, ask, leave
from tests.wire import frames

pytestmark = pytest.mark.anyio

ADDRESSES = pytest.mark.parametrize("address", ["/responses", "/api/responses", "/invocations", "/api/invocations"])
GRAPHS = pytest.mark.parametrize("graph", ["plain", "team", "echo"])
ANSWER = "It is sunny in Paris and mild in Rome."


class Workspace:
    """As much of a `WorkspaceClient` as finding an app by its name takes."""

    def __init__(self, url: str) -> None:
        self.config = SimpleNamespace(
            host=url, authenticate=lambda: {"Authorization": "Bearer none"}, oauth_token=lambda: "none"
        )
        self.apps = SimpleNamespace(get=lambda name: SimpleNamespace(url=url))


def stream(service: Service, address: str, **body: Any) -> list[Any]:
    answer = httpx.post(service.url + address, json={"stream": True, "input": "Weather?"} | body, timeout=10)
    *events, done = frames(answer.text)
    assert done == "[DONE]"
    return events


@ADDRESSES
@GRAPHS
def test_every_event_passes_mlflows_validation(service: Service, address: str, graph: str) -> None:
    events = stream(service, address, model=graph)
    validated = [ResponsesAgentStreamEvent(**event) for event in events]
    assert [event.type for event in validated] == [event["type"] for event in events]


MOODS = pytest.mark.parametrize(
    "mood",
    [
        "refuse",
        "hesitate",
        "cut",
        "filter",
        "cut call",
        "client",
        "again",
        "broken",
        "think",
        "aside",
        "image",
        "draft",
        "direct",
    ],
)


@MOODS
@pytest.mark.parametrize("address", ["/responses", "/invocations"])
def test_however_an_answer_ends_every_event_passes_mlflows_validation(
    service: Service, address: str, mood: str
) -> None:
    events = stream(service, address, model="moody", input=mood)
    for event in events:
        ResponsesAgentStreamEvent(**event)
    ends = [event["type"] for event in events if event["type"] in ("response.completed", "response.incomplete")]
    assert ends == ["response.incomplete" if mood in ("cut", "filter", "cut call") else "response.completed"]
    ResponsesAgentResponse(**events[-1]["response"])
    reduced = responses_agent_output_reducer(events)["output"]
    assert [item["type"] for item in reduced] == [item["type"] for item in events[-1]["response"]["output"]]


@MOODS
def test_however_an_answer_ends_a_reply_passes_mlflows_validation(service: Service, mood: str) -> None:
    body = {"model": "moody", "input": [{"role": "user", "content": mood}]}
    ResponsesAgentResponse(**httpx.post(service.url + "/responses", json=body, timeout=10).json())


@ADDRESSES
@pytest.mark.parametrize("fail", ["before", "after", "model", "tool", "interrupt"])
def test_every_event_of_a_failed_run_passes_mlflows_validation(service: Service, address: str, fail: str) -> None:
    # A stored run that asks a person has not failed.
    fields: Any = {"store": False} if fail == "interrupt" else {}
    events = stream(service, address, model="failing", custom_inputs={"fail": fail}, **fields)
    validated = [ResponsesAgentStreamEvent(**event) for event in events]
    assert sum(event.type == "error" for event in validated) == 1


@ADDRESSES
@GRAPHS
def test_mlflows_reducer_makes_the_output_that_the_reply_has(service: Service, address: str, graph: str) -> None:
    events = stream(service, address, model=graph)
    reduced = responses_agent_output_reducer(events)["output"]
    completed = ResponsesAgentResponse(**events[-1]["response"]).model_dump(exclude_none=True)["output"]
    assert [_but_phase(item) for item in reduced] == [_but_phase(item) for item in completed]


@ADDRESSES
@GRAPHS
def test_a_reply_passes_mlflows_validation_unchanged(service: Service, address: str, graph: str) -> None:
    body = {"model": graph, "input": [{"role": "user", "content": "Weather?"}]}
    reply = httpx.post(service.url + address, json=body, timeout=10).json()
    validated = ResponsesAgentResponse(**reply)
    assert [item.type for item in validated.output] == [item["type"] for item in reply["output"]]
    assert validated.custom_outputs == reply.get("custom_outputs")


def _but_phase(item: dict[str, Any]) -> dict[str, Any]:
    """A message's phase may become known only after it was closed."""
    return {key: value for key, value in item.items() if key != "phase"}


def test_databricks_openai_finds_an_app_by_name(service: Service) -> None:
    workspace: Any = Workspace(service.url)
    with DatabricksOpenAI(workspace_client=workspace) as client:
        response = client.responses.create(model="apps/my-agent", input=[{"role": "user", "content": "Hello?"}])
        events = list(
            client.responses.create(model="apps/my-agent", input=[{"role": "user", "content": "Hello?"}], stream=True)
        )
        # It makes a client of its own for an app, and closes it never.
        client.responses._get_app_client("my-agent").close()
    assert response.output_text == "Hello world."
    assert events[-1].type == "response.completed"


def test_databricks_openai_reads_tool_calls_and_resends_them(service: Service) -> None:
    workspace: Any = Workspace(service.url)
    with DatabricksOpenAI(workspace_client=workspace, base_url=service.url) as client:
        first = client.responses.create(model="team", input="Weather?")
        history: list[Any] = [{"role": "user", "content": "Weather?"}, *first.output]
        second = client.responses.create(model="echo", input=[*history, {"role": "user", "content": "And now?"}])
    assert first.output_text.endswith(ANSWER)
    assert [item.type for item in first.output if item.type.startswith("function")] == [
        *["function_call"] * 3,
        *["function_call_output"] * 3,
    ]
    assert second.output_text.startswith('[["human", "Weather?", []], ["ai", "Let me look that up.", ["weather"')


async def test_the_async_databricks_openai_streams(service: Service) -> None:
    workspace: Any = Workspace(service.url)
    async with AsyncDatabricksOpenAI(workspace_client=workspace, base_url=service.url) as client:
        events = await client.responses.create(model="plain", input="Hello?", stream=True)
        said = [event.delta async for event in events if event.type == "response.output_text.delta"]
    assert said == ["Hello ", "world."]


@pytest.fixture
def chat(service: Service) -> Iterator[ChatDatabricks]:
    """`ChatDatabricks` whose client calls this service in place of a serving endpoint."""
    workspace: Any = Workspace(service.url)
    model = ChatDatabricks.model_construct(model="team", use_responses_api=True, workspace_client=workspace)
    with DatabricksOpenAI(workspace_client=workspace, base_url=service.url) as client:
        model.__dict__["client"] = client
        yield model


def test_chat_databricks_reads_the_reply(chat: ChatDatabricks) -> None:
    message = chat.invoke([HumanMessage("Weather?")])
    assert message.text == f"Let me look that up.Notes: two cities.{ANSWER}"


def test_chat_databricks_reads_the_stream_and_doubles_nothing(chat: ChatDatabricks) -> None:
    chunks = chat.stream([HumanMessage("Weather?")])
    texts = [chunk.text for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    assert "".join(texts) == f"Let me look that up.Notes: two cities.{ANSWER}"


def test_chat_databricks_sends_a_conversation(chat: ChatDatabricks) -> None:
    chat.model = "echo"
    message = chat.invoke([HumanMessage("One"), AIMessage("Two"), HumanMessage("Three")])
    assert message.text == '[["human", "One", []], ["ai", "Two", []], ["human", "Three", []]]'


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "reply"])
async def test_a_caller_who_leaves_closes_the_call_of_chat_databricks(
    service: Service, upstream: Upstream, stream: bool
) -> None:
    with anyio.fail_after(20):
        # Nothing is stored at this address, so that no stream waits for its reader to come back.
        _, writer = await ask(
            service, upstream, address="/invocations", stream=stream, custom_inputs={"node": "databricks"}
        )
        upstream.send(
            b'data: {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": '
            b'[{"index": 0, "delta": {"role": "assistant", "content": "Half"}, "finish_reason": null}]}\n\n'
        )
        await leave(writer)
        await upstream.left.wait()
