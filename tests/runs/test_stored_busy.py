"""One run for each conversation at a time, and what happens when the store fails or the process loses its lease."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState
from langgraph.types import interrupt
from tests.runs.registered import ANN, OneGraph, rest, some_runs
from tests.runs.running import chain
from tests.runs.stored import Chat, OpenBook, texts

from graph_agent.contract import AgentState
from graph_agent.errors import ConversationBusy, ServiceStopping, StoreUnavailable, TooManyRuns
from graph_agent.identity.owner import Owner
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES
from graph_agent.runs.leases import Leases
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import Scope
from graph_agent.stores.records import Page
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore

pytestmark = pytest.mark.anyio


class Held:
    """A graph whose runs wait at the word `wait` until they may go on. It says what it was told so far."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

        async def answer(state: MessagesState) -> dict[str, Any]:
            if state["messages"][-1].text == "wait":
                self.reached.set()
                await self.go_on.wait()
            said = [one.text for one in state["messages"] if one.type == "human"]
            return {"messages": [AIMessage(f"You said: {', '.join(said)}.")]}

        self.graph = chain(answer)


class SlowBook:
    """Responses whose runs begin when they may. The record is written all the same if the caller leaves meanwhile."""

    def __init__(self, store: MemoryStore) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._responses = store.responses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._responses, name)

    async def begin(self, owner: Any, new: Any, *, busy_until: float) -> None:
        await self._responses.begin(owner, new, busy_until=busy_until)
        self.reached.set()
        await self.go_on.wait()


# -- one run at a time --------------------------------------------------------------------------------------------


async def test_a_caller_that_leaves_while_its_run_begins_does_not_keep_the_conversation_busy(
    store: MemoryStore,
) -> None:
    held, book = Held(), SlowBook(store)
    slow = SimpleNamespace(responses=book, checkpointer=store.checkpointer, runs=store.runs, may_be_shared=False)
    chat = Chat(held.graph, slow)
    with anyio.fail_after(20):
        leaving = asyncio.create_task(chat.start("one", conversation=None, context={"conversation_id": "mine"}))
        await book.reached.wait()
        leaving.cancel()
        book.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        said = await chat.say("two", context={"conversation_id": "mine"})
        responses, _ = await store.responses.responses_of(Owner.of(ANN), "mine", Page())
    assert texts(said) == ["You said: two."]
    assert [one.id for one in responses] == [chat.last]


async def test_a_second_request_is_refused_and_told_which_response_is_running(store: MemoryStore) -> None:
    held = Held()
    chat = Chat(held.graph, store)
    with anyio.fail_after(20):
        await chat.say("one")
        first = chat.last
        run = await chat.start("wait", after=first)
        with pytest.raises(ConversationBusy) as refused:
            await chat.start("two", after=first)
        assert refused.value.running == run.id
        held.go_on.set()
        await run.ended()
        assert texts(await chat.say("two", after=run.id)) == ["You said: one, wait, two."]


async def test_a_history_without_a_name_whose_conversation_is_busy_starts_another(store: MemoryStore) -> None:
    held = Held()
    chat = Chat(held.graph, store)
    with anyio.fail_after(20):
        await chat.say("one")
        first = await chat.record()
        run = await chat.start("wait")
        items = [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "You said: one."},
            {"role": "user", "content": "two"},
        ]
        chat.last = None
        assert texts(await chat.say(items)) == ["You said: one, two."]
        assert (await chat.record()).conversation != first.conversation
        held.go_on.set()
        await run.ended()


async def waiting(runs: Runs, number: int) -> None:
    """Return when so many requests wait for their conversation."""
    while runs.waiting != number:  # noqa: ASYNC110 - nothing tells when a request has asked in vain
        await asyncio.sleep(0.001)


async def test_requests_wait_for_their_turn_in_the_order_in_which_they_came(store: MemoryStore) -> None:
    held = Held()
    chat = Chat(held.graph, store, runs=some_runs(waits=True, most=2))
    named = {"context": {"conversation_id": "mine"}}
    with anyio.fail_after(30):
        run = await chat.start("wait", **named)
        await held.reached.wait()
        asked = []
        for number, text in enumerate(("two", "three", "four")):
            asked.append(asyncio.create_task(chat.say(text, **named)))
            await waiting(chat.runs, number + 1)
        # Those that wait hold no slot.
        chat.runs.require_free_slot()
        held.go_on.set()
        said = [texts(await one) for one in asked]
        await run.ended()
    assert said == [
        ["You said: wait, two."],
        ["You said: wait, two, three."],
        ["You said: wait, two, three, four."],
    ]
    with chat.runs.slot(), chat.runs.slot(), pytest.raises(TooManyRuns):
        chat.runs.slot()


