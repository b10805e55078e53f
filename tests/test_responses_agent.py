"""`GraphResponsesAgent`: synchronous outside, one trace a call, nothing left behind."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import mlflow
import pytest
from mlflow.types.responses import ResponsesAgentRequest
from tests.standin.server import stand_in

from graph_agent.errors import GraphFailed, InvalidRequest, Unauthenticated
from graph_agent.responses_agent import GraphResponsesAgent
from graph_agent.sync import shared_loop

GRAPH = '''
"""A tool call, then an answer; a question `fail` makes the tool node raise."""
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langchain_core.tools import tool
from graph_agent.testing import Call
from tests.graphs.scripted import says


@tool
def double(n: int) -> int:
    """Twice n."""
    return 2 * n


model = says([Call("double", '{"n": 21}')], [f"word{n} " for n in range(50)])


async def planner(state):
    if state["messages"][-1].content == "fail":
        raise ValueError("postgres://user:hunter2@db")
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("planner", planner)
builder.add_node("tools", ToolNode([double]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", tools_condition)
builder.add_edge("tools", "planner")
graph = builder.compile()
'''

EXPERIMENT = "responses-agent"
ANSWER = "".join(f"word{n} " for n in range(50))

TREE = [
    ("planner", "CHAIN", 0),
    ("ScriptedChatModel", "CHAT_MODEL", 1),
    ("tools", "CHAIN", 0),
    ("double", "TOOL", 1),
    ("planner", "CHAIN", 0),
    ("ScriptedChatModel", "CHAT_MODEL", 1),
]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphResponsesAgent]:
    folder = tmp_path_factory.mktemp("agent")
    (folder / "doubling.py").write_text(dedent(GRAPH))
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"doubling": "./doubling.py:graph"}}))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'traces.db'}")
    # Another test of the process may have left one of its own active.
    mlflow.set_experiment(EXPERIMENT)
    yield GraphResponsesAgent(config=folder / "langgraph.json")
    mlflow.set_tracking_uri(before)


def question(text: str = "What is twice 21?") -> ResponsesAgentRequest:
    return ResponsesAgentRequest(input=[{"role": "user", "content": text}])


def traces() -> list[Any]:
    mlflow.flush_trace_async_logging()
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    return list(mlflow.search_traces(return_type="list", locations=[experiment.experiment_id]))


def new_traces(before: list[Any]) -> list[Any]:
    known = {trace.info.trace_id for trace in before}
    return [trace for trace in traces() if trace.info.trace_id not in known]


def tree(trace: Any) -> list[tuple[str, str, int]]:
    """Name, type and depth of every step below the root, in the order begun."""
    spans = {span.span_id: span for span in trace.data.spans}

    def depth(span: Any) -> int:
        return 0 if span.parent_id is None else 1 + depth(spans[span.parent_id])

    steps = sorted(spans.values(), key=lambda span: span.start_time_ns)
    return [(span.name, span.span_type, depth(span) - 1) for span in steps if span.parent_id]


def idle() -> bool:
    async def tasks() -> int:
        return len(asyncio.all_tasks()) - 1

    return asyncio.run_coroutine_threadsafe(tasks(), shared_loop()).result(5) == 0


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_predict_gives_the_whole_response_and_one_trace_with_the_graph_s_steps(agent: GraphResponsesAgent) -> None:
    before = traces()
    response = agent.predict(question())
    assert [item.type for item in response.output] == ["function_call", "function_call_output", "message"]
    assert response.output[2].content[0]["text"] == ANSWER
    (trace,) = new_traces(before)
    assert (trace.info.state, tree(trace)) == ("OK", TREE)
    assert idle()


def test_predict_stream_from_plain_threads_gives_each_caller_its_own_stream_and_trace(
    agent: GraphResponsesAgent,
) -> None:
    before = traces()
    with ThreadPoolExecutor(4) as threads:
        streams = list(threads.map(lambda _: list(agent.predict_stream(question())), range(8)))
    assert [text_of(events) for events in streams] == [ANSWER] * 8
    assert [events[-1].type for events in streams] == ["response.completed"] * 8
    assert [(trace.info.state, tree(trace)) for trace in new_traces(before)] == [("OK", TREE)] * 8
    assert idle()


def test_predict_stream_works_inside_a_running_loop(agent: GraphResponsesAgent) -> None:
    before = traces()

    async def notebook() -> list[Any]:
        return list(agent.predict_stream(question()))

    assert text_of(asyncio.run(notebook())) == ANSWER
    assert len(new_traces(before)) == 1
    assert idle()


def test_a_caller_that_stops_early_stops_the_graph_and_leaves_one_ended_trace(agent: GraphResponsesAgent) -> None:
    before = traces()
    stream = agent.predict_stream(question())
    seen = [next(stream) for _ in range(10)]
    stream.close()
    assert seen[0].type == "response.created"
    (trace,) = new_traces(before)
    assert trace.info.state == "ERROR"
    assert all(span.end_time_ns for span in trace.data.spans)
    assert idle()


def test_a_failing_graph_ends_the_stream_and_raises_without_the_stranger_s_words(agent: GraphResponsesAgent) -> None:
    before = traces()
    events = []
    with pytest.raises(GraphFailed) as failed:
        events.extend(agent.predict_stream(question("fail")))
    assert [event.type for event in events][-2:] == ["error", "response.failed"]
    (trace,) = new_traces(before)
    everything = f"{failed.value}{[event.model_dump() for event in events]}{trace.to_json()}"
    assert "hunter2" not in everything
    assert trace.info.state == "ERROR"


def test_a_wrong_request_is_refused_by_field(agent: GraphResponsesAgent) -> None:
    request = ResponsesAgentRequest(input=[{"role": "user", "content": "hi"}], custom_inputs={"thread_id": 7})
    with pytest.raises(InvalidRequest) as refused:
        agent.predict(request)
    assert refused.value.param == "custom_inputs.thread_id"


def test_an_mcp_server_of_the_client_is_refused(agent: GraphResponsesAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://mcp.example.com/mcp"
    monkeypatch.setenv("GRAPH_AGENT_CLIENT_MCP_SERVERS", url)
    server = {"type": "mcp", "server_label": "wiki", "server_url": url}
    # MLflow itself knows no such tools.
    with pytest.warns(UserWarning, match="mcp"):
        request = ResponsesAgentRequest(input=[{"role": "user", "content": "hi"}], tools=[server])
    with pytest.raises(InvalidRequest, match=r"`tools\[0\]` names an MCP server") as refused:
        agent.predict(request)
    assert refused.value.param == "tools[0].server_label"


def test_what_would_have_to_be_stored_is_refused(agent: GraphResponsesAgent) -> None:
    request = ResponsesAgentRequest(input=[{"role": "user", "content": "hi"}], store=True)
    with pytest.raises(InvalidRequest) as refused:
        agent.predict(request)
    assert (refused.value.param, refused.value.code) == ("store", "unsupported_field")


ACTING = '''
"""Says who the workspace takes the caller for."""
import asyncio
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from graph_agent.databricks.clients import get_user_workspace_client


async def answer(state):
    me = await asyncio.to_thread(lambda: get_user_workspace_client().current_user.me())
    return {"messages": [AIMessage(me.user_name)]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
'''


@pytest.fixture
def acting_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphResponsesAgent]:
    (tmp_path / "acting.py").write_text(ACTING)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"acting": "./acting.py:graph"}}))
    with stand_in(tmp_path / "workspace", users=["ann"]) as standing:
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        # Not in the environment: what is given to the agent is what its graphs follow.
        yield GraphResponsesAgent(config=tmp_path / "langgraph.json", tracing="off", authorization="user")


def test_in_model_serving_it_acts_for_the_user_of_the_request(
    acting_agent: GraphResponsesAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Model Serving leaves them: the endpoint's own token in a file, the caller's on the main thread.
    monkeypatch.setenv("IS_IN_DATABRICKS_MODEL_SERVING_ENV", "true")
    monkeypatch.setenv("SERVING_CREDENTIALS_DIR", str(tmp_path))
    (tmp_path / "model-dependencies-oauth-token").write_text('{"OAUTH_TOKEN": [{"oauthTokenValue": "endpoint"}]}')
    monkeypatch.setitem(threading.main_thread().__dict__, "invokers_token", "user-ann")
    response = acting_agent.predict(question())
    assert response.output[-1].content[0]["text"] == "ann"


def test_elsewhere_an_agent_that_acts_for_users_refuses_and_does_not_act_as_the_app(
    acting_agent: GraphResponsesAgent,
) -> None:
    with pytest.raises(Unauthenticated):
        acting_agent.predict(question())


def test_with_tracing_off_no_trace_is_opened(agent: GraphResponsesAgent) -> None:
    quiet = GraphResponsesAgent(config=agent._settings.config, tracing="off")
    before = traces()
    assert quiet.predict({"input": [{"role": "user", "content": "What is twice 21?"}]}).status == "completed"  # type: ignore[arg-type]
    assert text_of(list(quiet.predict_stream(question()))) == ANSWER
    assert new_traces(before) == []


def test_limits_for_people_that_have_no_effect_are_told(caplog: pytest.LogCaptureFixture) -> None:
    GraphResponsesAgent(tracing="off", limit_tokens_per_day=100_000)
    assert "GRAPH_AGENT_LIMIT_… have no effect here" in caplog.text
