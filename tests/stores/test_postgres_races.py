"""What two processes do at the same moment in a PostgreSQL store. In a SQLite file only one writes at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from tests.stores.postgres_server import PostgresServer
from tests.stores.test_approvals import NO, YES, Desk
from tests.stores.turns import ANN, LEASE, Clock, Turns, ids, message

from graph_agent.errors import ApprovalAnswered, ConversationBusy, ResponseNotFound
from graph_agent.stores.postgres_database import Statements
from graph_agent.stores.postgres_sign_in import UrlSignIn
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.records import Page

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(server: PostgresServer, schema: str, clock: Clock) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(lambda: UrlSignIn(server.url, {}), schema=schema, clock=clock)
    try:
        await store.open()
        yield store
    finally:
        await store.aclose()


@contextmanager
def transaction(server: PostgresServer, schema: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of another process, committed at the end."""
    with psycopg.connect(server.url, options=f"-c search_path={schema}") as connection:
        yield connection


async def waits_for_a_lock(server: PostgresServer) -> None:
    """Return once a connection of a store waits for another transaction."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'graph-agent' AND wait_event_type = 'Lock'"
    while not await asyncio.to_thread(server.execute, waiting):
        pass


async def test_a_response_is_not_deleted_from_under_a_run_that_begins(
    running_postgres: PostgresServer, clock: Clock
) -> None:
    async with opened(running_postgres, "races_1", clock) as store:
        turns = Turns(store, clock)
        await turns.turn("resp_1")
        with transaction(running_postgres, "races_1") as other:
            # As `begin` does it in the other process.
            other.execute("UPDATE conversations SET running = 'resp_2', busy_until = 9e9")
            other.execute(
                "INSERT INTO responses (owner, id, conversation, parent, kind, graph, family, status, created_at)"
                " SELECT owner, 'resp_2', conversation, id, kind, graph, family, 'in_progress', created_at + 1"
                " FROM responses"
            )
            deleting = asyncio.create_task(store.responses.delete(ANN, "resp_1"))
            await waits_for_a_lock(running_postgres)
        await deleting

        # The run goes on, at the place of the one before.
        assert (await store.responses.get(ANN, "resp_2")).parent is None
        await turns.finish("resp_2")
        assert ids((await store.responses.responses_of(ANN, "conv_1", Page()))[0]) == ["resp_2"]


async def test_a_run_does_not_follow_a_response_that_is_being_deleted(
    running_postgres: PostgresServer, clock: Clock
) -> None:
    async with opened(running_postgres, "races_2", clock) as store:
        turns = Turns(store, clock)
        await turns.turn("resp_1")
        await turns.turn("resp_2", after="resp_1")
        with transaction(running_postgres, "races_2") as other:
            # As `delete` does it in the other process.
            other.execute("UPDATE conversations SET updated_at = updated_at")
            other.execute("DELETE FROM responses WHERE id = 'resp_2'")
            beginning = asyncio.create_task(turns.begin("resp_3", after="resp_2"))
            await waits_for_a_lock(running_postgres)
        with pytest.raises(ResponseNotFound):
            await beginning


class Paused:
    """A transaction of a store stops behind its first statement that begins with these words, until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
        self.reached, self.may_go_on = asyncio.Event(), asyncio.Event()
        for name in ("rows", "run"):
            monkeypatch.setattr(Statements, name, self._pausing(getattr(Statements, name), words))

    def _pausing(self, execute: Any, words: str) -> Any:
        async def pausing(statements: Statements, statement: str, parameters: Sequence[Any] = ()) -> Any:
            found = await execute(statements, statement, parameters)
            if statement.startswith(words) and not self.reached.is_set():
                self.reached.set()
                await self.may_go_on.wait()
            return found

        return pausing