async def test_a_request_waits_no_longer_than_a_run_may_take(store: MemoryStore) -> None:
    held = Held()
    runs = some_runs(waits=True, most=2)
    chat = Chat(held.graph, store, runs=runs)
    with anyio.fail_after(20):
        run = await chat.start("wait")
        await held.reached.wait()
        request = chat.request("two", after=run.id)
        with pytest.raises(ConversationBusy):
            await runs.start(request, Scope(ends_by=time.monotonic()), graphs=OneGraph(held.graph), store=store)
        assert runs.waiting == 0
        runs.require_free_slot()
        held.go_on.set()
        await run.ended()


async def test_a_request_whose_caller_leaves_gives_its_place_in_the_line_to_the_next(store: MemoryStore) -> None:
    held = Held()
    chat = Chat(held.graph, store, runs=some_runs(waits=True))
    named = {"context": {"conversation_id": "mine"}}
    with anyio.fail_after(20):
        run = await chat.start("wait", **named)
        await held.reached.wait()
        leaving = asyncio.create_task(chat.start("two", **named))
        await waiting(chat.runs, 1)
        staying = asyncio.create_task(chat.say("three", **named))
        await waiting(chat.runs, 2)
        leaving.cancel()
        await waiting(chat.runs, 1)
        held.go_on.set()
        await run.ended()
        assert texts(await staying) == ["You said: wait, three."]


async def test_a_request_that_waits_is_refused_when_the_service_stops(store: MemoryStore) -> None:
    held = Held()
    chat = Chat(held.graph, store, runs=some_runs(waits=True))
    with anyio.fail_after(20):
        run = await chat.start("wait")
        await held.reached.wait()
        asked = asyncio.create_task(chat.start("two", after=run.id))
        await waiting(chat.runs, 1)
        await chat.runs.end(within_seconds=10)
        with pytest.raises(ServiceStopping):
            await asked


async def test_a_request_waits_for_a_run_of_another_process(tmp_path: Path) -> None:
    here, there = SqliteStore(tmp_path / "file"), SqliteStore(tmp_path / "file")
    await here.open()
    await there.open()
    held = Held()
    one, other = Chat(held.graph, here), Chat(held.graph, there, runs=some_runs(waits=True))
    named = {"context": {"conversation_id": "mine"}}
    try:
        with anyio.fail_after(20):
            run = await one.start("wait", **named)
            await held.reached.wait()
            asked = asyncio.create_task(other.say("two", **named))
            await waiting(other.runs, 1)
            held.go_on.set()
            await run.ended()
            assert texts(await asked) == ["You said: wait, two."]
    finally:
        await here.aclose()
        await there.aclose()


# -- a store that fails -------------------------------------------------------------------------------------------


class Faults:
    """The methods of a store's responses, of which some fail or wait first."""

    def __init__(self, responses: Any) -> None:
        self._responses = responses
        self.first: dict[str, Callable[[], Awaitable[None]]] = {}
        """What is done before the method of that name."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._responses, name)

        async def called(*arguments: Any, **named: Any) -> Any:
            if name in self.first:
                await self.first[name]()
            return await method(*arguments, **named)

        return called


class FaultySaver(InMemorySaver):
    """A saver that fails while `down` is set."""

    down: Exception | None = None

    async def aget_tuple(self, config: Any) -> Any:
        if self.down is not None:
            raise self.down
        return await super().aget_tuple(config)

    async def aput(self, *arguments: Any) -> Any:
        if self.down is not None:
            raise self.down
        return await super().aput(*arguments)


class FaultyStore(OpenBook):
    """A store in memory of which parts can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults(super().responses)
        self.saver = FaultySaver()

    @property
    def responses(self) -> Any:
        return self.faults

    def fail(self, method: str, error: Exception) -> None:
        async def fail() -> None:
            raise error

        self.faults.first[method] = fail


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyStore]:
    store = FaultyStore()
    await store.open()
    yield store
    await store.aclose()


DOWN = StoreUnavailable("the store does not answer")


async def test_a_store_that_fails_at_the_start_refuses_the_request_and_frees_its_slot(faulty: FaultyStore) -> None:
    chat = Chat(Held().graph, faulty, runs=some_runs(most=1))
    with anyio.fail_after(20):
        await chat.say("one")
        faulty.fail("begin", DOWN)
        with pytest.raises(StoreUnavailable):
            await chat.start("two")
        faulty.faults.first.clear()
        faulty.saver.down = OSError("password=hunter2")
        with pytest.raises(StoreUnavailable) as unread:
            await chat.start("two")
        assert "hunter2" not in str(unread.value)
        faulty.saver.down = None
        assert texts(await chat.say("two")) == ["You said: one, two."]


