"""What two processes do at the same moment in a PostgreSQL store. In a SQLite file only one writes at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from tests.stores.postgres_server import PostgresServer
from tests.stores.test_approvals import YES, Desk
from tests.stores.turns import ANN, Clock, Turns, ids

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


async def test_an_approval_whose_run_ends_while_another_answer_comes_is_not_used_again(
    running_postgres: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_looked, may_go_on = asyncio.Event(), asyncio.Event()
    rows = Statements.rows

    async def looking(self: Statements, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found = await rows(self, statement, parameters)
        if statement.startswith("SELECT running, thread"):
            has_looked.set()
            await may_go_on.wait()
        return found

    async with opened(running_postgres, "races_5", clock) as store, asyncio.timeout(30):
        desk = Desk(store, clock)
        await desk.ask()
        await desk.answer("resp_2", ("mcpr_1", YES))
        monkeypatch.setattr(Statements, "rows", looking)
        answering = asyncio.create_task(desk.answer("resp_3", ("mcpr_1", YES)))
        await has_looked.wait()
        await desk.end("resp_2", checkpoint="c2")
        may_go_on.set()
        with pytest.raises(ApprovalAnswered):
            await answering
        assert (await desk.approvals())["mcpr_1"].used_by == "resp_2"


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
