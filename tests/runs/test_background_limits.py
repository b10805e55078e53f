"""Which background runs a process takes: limits, deadlines, cancelled and dangerous ones, and those of a user."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from tests.runs.background import NODES, Nodes, Process, check_log, events_of, record_when_ended
from tests.runs.registered import ANN, BOB
from tests.runs.stored import Chat

from graph_agent.contract import AgentState
from graph_agent.errors import StoreUnavailable, TooManyRuns, UnsupportedField
from graph_agent.identity.owner import Owner
from graph_agent.identity.user_token import UserToken
from graph_agent.runs.request import Scope
from graph_agent.settings import Budgets
from graph_agent.stores.sqlite_store import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Any) -> AsyncIterator[Any]:
    made = SqliteStore(tmp_path / "store.sqlite")
    await made.open()
    yield made
    await made.aclose()


async def at(nodes: Nodes, name: str) -> None:
    async with asyncio.timeout(20):
        await nodes.at[name].wait()


async def state_of(store: Any, run: str, owner: Any = ANN) -> str:
    return str((await store.runs.get(Owner.of(owner), run)).state)


async def until_state(store: Any, run: str, state: str, owner: Any = ANN) -> None:
    ends = time.monotonic() + 10
    while await state_of(store, run, owner) != state:
        assert time.monotonic() < ends, f"the run is never {state}"
        await asyncio.sleep(0.02)


async def test_an_owner_takes_no_more_than_its_share_and_others_go_first(store: Any) -> None:
    nodes = Nodes()
    nodes.hold("one")
    process = Process(store, nodes.graph(), here=3, per_owner=2)
    mine = [await process.submit(f"Go {n}.") for n in range(3)]
    theirs = await process.submit("Go.", chat=Chat(None, store, owner=BOB))
    process.begin()
    for run, owner in [(mine[0], ANN), (mine[1], ANN), (theirs, BOB)]:
        await until_state(store, run, "running", owner)
    assert await state_of(store, mine[2]) == "queued"
    assert (await store.responses.get(Owner.of(ANN), mine[2])).status == "queued"
    nodes.open()
    for run in mine:
        assert (await record_when_ended(store, run)).status == "completed"
    await process.aclose()


async def test_a_full_queue_refuses_with_a_time_to_come_back(store: Any) -> None:
    process = Process(store, Nodes().graph(), queued=2)
    for n in range(2):
        await process.submit(f"Go {n}.")
    with pytest.raises(TooManyRuns) as error:
        await process.submit("One too many.")
    assert error.value.retry_after
    await process.aclose()


async def test_a_run_that_is_cancelled_in_the_queue_ends_without_a_step(store: Any) -> None:
    nodes = Nodes()
    process = Process(store, nodes.graph(), here=0)
    run = await process.submit("Go.")
    await store.runs.cancel(Owner.of(ANN), run)
    process.begin()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("cancelled", [])
    check_log(await events_of(store, run), record)
    await process.aclose()


async def test_a_run_is_cancelled_by_another_process(store: Any) -> None:
    nodes = Nodes()
    nodes.hold("two")
    process = Process(store, nodes.graph()).begin()
    run = await process.submit("Go.")
    await at(nodes, "two")
    # The node that is held would never end by itself.
    await store.runs.cancel(Owner.of(ANN), run)
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("cancelled", ["one"])
    check_log(await events_of(store, run), record)
    await process.aclose()


async def test_a_run_that_takes_too_long_ends_incomplete_and_its_time_runs_on_without_a_process(store: Any) -> None:
    nodes = Nodes()
    nodes.hold("two")
    first = Process(store, nodes.graph(), seconds=1.0).begin()
    run = await first.submit("Go.")
    await at(nodes, "two")
    await first.aclose()
    await asyncio.sleep(1.0)
    second = Process(store, nodes.graph(), seconds=1.0).begin()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("incomplete", ["one"])
    await second.aclose()


async def test_a_run_that_kills_its_processes_is_given_up_with_the_reason(store: Any) -> None:
    nodes = Nodes()
    nodes.hold("two")
    run = await Process(store, nodes.graph()).submit("Go.")
    for _ in range(3):
        nodes.at["two"].clear()
        process = Process(store, nodes.graph()).begin()
        await at(nodes, "two")
        await process.kill()
    last = Process(store, nodes.graph()).begin()
    record = await record_when_ended(store, run)
    assert record.status == "failed"
    assert "3 times" in record.response["error"]["message"]
    check_log(await events_of(store, run), record)
    await last.aclose()


async def test_a_run_whose_process_was_stopped_many_times_is_not_suspected(store: Any) -> None:
    nodes = Nodes()
    nodes.hold("two")
    run = await Process(store, nodes.graph()).submit("Go.")
    for _ in range(4):
        nodes.at["two"].clear()
        process = Process(store, nodes.graph()).begin()
        await at(nodes, "two")
        await process.aclose()
    nodes.open()
    last = Process(store, nodes.graph()).begin()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    check_log(await events_of(store, run), record)
    await last.aclose()


async def test_neighbors_of_a_run_that_kills_its_process_complete(store: Any) -> None:
    deadly, harmless = Nodes(), Nodes()
    deadly.hold("two")
    harmless.hold("two")
    graphs = {"deadly": deadly.graph(), "harmless": harmless.graph()}

    class Both:
        default = "harmless"

        async def get(self, name: str) -> Any:
            return graphs[name]

    def process(**changes: Any) -> Process:
        made = Process(store, None, **changes)
        made.graphs = Both()  # type: ignore[assignment]
        return made

    first = process()
    bad = await first.submit("Go.", graph="deadly")
    good = await first.submit("Go.", graph="harmless")
    first.begin()
    await at(deadly, "two")
    await at(harmless, "two")
    await first.kill()
    harmless.open()
    for _ in range(2):
        deadly.at["two"].clear()
        next_one = process().begin()
        await at(deadly, "two")
        await next_one.kill()
    last = process().begin()
    assert (await record_when_ended(store, bad)).status == "failed"
    assert (await record_when_ended(store, good)).status == "completed"
    await last.aclose()


async def test_a_graph_that_could_not_be_resumed_is_refused_by_name(store: Any) -> None:
    from langgraph.graph import START, StateGraph

    from graph_agent.contract import AgentState

    inner: Any = StateGraph(AgentState)
    inner.add_node("say", Nodes()._node("one"))
    inner.add_edge(START, "say")
    outer: Any = StateGraph(AgentState)
    outer.add_node("research", inner.compile(checkpointer=False))
    outer.add_edge(START, "research")
    process = Process(store, outer.compile())
    with pytest.raises(UnsupportedField, match="research") as error:
        await process.submit("Go.")
    assert error.value.param == "background"
    await process.aclose()


# -- on behalf of a user -----------------------------------------------------------------------------------------


def token(seconds: float) -> UserToken:
    """A token that expires in so many seconds."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds}).encode()).decode().rstrip("=")
    return UserToken(f"e30.{claims}.planted-secret-{time.time_ns()}")