@pytest.mark.parametrize("dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"])
@pytest.mark.parametrize("error", [DOWN, OSError("password=hunter2")], ids=["typed", "untyped"])
async def test_a_run_whose_end_cannot_be_recorded_fails_and_is_not_said_to_be_complete(
    dialect: Any, error: Exception, faulty: FaultyStore
) -> None:
    chat = Chat(Held().graph, faulty, dialect=dialect)
    faulty.fail("finish", error)
    with anyio.fail_after(20):
        events = await chat.say("one")
    assert not [one for one in events if one["type"] == "response.completed"]
    last = events[-1]
    code = last["code"] if dialect is INVOCATIONS else last["response"]["error"]["code"]
    assert code == "store_unavailable"
    assert "hunter2" not in str(events)
    assert [one["sequence_number"] for one in events] == [*range(len(events))]


async def test_a_checkpoint_that_cannot_be_written_fails_the_run(faulty: FaultyStore) -> None:
    held = Held()
    chat = Chat(held.graph, faulty)
    with anyio.fail_after(20):
        run = await chat.start("wait")
        reading = asyncio.create_task(rest(chat.runs.read(run)))
        await held.reached.wait()
        faulty.saver.down = OSError("password=hunter2")
        held.go_on.set()
        events = [entry.event for entry in await reading]
        record = await chat.record()
        assert events[-1]["response"]["error"]["code"] == "store_unavailable"
        assert (record.status, record.response) == ("failed", events[-1]["response"])
        faulty.saver.down = None
        assert texts(await chat.say("two")) == ["You said: wait, two."]


class Odd(AgentState):
    thing: Any


class OddPlain(MessagesState):
    thing: Any


@pytest.mark.parametrize("kind", [Odd, OddPlain])
async def test_a_state_that_cannot_be_stored_costs_the_state_and_not_the_messages(
    store: MemoryStore, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(state: Any) -> dict[str, Any]:
        seen.append([message.text for message in state["messages"]])
        return {"messages": [AIMessage(f"Yes, {len(seen)}.")], "thing": (one for one in ["hunter2"])}

    seen: list[list[str]] = []
    chat = Chat(chain(answer, state=kind), store)
    with anyio.fail_after(20):
        for text in ("one", "two", "three"):
            events = await chat.say(text)
            assert events[-1]["response"]["status"] == "completed"
    assert seen[-1] == ["one", "Yes, 1.", "two", "Yes, 2.", "three"]
    assert (await chat.record()).checkpoint is None
    assert "cannot be stored: " in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_question_in_a_state_that_cannot_be_stored_says_what_to_change(store: MemoryStore) -> None:
    async def ask(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(str(interrupt({"question": "Really?"})))]}

    async def spoil(state: Any) -> dict[str, Any]:
        return {"thing": (one for one in [])}

    with anyio.fail_after(20):
        events = await Chat(chain(spoil, ask, state=Odd), store).say("one")
    error = events[-1]["response"]["error"]
    assert error["code"] == "approval_not_resumable"
    assert "cannot be stored" in error["message"]


async def test_a_slow_store_delays_the_end_and_nothing_else(faulty: FaultyStore) -> None:
    finish = asyncio.Event()
    faulty.faults.first["finish"] = lambda: asyncio.wait_for(finish.wait(), 20)
    chat = Chat(Held().graph, faulty)
    with anyio.fail_after(20):
        run = await chat.start("one")
        reader = chat.runs.read(run)
        seen: list[Any] = []
        async for batch in reader:
            seen += batch
            if seen[-1].type == "response.output_item.done":
                assert not run.over
                assert (await chat.record()).status == "in_progress"
                finish.set()
        assert seen[-1].type == "response.completed"


async def test_a_caller_that_leaves_while_the_record_is_written_does_not_stop_it(faulty: FaultyStore) -> None:
    finishing, finish = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        finishing.set()
        await finish.wait()

    faulty.faults.first["finish"] = wait
    chat = Chat(Held().graph, faulty)
    with anyio.fail_after(20):
        run = await chat.start("one")
        reader = chat.runs.read(run)
        await finishing.wait()
        leaving = asyncio.create_task(reader.leave())
        await asyncio.sleep(0)
        finish.set()
        await leaving
        assert (await chat.record()).status == "completed"


