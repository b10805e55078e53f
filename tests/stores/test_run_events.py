"""The events of runs in a store."""

from collections.abc import Awaitable, Callable

import pytest
from tests.stores.accepted import HERE, Accepted, batch, event, events
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, LEASE, Clock, Turns

from graph_agent.stores.run_records import EventBatch, Right
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


async def every(store: Store, response: str, *, after: int = -1, most: int = 100) -> list[bytes]:
    """All events after a number, read piece by piece."""
    found: list[bytes] = []
    while some := await store.runs.events(ANN, response, after=after + len(found), most=most):
        found += some
    return found


@pytest.mark.parametrize("most", [1, 7, 1000])
async def test_events_are_read_from_any_number(store: Store, clock: Clock, most: int) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", events=events(0, 2))
    at = 2
    # In pieces as they come: single events, and more than fit into one row.
    for count in (1, 1, 3, 450, 1):
        assert not await store.runs.append([batch(right, at, count)])
        at += count
    for after in (-1, 0, 1, 3, 100, at - 2, at - 1, at + 5):
        assert await every(store, "resp_1", after=after, most=most) == list(events(after + 1, at - after - 1))


async def test_a_reader_that_is_far_behind_gets_pieces_of_about_the_size_it_asked_for(
    store: Store, clock: Clock
) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    for number in range(30):
        await store.runs.append([batch(right, number, 1)])
    await store.runs.append([batch(right, 30, 1000)])
    assert len(await store.runs.events(ANN, "resp_1", after=-1, most=10)) == 10
    assert 10 <= len(await store.runs.events(ANN, "resp_1", after=29, most=10)) <= 210


