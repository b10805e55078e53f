"""Compaction over HTTP, as OpenAI's SDK and the Open Responses specification of 2026-04-24 have it."""

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from agents import Agent, OpenAIResponsesModel, Runner, SQLiteSession, set_tracing_disabled
from agents.memory import OpenAIResponsesCompactionSession
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from openai.types.responses import CompactedResponse, ResponseCompactionItem
from tests.serving.test_open_responses import check_compaction, check_response, message, replayed
from tests.wire import named_frames

from graph_agent import AgentState, GraphNotLoaded, Settings, create_app
from graph_agent.catalog.manifest import read_manifest
from graph_agent.testing import AgentClient, FakeWorkspace, Usage

pytestmark = pytest.mark.anyio

LONG = "long " * 1_000
ASKS = [{"type": "compaction", "compact_threshold": 1_000}]
TALK = [
    message("user", "We agreed to launch on Tuesday and notify support first."),
    message("assistant", "Understood. The launch is Tuesday, with support notified beforehand."),
]


async def report(state: Any) -> dict[str, Any]:
    """Says what it has read."""
    read = [one for one in state["messages"] if one.type != "ai"]
    return {"messages": [AIMessage(" | ".join(one.text.splitlines()[-1][:40].strip() for one in read))]}


def reading() -> Any:
    builder = StateGraph(AgentState).add_node("report", report)
    return builder.add_edge(START, "report").add_edge("report", END).compile()


@pytest.fixture(scope="module")
def workspace() -> Iterator[FakeWorkspace]:
    with FakeWorkspace([Usage(40, 7), "They agreed on Tuesday."], each_turn=True) as running:
        yield running


ClientOf = Callable[..., AgentClient]


@pytest.fixture
def client_of(workspace: FakeWorkspace) -> ClientOf:
    """Makes a client of a service whose models are those of the workspace."""

    def made(**settings: Any) -> AgentClient:
        values = {"tracing": "off", "store": "memory", "model": "databricks:m"} | settings
        return AgentClient(create_app(Settings(**values), {"a": reading()}, environ=workspace.environment()))

    return made


@pytest.fixture
async def client(client_of: ClientOf) -> AsyncIterator[AgentClient]:
    async with client_of() as made:
        yield made


def check_refusal(answer: httpx.Response, status: int, code: str, param: str | None) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)


async def compacted(client: AgentClient, *, path: str = "/v1/responses/compact", **fields: Any) -> dict[str, Any]:
    answer = await client.post(path, json={"model": "a", **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    check_compaction(body)
    return body


@pytest.mark.parametrize("path", ["/v1/responses/compact", "/responses/compact", "/api/responses/compact"])
async def test_a_compacted_history_is_the_messages_of_users_and_one_item(client: AgentClient, path: str) -> None:
    body = await compacted(client, path=path, input=TALK, prompt_cache_key="k")
    user, item = body["output"]
    assert [user["type"], item["type"]] == ["message", "compaction"]
    assert user["content"] == [{"type": "input_text", "text": TALK[0]["content"]}]
    assert body["usage"]["total_tokens"] == 47
    answer = await client.ask({"model": "a", "input": [*body["output"], message("user", "When?")]})
    [said] = answer["output"]
    assert said["content"][0]["text"] == f"{TALK[0]['content'][:40].strip()} | They agreed on Tuesday. | When?"


async def test_a_stored_conversation_is_compacted_by_the_id_of_its_last_response(
    client: AgentClient, workspace: FakeWorkspace
) -> None:
    first = await client.ask({"model": "a", "input": "Tuesday it is."}, path="/v1/responses")
    body = await compacted(client, previous_response_id=first["id"], instructions="Mind the days.")
    assert [one["type"] for one in body["output"]] == ["message", "compaction"]
    asked = json.dumps(workspace.chats[-1])
    assert "User: Tuesday it is." in asked
    assert "Mind the days." in asked
    # A compaction is not a response, and nothing of it is stored.
    answer = await client.get(f"/v1/responses/{body['id']}")
    assert answer.status_code == 404


async def test_calls_without_a_result_stay_in_a_compacted_history(client: AgentClient) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    body = await compacted(client, input=[*TALK, call])
    result = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
    answer = await client.ask({"model": "a", "input": [*body["output"], result], "store": False})
    assert answer["output"][0]["content"][0]["text"].endswith("They agreed on Tuesday. | seen")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": TALK}, "invalid_request", "model"),
        ({"model": "a"}, "invalid_request", "input"),
        ({"model": "a", "input": []}, "invalid_request", "input"),
        ({"model": "a", "input": [message("system", "Be short.")]}, "invalid_request", "input"),
        ({"model": "a", "input": "Hi", "stream": True}, "invalid_request", "stream"),
        ({"model": "a", "input": "Hi", "prompt_cache_key": "k" * 65}, "invalid_request", "prompt_cache_key"),
        ({"model": "a", "input": "Hi", "service_tier": "best"}, "invalid_request", "service_tier"),
        (
            {"model": "a", "input": [{"type": "compaction", "encrypted_content": "gAAAA-b_c"}]},
            "invalid_encrypted_content",
            "input[0].encrypted_content",
        ),
    ],
)
async def test_a_wrong_request_for_a_compaction_is_refused_by_name(
    client: AgentClient, body: dict[str, Any], code: str, param: str
) -> None:
    check_refusal(await client.post("/v1/responses/compact", json=body), 400, code, param)


