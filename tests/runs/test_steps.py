"""A run tells which nodes of its graph run, if its request asks for that."""

import asyncio
import operator
import time
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, Send, interrupt
from tests.graphs.scripted import says
from tests.runs.background import Nodes, Process, check_log, record_when_ended
from tests.runs.background import events_of as stored_events
from tests.runs.running import a_run, asking, chain, events_of, speaking
from tests.runs.stepping import NODE, check_steps, nodes_in
from tests.runs.stored import Chat

from graph_agent.errors import RunCancelled
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.protocol.logged_response import LoggedResponse
from graph_agent.protocol.lost_response import lost_end
from graph_agent.settings import Budgets
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio

DIALECTS = pytest.mark.parametrize(
    "dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"]
)


class Wide(MessagesState):
    """A state for graphs that are drawn at random."""

    seen: Annotated[list[str], operator.add]


async def steps_of(graph: Any, **options: Any) -> list[Any]:
    return await events_of(a_run(graph, invocation=asking(steps=True), **options))


async def quiet(state: Any) -> dict[str, Any]:
    return {}


def named(name: str, node: Any = quiet) -> Any:
    async def run(state: Any) -> Any:
        return await node(state)

    run.__name__ = name
    return run


async def test_without_asking_there_is_no_event_and_no_output_of_a_step() -> None:
    events = await events_of(chain(speaking(says(["Hello."]))))
    assert not [one for one in events if one["type"] == NODE]
    assert "custom_outputs" not in events[-1]["response"]


@DIALECTS
async def test_a_node_begins_before_its_items_and_ends_behind_them(dialect: Dialect) -> None:
    before = time.time()
    events = await steps_of(chain(named("think"), speaking(says(["Hello."]))), dialect=dialect)
    kinds = [
        f"{one['node']['name']} {one['node']['status']}" if one["type"] == NODE else one["type"].split(".")[-1]
        for one in events
    ]
    items = ["added", "added", "delta", "done", "done", "done"]
    assert kinds == [
        *["created", "in_progress", "think in_progress", "think completed", "answer in_progress"],
        *[*items[:3], "answer completed", *items[3:], "completed"],
    ]
    think, answer = check_steps(events)
    assert before - 0.001 <= think["started_at"] <= answer["started_at"] <= time.time()
    assert 0 <= answer["seconds"] <= time.time() - before


async def test_nodes_of_a_subgraph_have_the_way_to_them() -> None:
    inner = chain(named("plan"), speaking(says(["Hello."])))
    events = await steps_of(chain(named("first"), inner_of("team", inner)))
    assert nodes_in(events) == [
        ("first", "in_progress"),
        ("first", "completed"),
        ("team", "in_progress"),
        ("team/plan", "in_progress"),
        ("team/plan", "completed"),
        ("team/answer", "in_progress"),
        ("team/answer", "completed"),
        ("team", "completed"),
    ]
    check_steps(events)


def inner_of(name: str, graph: Any) -> Any:
    """A node that calls the graph."""

    async def call(state: Any) -> Any:
        return await graph.ainvoke(state)

    call.__name__ = name
    return call


async def test_what_runs_inside_a_tool_is_not_told() -> None:
    secret = chain(named("hidden"), speaking(says(["A secret."]), "hidden_answer"))

    @tool
    async def ask(question: str) -> str:
        """Ask."""
        return str((await secret.ainvoke({"messages": question}))["messages"][-1].text)

    asks = speaking(says(["", Call("ask", '{"question": "?"}', "a")]), "asks")
    graph: Any = StateGraph(MessagesState)
    for name, node in {"asks": asks, "tools": ToolNode([ask]), "answer": speaking(says(["Done."]))}.items():
        graph.add_node(name, node)
    graph.add_edge(START, "asks").add_edge("asks", "tools").add_edge("tools", "answer")
    events = await steps_of(graph.compile())
    assert [one["name"] for one in check_steps(events)] == ["asks", "tools", "answer"]


async def test_a_chain_with_the_name_of_its_node_is_not_another_attempt() -> None:
    async def answer(state: Any) -> Any:
        return await RunnableLambda(named("inner")).with_config(run_name="answer").ainvoke(state)

    events = await steps_of(chain(answer))
    assert nodes_in(events) == [("answer", "in_progress"), ("answer", "completed")]


async def test_a_node_that_is_tried_again_keeps_its_id() -> None:
    failures = [ConnectionError(), ConnectionError()]

    def flaky(state: Any) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return {"messages": [AIMessage("Done.")]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=3))
    graph.add_edge(START, "flaky")
    events = await steps_of(graph.compile())
    assert nodes_in(events) == [("flaky", "in_progress")] * 3 + [("flaky", "completed")]
    (step,) = check_steps(events)
    assert step["seconds"] >= 0.01


