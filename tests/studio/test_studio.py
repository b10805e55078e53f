"""LangGraph Studio's server on the project's graphs, driven with its own SDK; blocking calls in a node fail the run."""

from typing import Any

import httpx
import pytest
from langgraph_sdk.client import SyncLangGraphClient
from tests.standin.server import StandIn
from tests.studio.conftest import OWN, PROJECT, Site, Studio

FIRST = "What colour is dark mode?"
SECOND = "And the timeout?"
OTHER = "And the budget?"
TAKES_CONTEXT = ("assistant", "supervisor")
"""Whoever waits for a form in Studio must get one."""


def ask(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def said(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def questions(values: dict[str, Any]) -> list[str]:
    return [said(message) for message in values["messages"] if message["type"] == "human"]


def new_thread(client: SyncLangGraphClient) -> str:
    return client.threads.create()["thread_id"]


def answered(client: SyncLangGraphClient, thread: str, graph: str, text: str, **more: Any) -> dict[str, Any]:
    values: Any = client.runs.wait(thread, graph, input=ask(text), raise_error=True, **more)
    return dict(values)


def test_every_graph_of_the_project_is_there_and_none_but_ours(client: SyncLangGraphClient) -> None:
    assert {one["graph_id"] for one in client.assistants.search()} == {*PROJECT, *OWN}


@pytest.mark.parametrize("graph", PROJECT)
def test_a_graph_streams_its_answer_and_its_state(client: SyncLangGraphClient, studio: Studio, graph: str) -> None:
    before = len(studio.log)
    modes: list[Any] = ["messages-tuple", "values"]
    thread = new_thread(client)
    parts = list(client.runs.stream(thread, graph, input=ask(FIRST), stream_mode=modes, stream_subgraphs=True))
    assert not [part for part in parts if part.event.startswith("error")]
    # A subgraph's events carry its place behind a bar.
    told = [part.data[0] for part in parts if part.event.partition("|")[0] == "messages"]
    tokens = [said(message) for message in told if message["type"] == "AIMessageChunk" and said(message)]
    assert "".join(tokens) == "It is blue [1]."
    assert len(tokens) == 3
    values = [part.data for part in parts if part.event == "values"]
    assert len(values) > 1
    assert said(values[-1]["messages"][-1]) == "It is blue [1]."
    # The detector is on, and a library might have swallowed what it raises.
    assert not [line for line in studio.log[before:] if "Blocking call" in line]


@pytest.mark.parametrize(("graph", "results"), [("assistant", ["42"]), ("supervisor", ["Transferred to data.", "42"])])
def test_tools_are_called_without_blocking(client: SyncLangGraphClient, graph: str, results: list[str]) -> None:
    values = answered(client, new_thread(client), graph, "What is 6 * 7?")
    # A tools node tells the model what a tool raised, and the model may make light of it.
    assert tool_results(values) == [("success", result) for result in results]
    assert not values["custom_outputs"].get("warnings")


def test_a_blocking_call_in_a_tool_is_its_result(client: SyncLangGraphClient) -> None:
    values = answered(client, new_thread(client), "blocking_tool", "What is 6 * 7?")
    ((status, result),) = tool_results(values)
    assert status == "error"
    assert "BlockingError" in result


def tool_results(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["status"], said(message)) for message in values["messages"] if message["type"] == "tool"]


@pytest.mark.parametrize("graph", PROJECT)
def test_a_graph_that_takes_a_context_runs_with_one(client: SyncLangGraphClient, graph: str) -> None:
    assistant = next(iter(client.assistants.search(graph_id=graph)))["assistant_id"]
    takes = (client.assistants.get_schemas(assistant).get("context_schema") or {}).get("properties", {})
    assert bool(takes) == (graph in TAKES_CONTEXT)
    context = {"thread": "t-1", "custom_inputs": {"name": "Ann"}} if takes else None
    assert takes.keys() >= (context or {}).keys()
    values = answered(client, new_thread(client), graph, FIRST, context=context)
    assert said(values["messages"][-1]) == "It is blue [1]."


@pytest.mark.parametrize("graph", PROJECT)
def test_studio_gets_the_picture_of_a_graph(client: SyncLangGraphClient, graph: str) -> None:
    assistant = next(iter(client.assistants.search(graph_id=graph)))["assistant_id"]
    drawn: Any = client.assistants.get_graph(assistant, xray=True)
    assert {"__start__", "__end__"} < {node["id"] for node in drawn["nodes"]}
    assert drawn["edges"]


@pytest.mark.parametrize("graph", PROJECT)
def test_a_second_turn_remembers_the_first(client: SyncLangGraphClient, standing: StandIn, graph: str) -> None:
    thread = new_thread(client)
    answered(client, thread, graph, FIRST)
    standing.model.bodies.clear()
    values = answered(client, thread, graph, SECOND)
    assert questions(values) == [FIRST, SECOND]
    # Not only kept: the model was shown it.
    assert FIRST in [message["content"] for message in standing.model.bodies[0]["messages"]]


@pytest.mark.parametrize("graph", PROJECT)
def test_a_run_can_branch_off_at_an_earlier_state(client: SyncLangGraphClient, graph: str) -> None:
    thread = new_thread(client)
    answered(client, thread, graph, FIRST)
    answered(client, thread, graph, SECOND)
    states = client.threads.get_history(thread, limit=100)
    # The newest first: behind each turn a state with nothing left to do.
    ends = [state for state in states if not state["next"]]
    assert [questions(state["values"]) for state in ends] == [[FIRST, SECOND], [FIRST]]
    before = next(state for state in reversed(states) if state["next"] and state["values"].get("messages"))
    checkpoint = {key: ends[1]["checkpoint"][key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}
    assert questions(answered(client, thread, graph, OTHER, checkpoint=checkpoint)) == [FIRST, OTHER]
    # And the same state again, without a new question: the turn is run once more from there.
    replayed: Any = client.runs.wait(
        thread, graph, input=None, checkpoint_id=before["checkpoint"]["checkpoint_id"], raise_error=True
    )
    assert questions(replayed) == [FIRST]
    assert said(replayed["messages"][-1]) == "It is blue [1]."
    assert len(client.threads.get_history(thread, limit=100)) > len(states)


def test_a_graph_that_interrupts_is_resumed_with_a_decision(client: SyncLangGraphClient) -> None:
    thread = new_thread(client)
    context = {"custom_inputs": {"name": "Ann"}}
    first = answered(client, thread, "approving", "Send it.", context=context)
    assert [one["value"] for one in first["__interrupt__"]] == [{"question": "Send it?"}]
    state = client.threads.get_state(thread)
    assert state["next"] == ["ask"]
    assert client.threads.get(thread)["status"] == "interrupted"
    values: Any = client.runs.wait(thread, "approving", command={"resume": "yes"}, context=context, raise_error=True)
    assert said(values["messages"][-1]) == "Ann said yes."
    assert client.threads.get(thread)["status"] == "idle"


def test_an_account_with_langsmith_alone_sends_nothing_there(
    client: SyncLangGraphClient, studio: Studio, langsmith: Site
) -> None:
    answered(client, new_thread(client), "starter", FIRST)
    assert httpx.get(f"{studio.url}/info").json()["flags"]["langsmith"] is False
    assert langsmith.asked == []


def test_no_page_but_studio_s_may_read_answers(studio: Studio) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    allowed = {
        site: httpx.options(f"{studio.url}/threads", headers=asks | {"origin": site}).headers.get(
            "access-control-allow-origin"
        )
        for site in ("https://smith.langchain.com", "https://example.com")
    }
    assert allowed == {"https://smith.langchain.com": "https://smith.langchain.com", "https://example.com": None}


def test_no_page_but_studio_s_may_start_anything(studio: Studio) -> None:
    def asked(headers: dict[str, str], *, body: str = "{}", path: str = "/threads") -> int:
        return httpx.post(f"{studio.url}{path}", content=body, headers=headers).status_code

    own, json_type = "https://smith.langchain.com", {"content-type": "application/json"}
    assert asked(json_type) == 200
    assert asked(json_type | {"origin": own}) == 200
    assert asked(json_type | {"origin": f"http://localhost:{studio.port}"}) == 200
    for origin in ("https://evil.com", "null", "https://smith.langchain.com.evil.com", "http://smith.langchain.com"):
        assert asked(json_type | {"origin": origin}) == 403
        assert asked({"content-type": "text/plain", "origin": origin}) == 403
    assert asked({"content-type": "text/plain"}) == 415
    assert asked({}) == 415
    for host in ("evil.com", f"127.0.0.1.evil.com:{studio.port}"):
        assert asked(json_type | {"host": host}) == 403
        assert httpx.get(f"{studio.url}/info", headers={"host": host}).status_code == 403
    assert httpx.get(f"{studio.url}/ok", headers={"host": "evil.com"}).status_code == 200


def test_a_blocking_call_in_a_node_fails_the_run(client: SyncLangGraphClient, studio: Studio) -> None:
    parts = list(client.runs.stream(new_thread(client), "blocking", input=ask("Sleep.")))
    assert [part.data["error"] for part in parts if part.event == "error"] == ["BlockingError"]
    # Who mends it is told where it stands.
    assert studio.logged("Blocking call to time.sleep", seconds=10)
