"""Limits of tokens for people: what runs may use together, and what becomes of one that is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from tests.graphs.scripted import says
from tests.runs.registered import ANN, BOB, OneGraph, a_request, rest, some_runs
from tests.runs.running import chain, speaking
from tests.runs.stored import Chat, texts

from graph_agent.errors import StoreUnavailable
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.events import Event
from graph_agent.runs.ledger import Ledger
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import Scope
from graph_agent.runs.run import Run
from graph_agent.settings import Budgets, Limits
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore
from graph_agent.stores.store import Store
from graph_agent.stores.usage_records import Call, UsageRow, Window
from graph_agent.testing import ScriptedChatModel, Usage, Wait

pytestmark = pytest.mark.anyio

COMPLETED = "response.completed"

LEAST = Budgets(seconds=30.0, output_tokens=100)

RESERVED = 110
"""A call reserves less than that: the answer of the budget, and a prompt of one short message."""


class Account:
    """Runs of one process whose tokens are counted in a store."""

    def __init__(
        self,
        store: Store,
        *,
        wait_seconds: float = 30.0,
        busy_seconds: float = 30.0,
        renew_seconds: float = 10.0,
        **limits: int,
    ) -> None:
        self.store, self.now = store, 1_796_040_000.0
        self.ledger = Ledger(
            self.open,
            limits=Limits(**limits),
            usage_days=400,
            clock=lambda: self.now,
            wait_seconds=wait_seconds,
            busy_seconds=busy_seconds,
            renew_seconds=renew_seconds,
        )
        self.runs: Runs = some_runs(budgets=LEAST, ledger=self.ledger)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()

    async def open(self) -> Store:
        self.asked.set()
        await self.answers.wait()
        return self.store

    async def start(self, graph: Any, owner: Caller = ANN) -> Run:
        """A run that is not stored."""
        return await self.runs.start(a_request(owner), Scope(), graphs=OneGraph(graph))

    async def run(self, graph: Any, owner: Caller = ANN) -> Event:
        """The last event of such a run."""
        run = await self.start(graph, owner)
        return (await rest(run.batches(quiet_seconds=30.0)))[-1].event

    async def table(self) -> Sequence[UsageRow]:
        await self.ledger.aclose()
        return await self.store.usage.usage(since="0000-00-00", until="9999-99-99")


def counted(rows: Sequence[UsageRow]) -> list[tuple[str, str, str, int, int, int]]:
    return [(row.user, row.graph, row.model, row.calls, row.input_tokens, row.output_tokens) for row in rows]


def error_of(event: Mapping[str, Any]) -> Any:
    return event["response"]["error"]


async def test_the_limit_is_exceeded_by_the_errors_of_the_estimates_of_calls_in_progress_and_no_more(
    store: MemoryStore,
) -> None:
    account = Account(store, user_tokens_per_day=1_000)
    # The model counts 200 tokens in a prompt of which the estimate is at least one: the error is below 200.
    graph = chain(speaking(says("Hello.", usage=Usage(200, 100))))
    await asyncio.gather(*(account.run(graph) for _ in range(200)))
    [row] = await account.table()
    assert 1_000 < row.input_tokens + row.output_tokens < 1_000 + 200 * (1_000 // LEAST.output_tokens)


async def test_a_call_waits_for_others_that_have_reserved_what_is_left(store: MemoryStore) -> None:
    account = Account(store, user_tokens_per_day=2 * LEAST.output_tokens)
    began, go_on = asyncio.Event(), asyncio.Event()
    slow = says(["Slow", Wait(go_on, began), "ly.", Usage(20, 30)])
    first = asyncio.create_task(account.run(chain(speaking(slow))))
    await began.wait()
    second = asyncio.create_task(account.run(chain(speaking(says("Quickly.")))))
    assert (await account.run(chain(speaking(says("Of another."))), BOB))["type"] == COMPLETED
    assert not second.done()
    go_on.set()
    assert {(await one)["type"] for one in (first, second)} == {COMPLETED}


async def test_a_call_that_waits_in_vain_is_told_to_come_back_soon(store: MemoryStore) -> None:
    account = Account(store, wait_seconds=0.0, user_tokens_per_day=2 * LEAST.output_tokens)
    began = asyncio.Event()
    run = await account.start(chain(speaking(says(Wait(reached=began)))))
    await began.wait()
    refused = error_of(await account.run(chain(speaking(says("Quickly.")))))
    assert "try again when they have ended" in refused["message"]
    await run.cancel()


async def test_a_run_that_another_process_has_accepted_keeps_to_the_limit(store: MemoryStore) -> None:
    account = Account(store, user_tokens_per_day=LEAST.output_tokens + 60)
    model = says("Hello.", usage=Usage(50, 50))
    ends = []
    for _ in range(2):
        run = Run(graph=chain(speaking(model)), name="agent", request=a_request(), budgets=LEAST, ledger=account.ledger)
        run.start()
        ends.append((await rest(run.batches(quiet_seconds=30.0)))[-1].type)
    assert ends == [COMPLETED, "response.failed"]
    assert counted(await account.table()) == [("local:ann", "agent", "scripted", 1, 50, 50)]


async def test_a_cancelled_call_costs_its_prompt_and_what_was_written(store: MemoryStore) -> None:
    account = Account(store, tokens_per_day=1_000)
    began = asyncio.Event()
    run = await account.start(chain(speaking(says(["One ", "two ", Wait(reached=began)]))))
    await began.wait()
    await run.cancel()
    [row] = await account.table()
    assert row.output_tokens == 2
    assert 0 < row.input_tokens < RESERVED - LEAST.output_tokens
    # The rest of its reservation is free again.
    account = Account(store, tokens_per_day=row.input_tokens + 2 + RESERVED)
    assert (await account.run(chain(speaking(says("Hello.")))))["type"] == COMPLETED


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_run_that_ends_while_its_call_waits_for_the_store_keeps_nothing_reserved(
    store: MemoryStore, in_thread: bool
) -> None:
    account = Account(store, wait_seconds=0.0, user_tokens_per_day=2 * LEAST.output_tokens)
    model = says("Hello.")

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    run = await account.start(chain(answer if in_thread else speaking(model)))
    account.asked.clear()
    account.answers.clear()
    await account.asked.wait()
    cancelling = asyncio.create_task(run.cancel())
    await run.ended()
    account.answers.set()
    await cancelling
    assert (await account.run(chain(speaking(says("Hello.")))))["type"] == COMPLETED
    assert model.requests == []


class CancelsAtTheAnswer:
    """A store that answers, and cancels at that moment the task that waits for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.task: asyncio.Task[Any] | None = None

    @property
    def usage(self) -> "CancelsAtTheAnswer":
        return self

    async def apply(self, batch: Any) -> Any:
        outcomes = await self._store.usage.apply(batch)
        if self.task is not None:
            # Before the task learns of the answer, and after the answer is there.
            asyncio.get_running_loop().call_soon(self.task.cancel)
        return outcomes