async def test_events_of_several_runs_are_committed_together(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    rights = [await runs.run(f"resp_{number}") for number in range(3)]
    lost = Right(owner=ANN, response="resp_1", attempt=7)
    gone = await store.runs.append([batch(rights[2], 0, 2), batch(lost, 0, 2), batch(rights[0], 0, 2)])
    assert gone == {"resp_1"}
    assert [len(await every(store, f"resp_{number}")) for number in range(3)] == [2, 0, 2]


async def test_events_that_are_sent_again_are_there_once(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    for count in (3, 3, 5):
        # As after an answer that was lost, and then with more that has come meanwhile.
        assert not await store.runs.append([batch(right, 0, count)])
    assert not await store.runs.append([batch(right, 3, 1)])
    assert await every(store, "resp_1") == list(events(0, 5))
    await runs.finish(right, last=batch(right, 3, 4))
    assert await every(store, "resp_1") == list(events(0, 7))


async def test_events_are_not_written_with_a_gap(store: Store, clock: Clock) -> None:
    right = await Accepted(store, clock).run("resp_1")
    assert await store.runs.append([batch(right, 1, 1)]) == {"resp_1"}
    assert await every(store, "resp_1") == []


async def test_an_ended_run_takes_no_more_events(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    await runs.finish(right, last=batch(right, 0, 1))
    assert await store.runs.append([batch(right, 1, 1)]) == {"resp_1"}
    assert await every(store, "resp_1") == [event(0)]


async def test_any_text_comes_back_as_it_was(store: Store, clock: Clock) -> None:
    right = await Accepted(store, clock).run("resp_1")
    said = '{"delta":"a\\u0000b\\nü\u2028😀"}'.encode()
    await store.runs.append([EventBatch(right=right, first=0, events=(said, said))])
    assert await store.runs.events(ANN, "resp_1", after=-1, most=10) == [said, said]


async def test_events_and_keys_of_runs_that_ended_long_ago_are_deleted(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_old", key="k", digest="d")
    await runs.finish(right, last=batch(right, 0, 3))
    await runs.run("resp_running", key="l", digest="d", events=events(0, 1))
    assert await store.runs.expire_events(older_seconds=600) == 0
    assert len(await every(store, "resp_old")) == 3
    # A time that lies ahead.
    assert await store.runs.expire_events(older_seconds=-600) == 1
    assert await store.runs.expire_events(older_seconds=-600) == 0
    run = await store.runs.get(ANN, "resp_old")
    assert run is not None
    assert (run.state, run.has_events, run.events, run.attempt) == ("ended", False, 3, 1)
    assert await every(store, "resp_old") == []
    assert await store.runs.with_key(ANN, "k") is None
    assert await store.runs.with_key(ANN, "l") is not None
    assert len(await every(store, "resp_running")) == 1
    assert (await store.responses.get(ANN, "resp_old")).status == "completed"


async def test_events_of_any_number_of_runs_are_deleted(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    for number in range(25):
        right = await runs.run(f"resp_{number}")
        await runs.finish(right, last=batch(right, 0, 1))
    assert await store.runs.expire_events(older_seconds=-600) == 25
    assert [await every(store, f"resp_{number}") for number in range(25)] == [[]] * 25


async def test_a_run_in_the_foreground_whose_process_is_gone_ends_with_its_events(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.start("resp_1", events=events(0, 1), key="k")
    assert await store.runs.expire_events(older_seconds=-600) == 0
    clock.now += LEASE + 61
    assert await store.runs.expire_events(older_seconds=-600) == 1
    run = await store.runs.get(ANN, "resp_1")
    assert run is not None
    assert (run.state, run.has_events, run.process) == ("ended", False, None)
    assert await store.runs.append([batch(right, 1, 1)]) == {"resp_1"}


async def delete_response(store: Store) -> None:
    await store.responses.delete(ANN, "resp_1")


async def delete_conversation(store: Store) -> None:
    await store.responses.delete_conversation(ANN, "conv_resp_1")


async def expire(store: Store) -> None:
    await store.responses.expire(idle_since=1e12)


async def forget(store: Store) -> None:
    await store.forget(ANN)


@pytest.mark.parametrize("remove", [delete_response, delete_conversation, expire, forget])
async def test_a_deleted_response_leaves_no_run_no_events_and_no_key(
    store: Store, clock: Clock, remove: Callable[[Store], Awaitable[None]]
) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", key="k", digest="d")
    await runs.finish(right, last=batch(right, 0, 3))
    await remove(store)
    assert await store.runs.get(ANN, "resp_1") is None
    assert await every(store, "resp_1") == []
    assert await store.runs.with_key(ANN, "k") is None


@pytest.mark.parametrize("remove", [delete_response, delete_conversation, expire, forget])
async def test_a_run_that_waits_for_a_token_can_be_deleted(
    store: Store, clock: Clock, remove: Callable[[Store], Awaitable[None]]
) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", key="k", digest="d", events=events(0, 1))
    await store.runs.release(right, process=HERE, to="parked")
    await remove(store)
    assert await store.runs.get(ANN, "resp_1") is None
    assert await every(store, "resp_1") == []
    assert not await store.runs.wake(ANN, "resp_1", home=HERE)
    assert await store.responses.find_conversation(ANN, "conv_resp_1") is None


async def test_deleting_a_response_leaves_the_others_of_its_conversation(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", key="k", digest="d")
    await runs.finish(right, last=batch(right, 0, 3))
    turns = Turns(store, clock, "conv_resp_1")
    turns.known, turns.thread = True, "thread_ann_resp_1"
    await turns.turn("resp_2", after="resp_1")
    await store.responses.delete(ANN, "resp_2")
    assert len(await every(store, "resp_1")) == 3
    assert await store.runs.with_key(ANN, "k") is not None


async def test_another_process_reads_what_one_has_committed(store_of: StoreOf, clock: Clock) -> None:
    one, other = store_of(), store_of()
    await one.open()
    await other.open()
    right = await Accepted(one, clock, HERE).run("resp_1")
    await one.runs.append([batch(right, 0, 2)])
    assert await every(other, "resp_1") == list(events(0, 2))
    await one.aclose()
    await other.aclose()
