"""News between the processes that share a store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from tests.stores.accepted import HERE, THERE, Accepted, batch, wakes
from tests.stores.conftest import StoreOf
from tests.stores.postgres_server import PostgresServer, postgres_server
from tests.stores.turns import ANN, Clock

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.postgres_sign_in import UrlSignIn
from graph_agent.stores.postgres_signals import channel_of
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.store import QUEUE, Listening, Store

pytestmark = pytest.mark.anyio

Two = tuple[Store, Store]


@pytest.fixture
async def two(store_of: StoreOf) -> AsyncIterator[Two]:
    """Two open stores with the same data, as those of two processes."""
    async with AsyncExitStack() as closing:
        opened = []
        for _ in range(2):
            store = store_of()
            await store.open()
            closing.push_async_callback(store.aclose)
            opened.append(store)
        yield opened[0], opened[1]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the tests of this file may stop."""
    with postgres_server() as server:
        yield server


async def quiet(listener: Listening) -> None:
    """Return once everything that has happened so far has arrived."""
    while await wakes(listener, within=0.3):
        pass


async def ready(store: Store, listener: Listening) -> None:
    """Return once news arrive. `listener` is the first one of the store."""
    if store.may_be_shared:
        # Everybody is woken when the connection is there.
        assert await wakes(listener)
    await quiet(listener)


async def test_new_events_and_the_end_of_a_run_arrive_in_the_other_process(two: Two, clock: Clock) -> None:
    here, there = two
    runs = Accepted(here, clock)
    right = await runs.run("resp_1")
    async with there.signals.listening("resp_1") as listener:
        await ready(there, listener)
        await here.runs.append([batch(right, 0, 1)])
        assert await wakes(listener)
        # The news came with the transaction, not before it.
        assert len(await there.runs.events(ANN, "resp_1", after=-1, most=9)) == 1
        await quiet(listener)
        await runs.finish(right)
        assert await wakes(listener)
        assert (await there.responses.get(ANN, "resp_1")).status == "completed"


async def test_a_process_hears_of_runs_that_wait_and_of_cancellations(two: Two, clock: Clock) -> None:
    here, there = two
    async with here.signals.listening(QUEUE) as queue, here.signals.listening(HERE) as cancelled:
        await ready(here, queue)
        await Accepted(there, clock, THERE).queue("resp_1")
        assert await wakes(queue)
        right = (await Accepted(here, clock).claim())[0].right
        await quiet(cancelled)
        await there.runs.cancel(ANN, "resp_1")
        assert await wakes(cancelled)
        await quiet(queue)
        await here.runs.release(right, process=HERE, to="parked")
        assert await wakes(queue)


async def test_news_that_comes_between_two_waits_is_not_lost(store: Store, clock: Clock) -> None:
    async with store.signals.listening(QUEUE) as listener:
        await ready(store, listener)
        await Accepted(store, clock).queue("resp_1")
        await asyncio.sleep(0.1)
        assert await wakes(listener)


async def test_nobody_is_woken_by_what_is_rolled_back_or_concerns_others(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    async with store.signals.listening(QUEUE) as queue, store.signals.listening("resp_2") as other:
        await ready(store, queue)
        await quiet(other)
        await store.runs.append([batch(right, 0, 1)])
        assert not await wakes(other, within=0.3)
        with pytest.raises(Exception, match="wait"):
            await runs.queue("resp_3", most_queued=0)
        assert not await wakes(queue, within=0.3)


async def test_a_store_that_is_not_open_says_so(postgres_store_of: StoreOf) -> None:
    store = postgres_store_of()
    with pytest.raises(StoreUnavailable):
        _ = store.signals


async def connections(server: PostgresServer, schema: str) -> int:
    """Connections that have begun to listen, and have done nothing else since."""
    listening = "SELECT COUNT(*) FROM pg_stat_activity WHERE query = %s"
    found = await asyncio.to_thread(server.execute, listening, f'LISTEN "{channel_of(schema)}"')
    return int(found[0][0])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the database is asked
            await asyncio.sleep(0.02)


async def test_a_database_is_not_listened_to_before_somebody_waits(
    running_postgres: PostgresServer, clock: Clock
) -> None:
    store = PostgresStore(lambda: UrlSignIn(running_postgres.url, {}), schema="signals_lazy", clock=clock)
    await store.open()
    await Accepted(store, clock).run("resp_1")
    assert await connections(running_postgres, "signals_lazy") == 0
    async with store.signals.listening("a"), store.signals.listening("b"):

        async def one() -> bool:
            return await connections(running_postgres, "signals_lazy") == 1

        await until(one)
    await store.aclose()

    async def none() -> bool:
        return await connections(running_postgres, "signals_lazy") == 0

    await until(none)


async def test_stores_in_other_schemas_are_not_heard(running_postgres: PostgresServer, clock: Clock) -> None:
    def made(schema: str) -> PostgresStore:
        return PostgresStore(lambda: UrlSignIn(running_postgres.url, {}), schema=schema, clock=clock)

    here, there = made("signals_here"), made("signals_there")
    await here.open()
    await there.open()
    async with here.signals.listening(QUEUE) as listener:
        await ready(here, listener)
        await Accepted(there, clock).queue("resp_1")
        assert not await wakes(listener, within=0.3)
    await here.aclose()
    await there.aclose()


async def test_listening_goes_on_after_the_database_was_away_and_wakes_everybody(
    own_postgres: PostgresServer, clock: Clock
) -> None:
    store = PostgresStore(lambda: UrlSignIn(own_postgres.url, {}), schema="signals_away", clock=clock)
    await store.open()
    async with store.signals.listening(QUEUE) as queue, store.signals.listening("resp_1") as other:
        await ready(store, queue)
        await quiet(other)
        await asyncio.to_thread(own_postgres.stop)
        assert not await wakes(queue, within=0.3)
        await asyncio.to_thread(own_postgres.start)
        assert await wakes(queue)
        assert await wakes(other)
        await quiet(queue)

        async def queued() -> bool:
            try:
                await Accepted(store, clock).queue("resp_1")
            except StoreUnavailable:
                return False
            return True

        await until(queued)
        assert await wakes(queue)
    await store.aclose()


async def test_a_connection_that_was_dropped_is_replaced(own_postgres: PostgresServer, clock: Clock) -> None:
    store = PostgresStore(lambda: UrlSignIn(own_postgres.url, {}), schema="signals_dropped", clock=clock)
    await store.open()
    async with store.signals.listening(QUEUE) as queue:
        await ready(store, queue)
        await asyncio.to_thread(own_postgres.drop_connections)
        assert await wakes(queue)
        await quiet(queue)
        await Accepted(store, clock).queue("resp_1")
        assert await wakes(queue)
    await store.aclose()