async def test_a_call_that_is_cancelled_as_its_tokens_are_reserved_gives_them_back(store: MemoryStore) -> None:
    account = Account(store, wait_seconds=0.0, user_tokens_per_day=2 * LEAST.output_tokens)
    cancelling: Any = CancelsAtTheAnswer(store)
    account.store = cancelling
    account.ledger.attach()
    call = Call(day="2026-11-30", owner=Owner.of(ANN), graph="agent", model="big")
    cancelling.task = asyncio.create_task(account.ledger.reserve(call, 150))
    with pytest.raises(asyncio.CancelledError):
        await cancelling.task
    account.store = store
    assert (await account.ledger.reserve(call, 150)).tokens == 150


class NotesRenewals:
    """A store that notes which reservations are renewed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.renewed: asyncio.Queue[Sequence[str]] = asyncio.Queue()

    @property
    def usage(self) -> "NotesRenewals":
        return self

    async def apply(self, batch: Any) -> Any:
        if batch.renewed:
            self.renewed.put_nowait(batch.renewed)
        return await self._store.usage.apply(batch)


async def test_the_reservation_of_a_call_is_renewed_while_it_is_in_progress(store: MemoryStore) -> None:
    account = Account(store, renew_seconds=0.001, user_tokens_per_day=1_000)
    noting: Any = NotesRenewals(store)
    account.store = noting
    run = await account.start(chain(speaking(says(Wait()))))
    with anyio.fail_after(20):
        first, second = await noting.renewed.get(), await noting.renewed.get()
    assert list(first) == list(second)
    await run.cancel()
    account.store = store
    [row] = await account.table()
    assert row.lost_tokens == 0


@pytest.mark.parametrize("limits", [{}, {"user_tokens_per_day": 1_000}])
async def test_usage_is_written_soon_by_itself(store: MemoryStore, limits: dict[str, int]) -> None:
    account = Account(store, renew_seconds=3_600.0, **limits)
    began, go_on = asyncio.Event(), asyncio.Event()
    run = await account.start(chain(speaking(says(["Hel", Wait(go_on, began), "lo."]))))
    await began.wait()
    # The account has nothing to do any more but to renew what is reserved, in an hour.
    await asyncio.sleep(0)
    go_on.set()
    await run.ended()
    with anyio.fail_after(20):
        while not await store.usage.usage(since="2026-11-30", until="2026-11-30"):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)


async def test_a_call_that_the_endpoint_refuses_costs_nothing(store: MemoryStore) -> None:
    account = Account(store, tokens_per_day=1_000)
    assert (await account.run(chain(speaking(says(ValueError("busy"))))))["type"] == "response.failed"
    assert counted(await account.table()) == [("local:ann", "agent", "scripted", 1, 0, 0)]


async def test_a_node_that_runs_in_a_thread_keeps_to_the_limit(store: MemoryStore) -> None:
    account = Account(store, user_tokens_per_day=LEAST.output_tokens + 50)
    model = says("Hello.", usage=Usage(50, 50))

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    kinds = [(await account.run(chain(answer)))["type"] for _ in range(2)]
    assert kinds == ["response.completed", "response.failed"]
    assert len(model.requests) == 1


async def test_a_call_that_holds_up_the_event_loop_counts_when_it_has_ended(store: MemoryStore) -> None:
    account = Account(store, user_tokens_per_day=LEAST.output_tokens + 50)
    model = says("Hello.", usage=Usage(50, 50))

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    assert (await account.run(chain(answer)))["type"] == COMPLETED
    assert (await account.run(chain(speaking(model))))["type"] == "response.failed"
    assert [row.input_tokens for row in await account.table()] == [50]


async def test_each_model_of_a_run_counts_under_its_name_and_a_wrapped_one_once(store: MemoryStore) -> None:
    account = Account(store)

    class Named(ScriptedChatModel):
        def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
            return {"ls_model_name": "big-model"}

    named = Named("Hello.", each_turn=True, usage=Usage(5, 6, 2, 1))
    assert (await account.run(chain(speaking(named, "one"), speaking(says("Bye."), "two"))))["type"] == COMPLETED
    rows = await account.table()
    assert counted(rows) == [("local:ann", "agent", "big-model", 1, 5, 6), ("local:ann", "agent", "scripted", 1, 7, 3)]
    assert (rows[0].day, rows[0].cached_tokens, rows[0].reasoning_tokens) == ("2026-11-30", 2, 1)


async def test_an_endpoint_that_reports_no_usage_costs_an_estimate(store: MemoryStore) -> None:
    account = Account(store)
    await account.run(chain(speaking(says(["One ", "two ", "three."], usage=None))))
    [row] = await account.table()
    assert row.output_tokens == 3
    assert 0 < row.input_tokens < RESERVED - LEAST.output_tokens


async def test_a_graph_that_catches_the_refusal_does_not_go_on(store: MemoryStore) -> None:
    account = Account(store, user_tokens_per_day=LEAST.output_tokens + 1)
    model = says("Hello.")

    async def answer(state: MessagesState) -> dict[str, Any]:
        try:
            return {"messages": [await model.ainvoke(state["messages"])]}
        except Exception:  # noqa: BLE001 - as graphs do that have another model
            return {"messages": [AIMessage("Never mind.")]}

    end = await account.run(chain(answer))
    assert (end["type"], error_of(end)["code"]) == ("response.failed", "rate_limit_exceeded")
    assert "resets at 2026-12-01T00:00:00Z" in error_of(end)["message"]
    assert model.requests == []


async def test_no_call_begins_that_cannot_be_counted(store: MemoryStore) -> None:
    account = Account(store, user_tokens_per_day=1_000)
    await store.aclose()
    model = says("Hello.")
    with pytest.raises(StoreUnavailable):
        await account.start(chain(speaking(model)))
    assert model.requests == []


# -- a user who goes on over the limit ----------------------------------------------------------------------------


def two_steps(model: Any, done: list[str]) -> Any:
    """A graph that does something in its first step, and asks a model in both."""

    async def prepare(state: MessagesState) -> dict[str, Any]:
        reply = await model.ainvoke(state["messages"])
        done.append("prepared")
        return {"messages": [reply]}

    return chain(prepare, speaking(model))


ASKING = {"user_tokens_per_day": 160, "user_extra_tokens": 100}
"""After a call of 100 tokens no other fits. With the extra tokens one does."""

SPENDS = Usage(50, 50)


def asked_in(events: Sequence[Event]) -> Any:
    [item] = [item for item in events[-1]["response"]["output"] if item["type"] == "mcp_approval_request"]
    return item


def answer_to(item: Any, *, approve: bool = True) -> list[dict[str, Any]]:
    return [{"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": approve}]


@pytest.fixture
async def restarted(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Account]]]:
    """Makes the account of a new process on the same file. The one before it has ended."""
    before: list[Account] = []

    async def new() -> Account:
        for one in before:
            await one.ledger.aclose()
            await one.store.aclose()
        account = Account(SqliteStore(tmp_path / "store.sqlite"), **ASKING)
        await account.store.open()
        before[:] = [account]
        return account

    yield new
    for one in before:
        await one.store.aclose()


Restart = Callable[[], Awaitable[Account]]


async def test_a_user_who_approves_goes_on_after_a_restart_with_the_step_that_was_refused(restarted: Restart) -> None:
    account, done = await restarted(), []
    graph = two_steps(says("Hello.", usage=SPENDS), done)
    chat = Chat(graph, account.store, runs=account.runs)
    events = await chat.say("Hi")
    item = asked_in(events)
    assert events[-1]["type"] == COMPLETED
    assert (item["name"], item["allowed_decisions"]) == ("question", ["approve", "reject"])
    assert json.loads(item["arguments"]) == {
        "question": "Your limit of 160 tokens per day is reached. Go on with 100 more?",
        "tokens_per_day": 160,
        "tokens_left": 60,
        "extra_tokens": 100,
        "resets_at": "2026-12-01T00:00:00Z",
    }
    account = await restarted()
    later = Chat(graph, account.store, runs=account.runs)
    later.last = chat.last
    events = await later.say(answer_to(item))
    assert texts(events) == ["Hello."]
    assert done == ["prepared"]
    assert [one.text for one in await later.state()] == ["Hi", "Hello.", "Hello."]
    # The approval counts once. The next question is a new one.
    again = asked_in(await later.say("And now?"))
    assert json.loads(again["arguments"])["tokens_per_day"] == 260
    assert again["id"] != item["id"]


async def test_a_user_who_does_not_approve_gets_what_there_is(restarted: Restart) -> None:
    account, done = await restarted(), []
    model = says("Hello.", usage=SPENDS)
    chat = Chat(two_steps(model, done), account.store, runs=account.runs)
    item = asked_in(await chat.say("Hi"))
    end = (await chat.say(answer_to(item, approve=False)))[-1]
    assert (end["type"], end["response"]["metadata"]["budget"]) == ("response.incomplete", "tokens_per_day")
    assert len(model.requests) == 1
    # The conversation goes on, on the next day.
    account.now += 86_400
    assert (await chat.say("Hi again"))[-1]["type"] == COMPLETED


async def test_a_user_who_says_something_else_is_asked_again(restarted: Restart) -> None:
    account = await restarted()
    chat = Chat(two_steps(says("Hello.", usage=SPENDS), []), account.store, runs=account.runs)
    item = asked_in(await chat.say("Hi"))
    assert asked_in(await chat.say("What?"))["id"] == item["id"]


async def test_an_approval_that_came_after_the_day_raises_no_limit(restarted: Restart) -> None:
    account = await restarted()
    chat = Chat(two_steps(says("Hello.", usage=SPENDS), []), account.store, runs=account.runs)
    item = asked_in(await chat.say("Hi"))
    account.now += 86_400
    assert texts(await chat.say(answer_to(item))) == ["Hello."]
    standing = await account.ledger.admit(Owner.of(ANN))
    assert standing is not None
    assert standing.tokens == Window(limit=160, left=60, resets_at=1_796_169_600.0)


async def test_nobody_is_asked_about_the_limit_of_all_or_in_a_run_that_is_not_stored(restarted: Restart) -> None:
    account = await restarted()
    graph = two_steps(says("Hello.", usage=SPENDS), [])
    assert error_of(await account.run(graph))["code"] == "rate_limit_exceeded"
    everybody = Account(account.store, tokens_per_day=160)
    chat = Chat(graph, account.store, runs=everybody.runs, owner=BOB)
    assert error_of((await chat.say("Hi"))[-1])["code"] == "rate_limit_exceeded"
    await everybody.ledger.aclose()