async def submit_for_user(process: Process, held: UserToken) -> str:
    request = Chat(None, process.store).request("Go.", background=True)
    scope = Scope(token=held)
    submission = await process.runs.submit(request, scope, graphs=process.graphs, store=process.store, needs_token=True)
    return submission.id


async def test_a_run_whose_users_token_is_gone_waits_for_another_one_and_goes_on(store: Any, tmp_path: Any) -> None:
    nodes = Nodes()
    nodes.hold("two")
    first, planted = Process(store, nodes.graph()).begin(), token(3600)
    run = await submit_for_user(first, planted)
    await at(nodes, "two")
    await first.kill()
    nodes.open()
    second = Process(store, nodes.graph()).begin()
    await until_state(store, run, "parked")
    assert (await store.responses.get(Owner.of(ANN), run)).status == "in_progress"
    assert second.background is not None
    await second.background.bring_token(ANN, run, token(3600))
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    check_log(await events_of(store, run), record)
    await second.aclose()
    for file in tmp_path.iterdir():
        assert planted.value.encode() not in file.read_bytes()


class AwayStore:
    """A store that does not answer who asks for the events of a run."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.runs = self
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store if hasattr(self._store, name) else self._store.runs, name)

    async def events(self, *given: Any, **named: Any) -> Any:
        self.asked += 1
        raise StoreUnavailable("the store does not answer")


async def test_a_process_that_stops_while_a_run_waits_for_the_store_puts_it_back_at_once_and_for_all(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a process waits when it stops.
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 30.0)
    nodes, away = Nodes(), AwayStore(store)
    first = Process(away, nodes.graph(), lease_seconds=30.0).begin()
    run = await submit_for_user(first, token(3600))
    async with asyncio.timeout(20):
        while not away.asked:  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await first.aclose()
    assert time.monotonic() - began < 2
    second = Process(store, nodes.graph(), lease_seconds=30.0)
    assert second.background is not None
    second.background.keep_token(run, token(3600))
    second.begin()
    # Sooner than other processes take the run from the one that has the token of its user.
    record = await record_when_ended(store, run, seconds=3)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    await second.aclose()


class Outages:
    """What each node asks of the store, which does not answer so many times in this node."""

    def __init__(self, **times: int) -> None:
        self.left = times
        self.asked: list[str] = []

    async def ainvoke(self, asked: dict[str, str]) -> None:
        self.asked.append(asked["text"])
        if self.left.get(asked["text"], 0):
            self.left[asked["text"]] -= 1
            raise StoreUnavailable("the store does not answer")


async def test_outages_between_which_a_run_comes_further_do_not_add_up(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 0.01)
    nodes, outages = Nodes(), Outages(one=3, two=3, three=3)
    nodes.tool = outages
    process = Process(store, nodes.graph()).begin()
    run = await process.submit("Go.")
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    assert outages.asked == ["one"] * 4 + ["two"] * 4 + ["three"] * 4
    check_log(await events_of(store, run), record)
    await process.aclose()


async def test_a_step_that_the_store_never_answers_ends_its_run_however_far_it_came_before(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 0.01)
    nodes, outages = Nodes(), Outages(one=2, two=1_000)
    nodes.tool = outages
    process = Process(store, nodes.graph()).begin()
    run = await process.submit("Go.")
    record = await record_when_ended(store, run)
    assert (record.status, record.response["error"]["code"]) == ("failed", "store_unavailable")
    assert outages.asked == ["one"] * 3 + ["two"] * 4
    await process.aclose()


def routed(asks: Outages, **how: Any) -> Any:
    """A graph whose first node ends, and whose router then asks the store where to go. `how` is of the first node."""
    began = Counter[str]()

    async def say(state: AgentState) -> dict[str, Any]:
        began["say"] += 1
        return {"messages": [AIMessage(f"Said {began['say']}.")]}

    async def go_on(state: AgentState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"After {state['messages'][-1].text}")]}

    async def route(state: AgentState) -> str:
        await asks.ainvoke({"text": "where"})
        return "go_on"

    graph: Any = StateGraph(AgentState).add_node("say", say, **how).add_node("go_on", go_on)
    return graph.add_edge(START, "say").add_conditional_edges("say", route, ["go_on"]).compile()


def texts(record: Any) -> list[str]:
    return [item["content"][0]["text"] for item in record.response["output"]]


async def test_a_node_whose_router_was_not_answered_runs_again_with_its_router(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 0.01)
    outages = Outages(where=3)
    process = Process(store, routed(outages)).begin()
    run = await process.submit("Go.")
    record = await record_when_ended(store, run)
    assert (record.status, outages.asked) == ("completed", ["where"] * 4)
    assert texts(record) == ["After Said 4."]
    check_log(await events_of(store, run), record)
    await process.aclose()


async def test_a_router_that_the_store_never_answers_ends_its_run_after_as_many_tries_as_a_node(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 0.01)
    outages = Outages(where=1_000)
    process = Process(store, routed(outages)).begin()
    record = await record_when_ended(store, await process.submit("Go."))
    assert (record.status, record.response["error"]["code"]) == ("failed", "store_unavailable")
    assert outages.asked == ["where"] * 4
    await process.aclose()


async def test_what_a_node_said_before_its_router_failed_is_kept_if_an_error_handler_goes_on(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 0.01)
    outages = Outages(where=1_000, handled=2)

    async def handle(state: AgentState) -> Command[Any]:
        await outages.ainvoke({"text": "handled"})
        return Command(goto="go_on")

    process = Process(store, routed(outages, error_handler=handle)).begin()
    record = await record_when_ended(store, await process.submit("Go."))
    assert (record.status, outages.asked) == ("completed", ["where", "handled", "handled", "handled"])
    assert texts(record) == ["After Said 1."]
    await process.aclose()


async def test_what_a_graph_within_a_step_does_anew_each_time_does_not_count_as_further(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.runs.background.OUTAGE_SECONDS", 0.01)
    inner, outages = Nodes(), Outages(never=1_000)
    within = inner.graph()

    async def work(state: AgentState) -> dict[str, Any]:
        said = await within.ainvoke({"messages": state["messages"]})
        await outages.ainvoke({"text": "never"})
        return {"messages": said["messages"]}

    graph = StateGraph(AgentState).add_node("work", work).add_edge(START, "work").compile()
    process = Process(store, graph).begin()
    record = await record_when_ended(store, await process.submit("Go."))
    assert record.response["error"]["code"] == "store_unavailable"
    assert len(outages.asked) == 4
    await process.aclose()


async def test_a_run_that_waits_for_a_token_until_its_time_is_used_up_ends_and_frees_its_conversation(
    store: Any,
) -> None:
    nodes = Nodes()
    nodes.hold("two")
    first = Process(store, nodes.graph(), seconds=1.5).begin()
    run = await submit_for_user(first, token(3600))
    await at(nodes, "two")
    await first.kill()
    nodes.open()
    second = Process(store, nodes.graph(), seconds=1.5).begin()
    await until_state(store, run, "parked")
    await asyncio.sleep(1.5)
    assert second.background is not None
    second.background.look()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("incomplete", ["one"])
    assert record.response["incomplete_details"]["reason"] == "max_output_tokens"
    check_log(await events_of(store, run), record)
    await store.responses.delete_conversation(Owner.of(ANN), record.conversation)
    await second.aclose()


@tool
def note(text: str) -> str:
    """Note a text."""
    return f"noted {text}"


# LangChain forgets what it has begun when a callback ends a run.
@pytest.mark.filterwarnings("ignore:coroutine 'ahandle_event' was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("budgets", [{"output_tokens": 4}, {"tool_calls": 2}])
@pytest.mark.parametrize("how", ["kill", "aclose"])
async def test_a_run_that_goes_on_elsewhere_has_no_more_to_use_than_one_that_never_stopped(
    store: Any, budgets: dict[str, int], how: str
) -> None:
    async def outcome(held: str | None) -> Any:
        nodes, limited = Nodes(), Budgets(seconds=30.0, **budgets)
        nodes.tool = note
        first = Process(store, nodes.graph(), budgets=limited)
        run = await first.submit("Go.")
        if held is not None:
            nodes.hold(held)
            first.begin()
            await at(nodes, held)
            await (first.kill() if how == "kill" else first.aclose())
            nodes.open()
        second = Process(store, nodes.graph(), budgets=limited).begin()
        record = await record_when_ended(store, run)
        await second.aclose()
        await first.aclose()
        return record.status, nodes.done, record.response.get("usage"), record.response["metadata"].get("budget")

    never_stopped = await outcome(None)
    assert never_stopped[0] != "completed"
    assert never_stopped[1] == ["one", "two"]
    assert await outcome("two") == never_stopped


async def test_the_steps_of_a_run_that_goes_on_elsewhere_are_counted_on(store: Any) -> None:
    def graph(done: list[int], gates: dict[int, asyncio.Event]) -> Any:
        async def turn(state: AgentState) -> dict[str, Any]:
            reached = gates.get(len(done) + 1)
            if reached is not None and not reached.is_set():
                reached.set()
                await asyncio.Event().wait()
            done.append(len(done) + 1)
            return {}

        looping: Any = StateGraph(AgentState)
        looping.add_node("turn", turn)
        looping.add_edge(START, "turn")
        looping.add_conditional_edges("turn", lambda state: "turn")
        return looping.compile()

    async def turns(*killed_at: int) -> Any:
        done: list[int] = []
        gates = {number: asyncio.Event() for number in killed_at}
        budgets, looping = Budgets(seconds=30.0, steps=9), graph(done, gates)
        first = Process(store, looping, budgets=budgets)
        run = await first.submit("Go.")
        for number in killed_at:
            process = Process(store, looping, budgets=budgets).begin()
            async with asyncio.timeout(20):
                await gates[number].wait()
            await process.kill()
        last = Process(store, looping, budgets=budgets).begin()
        record = await record_when_ended(store, run)
        await last.aclose()
        await first.aclose()
        return record.status, len(done)

    never_stopped = await turns()
    assert never_stopped == ("incomplete", 9)
    assert await turns(3, 5) == never_stopped
    # LangGraph has no limit that would be low enough.
    assert await turns(9) == ("incomplete", 11)


async def test_the_usage_of_a_run_that_goes_on_elsewhere_includes_what_was_used_before(store: Any) -> None:
    async def usage(held: str | None) -> Any:
        nodes = Nodes()
        first = Process(store, nodes.graph())
        run = await first.submit("Go.")
        if held is not None:
            nodes.hold(held)
            first.begin()
            await at(nodes, held)
            await first.kill()
            nodes.open()
        second = Process(store, nodes.graph()).begin()
        record = await record_when_ended(store, run)
        await second.aclose()
        await first.aclose()
        return record.response["usage"]

    assert (await usage(None))["output_tokens"] > 0
    assert await usage("three") == await usage(None)