async def test_each_node_of_a_fan_out_has_its_own_id() -> None:
    async def one(state: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"seen": ["x"]}

    graph: Any = StateGraph(Wide)
    graph.add_node("one", one)
    graph.add_conditional_edges(START, lambda state: [Send("one", {}) for _ in range(5)], ["one"])
    steps = check_steps(await steps_of(graph.compile()))
    assert [(one["name"], one["status"]) for one in steps] == [("one", "completed")] * 5
    assert len({one["id"] for one in steps}) == 5


async def test_a_failed_run_closes_its_nodes_before_it_ends() -> None:
    async def fail(state: Any) -> Any:
        raise ValueError("a stranger's words")

    async def slow(state: Any) -> Any:
        await asyncio.sleep(60)

    graph: Any = StateGraph(MessagesState)
    graph.add_node("slow", slow)
    graph.add_node("team", chain(named("first"), fail))
    graph.add_edge(START, "slow").add_edge(START, "team")
    events = await steps_of(graph.compile())
    steps = check_steps(events)
    assert {"/".join(one["path"]): one["status"] for one in steps} == {
        "slow": "interrupted",
        "team": "failed",
        "team/first": "completed",
        "team/fail": "failed",
    }
    assert [one["type"] for one in events[-2:]] == ["error", "response.failed"]
    assert "stranger" not in str(events)


async def test_a_node_that_hands_over_to_the_graph_above_has_completed() -> None:
    async def leave(state: Any) -> Any:
        return Command(goto="after", graph=Command.PARENT)

    graph: Any = StateGraph(MessagesState)
    graph.add_node("team", chain(named("first"), leave), destinations=("after",))
    graph.add_node("after", speaking(says(["Done."]), "after"))
    graph.add_edge(START, "team")
    events = await steps_of(graph.compile())
    assert nodes_in(events)[3:] == [
        ("team/leave", "in_progress"),
        ("team/leave", "completed"),
        ("team", "completed"),
        ("after", "in_progress"),
        ("after", "completed"),
    ]
    check_steps(events)


async def test_a_run_that_is_cancelled_interrupts_its_nodes() -> None:
    async def slow(state: Any) -> Any:
        begun.set()
        await asyncio.sleep(60)

    begun = asyncio.Event()
    run = a_run(chain(named("first"), slow), invocation=asking(steps=True))
    run.start()
    await begun.wait()
    await run.cancel()
    events = [entry.event for entry in run.log.entries()]
    assert [(one["name"], one["status"]) for one in check_steps(events)] == [
        ("first", "completed"),
        ("slow", "interrupted"),
    ]


async def test_a_run_that_is_out_of_time_interrupts_its_nodes() -> None:
    async def slow(state: Any) -> Any:
        await asyncio.sleep(60)

    events = await steps_of(chain(slow), budgets=Budgets(seconds=0.1))
    assert [(one["name"], one["status"]) for one in check_steps(events)] == [("slow", "interrupted")]
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["custom_outputs"]["budget"] == "seconds"


async def test_many_steps_are_counted_at_the_end() -> None:
    graph: Any = StateGraph(Wide)
    graph.add_node("one", quiet)
    graph.add_conditional_edges(START, lambda state: [Send("one", {}) for _ in range(503)], ["one"])
    events = await steps_of(graph.compile())
    assert len([one for one in events if one["type"] == NODE]) == 2 * 503
    outputs = events[-1]["response"]["custom_outputs"]
    assert (len(outputs["steps"]), outputs["steps_left_out"]) == (500, 3)
    assert all(one["status"] == "completed" for one in outputs["steps"])


async def test_an_output_of_the_graph_that_is_named_steps_counts() -> None:
    class State(MessagesState):
        custom_outputs: dict[str, Any]

    async def own(state: Any) -> Any:
        return {"custom_outputs": {"steps": "mine"}, "messages": [AIMessage("Done.")]}

    events = await steps_of(chain(own, state=State))
    assert events[-1]["response"]["custom_outputs"] == {"steps": "mine"}


async def test_names_hold_no_secret() -> None:
    secret = "dapi" + "0123456789abcdef" * 2
    events = await steps_of(chain(named(secret)))
    assert len(check_steps(events)) == 1
    assert secret not in str(events)


# -- graphs that nobody has drawn ---------------------------------------------------------------------------------

LEAVES = st.sampled_from(["quiet", "thread", "says", "flaky", "fails", "stops", "slow", "fan"])
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=6)


def grown(tree: list[Any], begun: asyncio.Event, *, parallel: bool) -> Any:
    """A graph with a node for each leaf, and a subgraph for each list."""
    graph: Any = StateGraph(Wide)
    names = [f"n{number}" for number in range(len(tree))]
    for name, one in zip(names, tree, strict=True):
        policy = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=2, retry_on=ConnectionError)
        node = grown(one, begun, parallel=not parallel) if isinstance(one, list) else leaf(one, begun)
        graph.add_node(name, node, retry_policy=policy)
    if "fan" in tree:
        graph.add_node("ray", leaf("quiet", begun))
        for name, one in zip(names, tree, strict=True):
            if one == "fan":
                graph.add_conditional_edges(name, lambda state: [Send("ray", {"seen": []})] * 2, ["ray"])
    for here, there in zip([START, *names], names, strict=False):
        graph.add_edge(START if parallel else here, there)
    return graph.compile()


