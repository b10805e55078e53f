"""Readers of a run that changes its process, on every store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.runs.background import NODES, Nodes, Process, check_log, record_when_ended
from tests.runs.registered import ANN, rest
from tests.stores.conftest import (  # noqa: F401
    StoreOf,
    clock,
    postgres_store_of,
    running_postgres,
    sqlite_store_of,
    store_of,
)

from graph_agent.identity.owner import Owner
from graph_agent.runs.joining import Joining

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_of: StoreOf) -> AsyncIterator[Any]:  # noqa: F811
    made = store_of()
    await made.open()
    yield made
    await made.aclose()


@pytest.mark.parametrize("held", NODES)
@pytest.mark.parametrize("after", [-1, 4, 1000])
async def test_a_reader_of_a_run_that_is_given_away_goes_on_with_the_next_process(
    store: Any, held: str, after: int
) -> None:
    nodes = Nodes()
    nodes.hold(held)
    first = Process(store, nodes.graph()).begin()
    async with asyncio.timeout(20):
        run = await first.submit("Go.")
        await nodes.at[held].wait()
        reader = await Joining(first.runs).reader(ANN, run, store=store, after=after)
        reading = asyncio.create_task(rest(reader))
        await asyncio.sleep(0)
        await first.background.give_away()  # type: ignore[union-attr]
        nodes.open()
        second = Process(store, nodes.graph()).begin()
        late = await Joining(second.runs).reader(ANN, run, store=store, after=after)
        record = await record_when_ended(store, run)
        seen = await reading
        assert await rest(late) == seen
        await reader.leave()
        await first.aclose()
        whole = await rest(await Joining(second.runs).reader(ANN, run, store=store))
        await second.aclose()
    check_log([one.event for one in whole], record)
    assert seen == whole[after + 1 :]


async def test_a_run_in_the_queue_is_cancelled_by_whoever_takes_it(store: Any) -> None:
    nodes = Nodes()
    first = Process(store, nodes.graph())
    async with asyncio.timeout(20):
        run = await first.submit("Go.")
        second = Process(store, nodes.graph()).begin()
        await Joining(first.runs).cancel(ANN, run, store=store)
        record = await record_when_ended(store, run)
        await first.aclose()
        await second.aclose()
    assert record.status in ("cancelled", "completed")


@pytest.mark.parametrize("held", NODES)
async def test_a_run_in_the_background_is_cancelled_at_any_process(store: Any, held: str) -> None:
    nodes = Nodes()
    nodes.hold(held)
    first, second = Process(store, nodes.graph()).begin(), Process(store, nodes.graph())
    async with asyncio.timeout(20):
        run = await first.submit("Go.")
        await nodes.at[held].wait()
        await Joining(second.runs).cancel(ANN, run, store=store)
        record = await store.responses.get(Owner.of(ANN), run)
        whole = await rest(await Joining(second.runs).reader(ANN, run, store=store))
        await first.aclose()
        await second.aclose()
    assert record.status == "cancelled"
    assert nodes.done == [*NODES[: NODES.index(held)]]
    assert [one.type for one in whole][-2:] == ["error", "response.failed"]
