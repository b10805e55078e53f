"""Webhooks in every store: recorded with the end of a run, sent by one process at a time, gone with their response."""

import asyncio
from collections.abc import Sequence

import anyio
import pytest
from tests.stores.accepted import Accepted, batch, wakes
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, BOB, Clock

from graph_agent.errors import LeaseLost
from graph_agent.stores.delivery_records import Delivery
from graph_agent.stores.records import ResponseStatus
from graph_agent.stores.retention import ExpiringStore
from graph_agent.stores.run_records import Right
from graph_agent.stores.store import DELIVERIES, Store

pytestmark = pytest.mark.anyio


async def claimed(store: Store, *, most: int = 10, busy_seconds: float = 60, **free: int) -> Sequence[Delivery]:
    return await store.deliveries.claim(free or {"here": 10}, most=most, busy_seconds=busy_seconds)


def names(found: Sequence[Delivery]) -> list[str]:
    return sorted(one.response for one in found)


async def ended(store: Store, clock: Clock, response: str, **run: object) -> Right:
    """A run that has ended."""
    runs = Accepted(store, clock)
    right = await runs.run(response, **{"webhook": "here", **run})
    await runs.finish(right)
    return right


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled"])
async def test_the_end_of_a_run_records_its_webhook_once(store: Store, clock: Clock, status: ResponseStatus) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", webhook="here")
    await runs.run("resp_plain")
    assert await claimed(store) == ()
    assert await store.deliveries.due_in(["here"]) is None
    for _ in range(2):
        # As if the answer to the first transaction was lost.
        await runs.finish(right, status=status, last=batch(right, 0, 1))
    [one] = await claimed(store)
    assert (one.owner, one.response, one.target, one.tries) == (ANN, "resp_1", "here", 1)
    assert one.type == f"response.{status}"
    assert one.id.startswith("wh_")
    assert 0 <= one.age < 60


async def test_a_process_that_has_lost_its_run_records_no_webhook(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    before = await runs.run("resp_1", webhook="here", busy_seconds=-1)
    [taken] = await Accepted(store, clock, "process_there").claim()
    with pytest.raises(LeaseLost):
        await runs.finish(before)
    assert await claimed(store) == ()
    await runs.finish(taken.right)
    assert names(await claimed(store)) == ["resp_1"]


async def test_one_process_at_a_time_sends_a_message_and_its_id_stays(store_of: StoreOf, clock: Clock) -> None:
    stores = [store_of() for _ in range(3)]
    for store in stores:
        await store.open()
    for number in range(6):
        await ended(stores[0], clock, f"resp_{number}")
    found = [one for some in await asyncio.gather(*map(claimed, stores * 3)) for one in some]
    assert names(found) == [f"resp_{number}" for number in range(6)]
    # Their process is gone: the lease has ended.
    [first, *_] = found
    await stores[0].deliveries.retry(first, seconds=-1)
    [again] = await claimed(stores[1])
    assert (again.id, again.response, again.tries) == (first.id, first.response, 2)
    # The first process is too late.
    await stores[0].deliveries.done(first)
    await stores[0].deliveries.retry(first, seconds=-1)
    assert await claimed(stores[0]) == ()
    await stores[1].deliveries.done(again)
    for one in found[1:]:
        await stores[2].deliveries.done(one)
    assert await stores[0].deliveries.due_in(["here"]) is None
    for store in stores:
        await store.aclose()


async def test_a_message_whose_process_is_gone_is_due_again(store: Store, clock: Clock) -> None:
    await ended(store, clock, "resp_1")
    await claimed(store, busy_seconds=-1)
    assert names(await claimed(store)) == ["resp_1"]
    assert 50 < (await store.deliveries.due_in(["here"]) or 0) <= 60


async def test_a_target_with_many_messages_does_not_hold_up_the_others(store: Store, clock: Clock) -> None:
    for number in range(5):
        await ended(store, clock, f"resp_slow_{number}", webhook="slow")
    await ended(store, clock, "resp_quick", webhook="quick")
    await ended(store, clock, "resp_unknown", webhook="unknown")
    assert names(await claimed(store, slow=2, quick=2)) == ["resp_quick", "resp_slow_0", "resp_slow_1"]
    assert await claimed(store, slow=0, quick=1) == ()
    assert names(await claimed(store, most=1, slow=3)) == ["resp_slow_2"]


async def test_a_message_that_is_due_wakes_those_who_listen(store: Store, clock: Clock) -> None:
    async with store.signals.listening(DELIVERIES) as listener:
        while await wakes(listener, within=0.3):
            pass
        await ended(store, clock, "resp_1")
        assert await wakes(listener)


@pytest.mark.parametrize("how", ["response", "conversation", "everything", "expiry"])
async def test_a_message_goes_with_its_response(store: Store, clock: Clock, how: str) -> None:
    await ended(store, clock, "resp_1")
    await ended(store, clock, "resp_bob", owner=BOB)
    match how:
        case "response":
            await store.responses.delete(ANN, "resp_1")
        case "conversation":
            await store.responses.delete_conversation(ANN, "conv_resp_1")
        case "everything":
            await store.forget(ANN)
        case "expiry":
            clock.now += 100
            await store.responses.expire(idle_since=clock.now - 50)
    assert names(await claimed(store)) == ([] if how == "expiry" else ["resp_bob"])


async def test_messages_without_a_target_do_not_stay_for_ever(
    store_of: StoreOf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.stores.retention.DELIVERY_SECONDS", -1.0)
    store = ExpiringStore(store_of(), event_seconds=0.05, clock=clock)
    await store.open()
    await ended(store, clock, "resp_1", webhook="gone")
    with anyio.fail_after(20):
        while await store.deliveries.due_in(["gone"]) is not None:  # noqa: ASYNC110 - the store itself is asked
            await asyncio.sleep(0.01)
    await store.aclose()