def leaf(kind: str, begun: asyncio.Event) -> Any:
    failed: list[bool] = []

    async def node(state: Any) -> Any:
        if kind == "fails":
            raise ValueError
        if kind == "stops":
            raise asyncio.CancelledError
        if kind == "slow":
            begun.set()
            await asyncio.sleep(60)
        if kind == "flaky" and not failed:
            failed.append(True)
            raise ConnectionError
        if kind == "says":
            return {"messages": [await says(["Hello."]).ainvoke("?")]}
        return {"seen": [kind]}

    def thread(state: Any) -> Any:
        return {"seen": [kind]}

    return thread if kind == "thread" else node


@given(
    tree=st.lists(TREES, min_size=1, max_size=3),
    parallel=st.booleans(),
    dialect=st.sampled_from([INVOCATIONS, RESPONSES, OPENAI]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_whatever_happens_every_node_is_closed_once(tree: list[Any], parallel: bool, dialect: Dialect) -> None:
    begun = asyncio.Event()
    run = a_run(grown(tree, begun, parallel=parallel), invocation=asking(steps=True), dialect=dialect)
    run.start()
    over, held = asyncio.ensure_future(run.ended()), asyncio.ensure_future(begun.wait())
    await asyncio.wait([over, held], return_when=asyncio.FIRST_COMPLETED)
    held.cancel()
    await run.cancel()
    await over
    steps = check_steps([entry.event for entry in run.log.entries()])
    assert steps
    if run.status == "completed":
        assert {one["status"] for one in steps} == {"completed"}


# -- runs that stop and go on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "aclose"])
async def test_a_run_that_another_process_takes_over_closes_what_was_open_first(store: Any, how: str) -> None:
    nodes = Nodes()
    nodes.hold("two")
    first = Process(store, nodes.graph()).begin()
    run = await first.submit("Go.", include=["graph_agent.steps"])
    async with asyncio.timeout(20):
        await nodes.at["two"].wait()
        # What was told is committed a little later.
        while "This is two" not in str(await stored_events(store, run)):  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.01)
    await (first.kill() if how == "kill" else first.aclose())
    nodes.open()
    second = Process(store, nodes.graph()).begin()
    record = await record_when_ended(store, run)
    events = await stored_events(store, run)
    check_log(events, record)
    assert nodes_in(events) == [
        *[("one", "in_progress"), ("one", "completed"), ("two", "in_progress"), ("two", "interrupted")],
        *[("two", "in_progress"), ("two", "completed"), ("three", "in_progress"), ("three", "completed")],
    ]
    steps = check_steps(events)
    assert record.response["custom_outputs"]["steps"] == steps
    assert steps[1]["seconds"] is None
    await second.aclose()


async def test_a_run_that_nobody_takes_over_closes_what_was_open(store: Any) -> None:
    """What a client makes of a log that ends because the process that wrote it is gone."""
    log = await steps_of(chain(named("first"), named("second")))
    begun = next(place for place, one in enumerate(log) if one["type"] == NODE and one["node"]["name"] == "second")
    events = [*log[: begun + 1]]
    events += lost_end(LoggedResponse.read(events), RunCancelled("the process is gone"), head={})
    assert nodes_in(events)[-2:] == [("second", "in_progress"), ("second", "interrupted")]
    check_steps(events)


async def test_nodes_whose_results_are_known_from_before_an_approval_do_not_run_again(store: Any) -> None:
    async def ask(state: Any) -> Any:
        return {"messages": [AIMessage(f"You said {interrupt('Which one?')}.")]}

    graph: Any = StateGraph(MessagesState)
    for name, node in {"beside": named("beside"), "ask": ask, "after": named("after")}.items():
        graph.add_node(name, node)
    graph.add_edge(START, "beside").add_edge(START, "ask").add_edge(["beside", "ask"], "after")
    chat = Chat(graph.compile(), store)
    asked = await chat.say("Go.", include=["graph_agent.steps"])
    assert {(one["name"], one["status"]) for one in check_steps(asked)} == {
        ("beside", "completed"),
        ("ask", "interrupted"),
    }
    approval = next(one for one in asked[-1]["response"]["output"] if one["type"] == "mcp_approval_request")
    answer = {"type": "mcp_approval_response", "approval_request_id": approval["id"], "approve": True}
    resumed = await chat.say([answer], include=["graph_agent.steps"])
    assert [(one["name"], one["status"]) for one in check_steps(resumed)] == [
        ("ask", "completed"),
        ("after", "completed"),
    ]