async def test_unknown_graphs_responses_and_keys_are_refused(client: AgentClient) -> None:
    answer = await client.post("/v1/responses/compact", json={"model": "b", "input": "Hi"})
    check_refusal(answer, 404, "unknown_graph", "model")
    answer = await client.post("/v1/responses/compact", json={"model": "a", "previous_response_id": "resp_1"})
    check_refusal(answer, 404, "response_not_found", None)
    answer = await client.post(
        "/v1/responses/compact", json={"model": "a", "input": "Hi"}, headers={"Idempotency-Key": "k"}
    )
    check_refusal(answer, 400, "unsupported_field", "Idempotency-Key")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"type": "compaction"}, ""),
        ([{}], "[0].type"),
        ([{"type": "clear"}], "[0].type"),
        ([{"type": "compaction", "compact_threshold": 999}], "[0].compact_threshold"),
        ([{"type": "compaction", "compact_threshold": "many"}], "[0].compact_threshold"),
        ([{"type": "compaction", "keep": 1}], "[0].keep"),
        ([*ASKS, *ASKS], ""),
    ],
)
async def test_a_wrong_context_management_is_refused_by_name(client: AgentClient, asked: Any, param: str) -> None:
    answer = await client.post("/v1/responses", json={"model": "a", "input": "Hi", "context_management": asked})
    check_refusal(answer, 400, "invalid_request", f"context_management{param}")


async def test_the_stream_of_a_compacted_turn_begins_with_the_item(client: AgentClient) -> None:
    first = await client.ask({"model": "a", "input": LONG}, path="/v1/responses")
    asked = {"model": "a", "input": "When?", "previous_response_id": first["id"], "context_management": ASKS}
    answer = await client.post("/v1/responses", json={**asked, "stream": True})
    events = [event for _, event in named_frames(answer.text)[:-1]]
    last = events[-1]["response"]
    check_response(last)
    output, _ = replayed(events[2:-1])
    assert output == last["output"]
    assert [one["type"] for one in output] == ["compaction", "message"]
    assert output[1]["content"][0]["text"] == "They agreed on Tuesday. | When?"
    listed = (await client.get(f"/v1/conversations/{last['conversation']['id']}/items?order=asc")).json()["data"]
    assert [one["type"] for one in listed] == ["message", "message", "message", "compaction", "message"]
    # The whole answer is the same.
    again = await client.get(f"/v1/responses/{last['id']}")
    assert again.json()["output"] == output


