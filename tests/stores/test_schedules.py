"""Times of schedules in every store: each is dealt with once, whoever asks."""

import asyncio

import pytest
from tests.stores.accepted import Accepted
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, BOB, Clock

from graph_agent.errors import TooManyRuns
from graph_agent.stores.schedule_records import EarlierRunGoesOn, Tick, TickTaken
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


def tick(at: float, *, alone: bool = False) -> Tick:
    return Tick(schedule="daily", at=at, alone=alone)


async def test_a_schedule_that_is_new_begins_with_the_time_at_which_it_was_seen_first(store: Store) -> None:
    assert await store.schedules.last_tick(ANN, "daily", new=100) == 100
    assert await store.schedules.last_tick(ANN, "daily", new=200) == 100
    assert await store.schedules.last_tick(BOB, "daily", new=300) == 300
    assert await store.schedules.last_tick(ANN, "weekly", new=400) == 400


async def test_a_time_has_one_run_and_no_earlier_time_comes_after_it(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await store.schedules.last_tick(ANN, "daily", new=100)
    await runs.queue("resp_1", tick=tick(200))
    for number, at in enumerate((200, 150, 100)):
        with pytest.raises(TickTaken):
            await runs.queue(f"resp_late_{number}", tick=tick(at))
    assert await store.responses.find_conversation(ANN, "conv_resp_late_0") is None
    await runs.queue("resp_2", tick=tick(201))
    await runs.queue("resp_bob", owner=BOB, tick=tick(200))
    assert await store.schedules.last_tick(ANN, "daily", new=0) == 201


async def test_of_many_processes_one_begins_the_run_of_a_time(store_of: StoreOf, clock: Clock) -> None:
    stores = [store_of() for _ in range(3)]
    for store in stores:
        await store.open()

    async def begin(number: int, at: float) -> bool:
        try:
            await Accepted(stores[number % 3], clock).queue(f"resp_{number}_{at}", tick=tick(at))
        except TickTaken:
            return False
        return True

    for at in (200.0, 260.0):
        assert sum(await asyncio.gather(*(begin(number, at) for number in range(12)))) == 1
    assert len(await Accepted(stores[0], clock).claim()) == 2
    for store in stores:
        await store.aclose()


async def test_a_run_waits_for_the_end_of_the_earlier_one_of_its_schedule_unless_both_may_run(
    store: Store, clock: Clock
) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", tick=tick(100, alone=True))
    with pytest.raises(EarlierRunGoesOn) as refused:
        await runs.queue("resp_2", tick=tick(200, alone=True))
    assert refused.value.response == "resp_1"
    assert await store.schedules.last_tick(ANN, "daily", new=0) == 100
    await runs.queue("resp_both", tick=tick(200))
    await runs.finish((await runs.claim())[0].right)
    await runs.finish(right)
    await runs.queue("resp_3", tick=tick(300, alone=True))


async def test_a_time_that_was_taken_is_told_as_taken_though_its_run_goes_on(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.run("resp_1", tick=tick(100, alone=True))
    with pytest.raises(TickTaken):
        await runs.queue("resp_2", tick=tick(100, alone=True))


async def test_a_time_is_passed_over_once_and_has_no_run_then(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", tick=tick(100, alone=True))
    assert await store.schedules.pass_over(ANN, "daily", 200)
    assert not await store.schedules.pass_over(ANN, "daily", 200)
    with pytest.raises(TickTaken):
        await runs.queue("resp_2", tick=tick(200))
    # The earlier run is still known.
    with pytest.raises(EarlierRunGoesOn):
        await runs.queue("resp_2", tick=tick(300, alone=True))
    await runs.finish(right)
    await runs.queue("resp_2", tick=tick(300, alone=True))


async def test_a_full_queue_does_not_take_the_time(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.queue("resp_other")
    with pytest.raises(TooManyRuns):
        await runs.queue("resp_1", tick=tick(100), most_queued=1)
    await runs.claim()
    await runs.queue("resp_1", tick=tick(100), most_queued=1)


async def test_everything_of_an_owner_includes_what_their_schedules_have_done(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.finish(await runs.run("resp_1", tick=tick(100)))
    await store.schedules.last_tick(BOB, "daily", new=100)
    await store.forget(ANN)
    assert await store.schedules.last_tick(ANN, "daily", new=500) == 500
    assert await store.schedules.last_tick(BOB, "daily", new=500) == 100