async def test_an_approval_whose_run_ends_while_another_answer_comes_is_not_used_again(
    running_postgres: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(running_postgres, "races_5", clock) as store, asyncio.timeout(30):
        desk = Desk(store, clock)
        await desk.ask()
        await desk.answer("resp_2", ("mcpr_1", YES))
        paused = Paused(monkeypatch, "UPDATE conversations SET running = NULL")
        ending = asyncio.create_task(desk.end("resp_2", checkpoint="c2"))
        await paused.reached.wait()
        answering = asyncio.create_task(desk.answer("resp_3", ("mcpr_1", YES)))
        await waits_for_a_lock(running_postgres)
        paused.may_go_on.set()
        await ending
        with pytest.raises(ApprovalAnswered):
            await answering
        assert (await desk.approvals())["mcpr_1"].used_by == "resp_2"


async def test_a_run_does_not_take_a_conversation_over_from_one_that_it_has_not_seen(
    running_postgres: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of one machine is ahead, so that the lease of the other one's run is over before it begins. Nobody
    would end that run, and its decision would be used for ever."""
    ahead = Clock()
    ahead.now = clock.now + 10 * LEASE
    async with (
        opened(running_postgres, "races_6", clock) as here,
        opened(running_postgres, "races_6", ahead) as there,
        asyncio.timeout(30),
    ):
        behind, early = Desk(here, clock), Desk(there, ahead)
        await behind.ask()
        paused = Paused(monkeypatch, "SELECT running, thread")
        taking = asyncio.create_task(early.answer("resp_3", ("mcpr_1", NO)))
        await paused.reached.wait()
        between = asyncio.create_task(behind.answer("resp_2", ("mcpr_1", YES)))
        waiting = asyncio.create_task(waits_for_a_lock(running_postgres))
        await asyncio.wait([between, waiting], return_when=asyncio.FIRST_COMPLETED)
        paused.may_go_on.set()
        await taking
        with pytest.raises(ConversationBusy):
            await between
        waiting.cancel()
        used = (await early.approvals())["mcpr_1"]
        assert (used.decision, used.used_by) == (NO, "resp_3")


async def test_items_that_are_added_while_a_run_begins_and_ends_leave_none_of_its_words_out(
    running_postgres: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(running_postgres, "races_7", clock) as store, asyncio.timeout(30):
        turns = Turns(store, clock)
        await turns.turn("resp_1")

        async def turn_between() -> None:
            await turns.begin("resp_2", after="resp_1", at_head=True)
            await turns.finish("resp_2")

        paused = Paused(monkeypatch, "SELECT running, busy_until, head")
        adding = asyncio.create_task(store.responses.add_items(ANN, "conv_1", [message("Note.")]))
        await paused.reached.wait()
        between = asyncio.create_task(turn_between())
        waiting = asyncio.create_task(waits_for_a_lock(running_postgres))
        await asyncio.wait([between, waiting], return_when=asyncio.FIRST_COMPLETED)
        paused.may_go_on.set()
        added = await adding
        # Its caller looks again, and follows the items.
        with pytest.raises(ConversationBusy):
            await between
        waiting.cancel()
        assert [one.id for one in await store.responses.lineage(ANN, added.id)] == ["resp_1", added.id]


async def test_of_many_runs_that_continue_at_once_one_has_the_lease(
    running_postgres: PostgresServer, clock: Clock
) -> None:
    async with (
        opened(running_postgres, "races_4", clock) as one,
        opened(running_postgres, "races_4", clock) as other,
    ):
        await Turns(one, clock).turn("resp_0")
        begins = []
        for number in range(20):
            turns = Turns((one, other)[number % 2], clock)
            turns.known = True
            begins.append(turns.begin(f"resp_{number + 1}", after="resp_0"))
        ends = await asyncio.gather(*begins, return_exceptions=True)

    busy = [end for end in ends if isinstance(end, ConversationBusy)]
    assert (len(busy), ends.count(None)) == (19, 1)
    # Each was told the same winner.
    assert len({end.running for end in busy}) == 1