async def test_a_summary_is_not_in_the_log_and_not_readable_on_the_wire(
    client: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    body = await compacted(client, input=TALK)
    assert "agreed on Tuesday." not in json.dumps(body["output"][1])
    assert "They agreed" not in caplog.text


async def test_a_key_of_the_settings_outlives_the_service(client_of: ClientOf) -> None:
    # Random, because such values are hidden from then on in everything that this process writes.
    key, other, asked = secrets.token_hex(16), secrets.token_hex(16), message("user", "When?")
    async with client_of(compaction_keys=key) as first:
        output = (await compacted(first, input=TALK))["output"]
    body = {"model": "a", "input": [*output, asked], "store": False}
    async with client_of(compaction_keys=f"{other}, {key}") as second:
        assert "They agreed" in json.dumps((await second.ask(body))["output"])
    # The key of a store in memory has ended with the first service.
    async with client_of() as third:
        answer = await third.post("/responses", json=body)
        check_refusal(answer, 400, "invalid_encrypted_content", "input[1].encrypted_content")


async def test_tokens_are_counted_without_asking_a_model(client: AgentClient, workspace: FakeWorkspace) -> None:
    before = len(workspace.chats)

    async def count(**fields: Any) -> int:
        answer = await client.post("/v1/responses/input_tokens", json=fields)
        body = answer.json()
        assert answer.status_code == 200, body
        assert body["object"] == "response.input_tokens"
        tokens: int = body["input_tokens"]
        return tokens

    short, long = await count(input="Hi"), await count(input="Hi " * 400)
    assert 1 <= short < 10
    assert 300 <= long <= 320
    assert await count(input="Hi", instructions="x" * 400) > short + 100
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    assert await count(input="Hi", tools=[tool]) > short + 10
    stored = await client.ask({"model": "a", "input": "Hi " * 400}, path="/v1/responses")
    assert await count(previous_response_id=stored["id"], input="Hi") > long
    assert await count(conversation=stored["conversation"]["id"]) > long
    assert len(workspace.chats) == before
    for body, param in (({}, "input"), ({"input": 1}, "input"), ({"input": "Hi", "stream": True}, "stream")):
        check_refusal(await client.post("/v1/responses/input_tokens", json=body), 400, "invalid_request", param)


async def test_the_sdk_of_openai_compacts_counts_and_goes_on(client: AgentClient) -> None:
    sdk = openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=client.http, max_retries=0)
    body: CompactedResponse = await sdk.responses.compact(model="a", input=TALK)  # type: ignore[arg-type]
    assert body.object == "response.compaction"
    assert isinstance(body.output[-1], ResponseCompactionItem)
    asked: list[Any] = [one.to_dict(warnings=False) for one in body.output]
    answer = await sdk.responses.create(model="a", input=[*asked, message("user", "When?")])
    assert answer.output_text.endswith("They agreed on Tuesday. | When?")
    counted = await sdk.responses.input_tokens.count(model="a", input="Hi")
    assert (counted.object, counted.input_tokens > 0) == ("response.input_tokens", True)
    asked = [message("user", LONG), message("assistant", "Yes."), message("user", "When?")]
    turn = await sdk.responses.create(model="a", input=asked, store=False, context_management=ASKS)  # type: ignore[arg-type]
    assert isinstance(turn.output[0], ResponseCompactionItem)
    assert turn.output_text == "They agreed on Tuesday. | When?"


async def test_the_session_of_the_agents_sdk_compacts_and_goes_on(client_of: ClientOf) -> None:
    set_tracing_disabled(True)
    # The session takes only names of models of OpenAI.
    async with client_of(fallback_graph="a") as client:
        sdk = openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=client.http)
        kept = SQLiteSession("s")
        session = OpenAIResponsesCompactionSession(
            "s",
            kept,
            client=sdk,
            model="gpt-4.1",
            should_trigger_compaction=lambda context: len(context["compaction_candidate_items"]) >= 2,
        )
        agent = Agent(name="a", model=OpenAIResponsesModel(model="a", openai_client=sdk))
        for question in ("Tuesday it is.", "For 20 euros."):
            await Runner.run(agent, question, session=session)
        kinds = [item.get("type", "message") for item in await session.get_items()]
        assert kinds == ["message", "message", "compaction"]
        result = await Runner.run(agent, "When?", session=session)
        kept.close()
    assert result.final_output == "Tuesday it is. | For 20 euros. | They agreed on Tuesday. | When?"


GRAPH = """
from tests.serving.test_compaction import reading

graph = reading()
"""


@pytest.mark.parametrize(
    ("of_all", "of_one", "asked"),
    [(None, None, "default"), ("databricks:small", None, "small"), ("databricks:small", "databricks:large", "large")],
)
async def test_langgraph_json_names_the_model_that_summarizes(
    workspace: FakeWorkspace, tmp_path: Path, of_all: str | None, of_one: str | None, asked: str
) -> None:
    (tmp_path / "graph.py").write_text(GRAPH)
    entry = {"path": "./graph.py:graph"} | ({"compaction_model": of_one} if of_one else {})
    manifest = {"graphs": {"a": entry}} | ({"compaction_model": of_all} if of_all else {})
    (tmp_path / "langgraph.json").write_text(json.dumps(manifest))
    settings = Settings(
        tracing="off", store="memory", model="databricks:default", config=tmp_path / "langgraph.json", page="off"
    )
    async with AgentClient(create_app(settings, environ=workspace.environment())) as client:
        await compacted(client, input=TALK)
    assert workspace.chats[-1]["model"] == asked


@pytest.mark.parametrize("named", [1, "", {"name": "m"}])
@pytest.mark.parametrize("for_all", [True, False])
def test_a_wrong_name_of_that_model_stops_the_start(tmp_path: Path, named: Any, for_all: bool) -> None:
    manifest: dict[str, Any] = {"graphs": {"a": {"path": "./graph.py:graph"}}}
    (manifest if for_all else manifest["graphs"]["a"])["compaction_model"] = named
    (tmp_path / "langgraph.json").write_text(json.dumps(manifest))
    with pytest.raises(GraphNotLoaded, match="`compaction_model`"):
        read_manifest(tmp_path / "langgraph.json")