async def test_a_node_that_ignores_its_cancellation_does_not_delay_the_record_and_stores_nothing_later(
    open_book: OpenBook,
) -> None:
    reached, go_on, wrote = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(state: MessagesState) -> dict[str, Any]:
        reached.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        wrote.set()
        return {"messages": [AIMessage("Late.")]}

    chat = Chat(chain(stubborn), open_book)
    try:
        with anyio.fail_after(20):
            run = await chat.start("one")
            await reached.wait()
            await chat.runs.end(within_seconds=10)
            assert run.over
            record = await chat.record()
            assert record.status == "failed"
            go_on.set()
            await wrote.wait()
            chat.runs.accept()
            assert texts(await chat.say("two")) == ["Late."]
    finally:
        go_on.set()
    assert [one.text for one in await chat.state()] == ["one", "two", "Late."]


# -- leases -------------------------------------------------------------------------------------------------------


async def test_a_run_whose_conversation_was_taken_over_ends_and_writes_no_more(tmp_path: Path) -> None:
    ahead = [0.0]
    mine, other = SqliteStore(tmp_path / "file"), SqliteStore(tmp_path / "file", clock=lambda: time.time() + ahead[0])
    await mine.open()
    await other.open()
    held = Held()
    chat, thief = Chat(held.graph, mine), Chat(held.graph, other)
    try:
        with anyio.fail_after(20):
            await chat.say("one")
            first = chat.last
            run = await chat.start("wait")
            reading = asyncio.create_task(rest(chat.runs.read(run)))
            await held.reached.wait()
            # To the other process it looks as if this one had been away for a minute.
            ahead[0] = 60.0
            assert texts(await thief.say("mine now", after=first)) == ["You said: one, mine now."]
            lost = await chat.record()
            assert (lost.status, lost.checkpoint) == ("failed", None)
            held.go_on.set()
            events = [entry.event for entry in await reading]
        assert events[-1]["response"]["error"]["code"] == "process_lost"
        assert run.status == "failed"
        assert (await chat.record()).status == "failed"
    finally:
        await mine.aclose()
        await other.aclose()


async def test_the_leases_of_all_runs_are_renewed_at_once_and_a_lost_one_ends_its_run() -> None:
    rounds: list[set[str]] = []
    lost: list[str] = []
    third = asyncio.Event()

    class Responses:
        async def renew(self, response_ids: Collection[str], *, busy_until: float) -> Collection[str]:
            rounds.append(set(response_ids))
            if len(rounds) == 3:
                third.set()
            return ["b"] if len(rounds) == 2 else []

    leases = Leases(Responses(), renew_seconds=0.01)  # type: ignore[arg-type]
    with anyio.fail_after(20):
        for one in "abc":
            leases.hold(one, leases.new(), lost=lambda one=one: lost.append(one))  # type: ignore[misc]
        await third.wait()
    assert rounds[0] == {"a", "b", "c"}
    assert rounds[2] == {"a", "c"}
    assert lost == ["b"]
    assert leases.holds("a")
    assert not leases.holds("b")
    for one in "ac":
        leases.release(one)


def hold_up_the_loop() -> None:
    """For longer than the lease of the next test."""
    time.sleep(0.02)


async def test_a_lease_that_expired_while_the_process_was_held_up_is_regained_if_nobody_has_it() -> None:
    taken: list[str] = []

    class Responses:
        async def renew(self, response_ids: Collection[str], *, busy_until: float) -> Collection[str]:
            return taken

    leases = Leases(Responses(), seconds=0.01, renew_seconds=5.0)  # type: ignore[arg-type]
    with anyio.fail_after(20):
        for one in "ab":
            leases.hold(one, leases.new(), lost=lambda: None)
            hold_up_the_loop()
            assert not leases.holds(one)
        assert await leases.regain("a")
        hold_up_the_loop()
        taken.append("b")
        assert not await leases.regain("b")
    leases.release("a")


async def test_a_run_that_cannot_renew_its_lease_for_too_long_ends() -> None:
    lost = asyncio.Event()

    class Responses:
        async def renew(self, response_ids: Collection[str], *, busy_until: float) -> Collection[str]:
            raise StoreUnavailable("down")

    leases = Leases(Responses(), seconds=0.05, renew_seconds=0.01)  # type: ignore[arg-type]
    with anyio.fail_after(20):
        leases.hold("a", leases.new(), lost=lost.set)
        assert leases.holds("a")
        await lost.wait()
    assert not leases.holds("a")
