"""Runs that wait in a store for a process, and who may run them."""

import asyncio

import pytest
from tests.stores.accepted import GONE, HERE, PLENTY, THERE, Accepted, batch, events, names
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, BOB, LEASE, Clock, Turns

from graph_agent.errors import ConversationBusy, IdempotencyKeyUsed, LeaseLost, TooManyRuns
from graph_agent.identity.owner import Owner
from graph_agent.stores.run_records import Right, RunLimits, StoredRun
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


async def found(store: Store, response: str, owner: Owner = ANN) -> StoredRun:
    run = await store.runs.get(owner, response)
    assert run is not None
    return run


async def next_millisecond() -> None:
    """Return when the clocks of all databases have moved: SQLite's shows milliseconds."""
    await asyncio.sleep(0.002)


async def test_a_background_run_waits_in_the_queue_until_a_process_takes_it(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.queue("resp_1", request='{"input":"hi"}', digest="d", seconds=600)
    assert (await store.responses.get(ANN, "resp_1")).status == "queued"
    waiting = await found(store, "resp_1")
    assert (waiting.state, waiting.process, waiting.attempt, waiting.digest) == ("queued", None, 0, "d")

    [claimed] = await runs.claim()
    assert (claimed.owner, claimed.response, claimed.attempt, claimed.request) == (ANN, "resp_1", 1, '{"input":"hi"}')
    assert (claimed.events, claimed.crashes, claimed.cancelled, claimed.needs_token) == (0, 0, False, False)
    assert 590 < claimed.seconds_left <= 600
    assert (await store.responses.get(ANN, "resp_1")).status == "in_progress"
    running = await found(store, "resp_1")
    assert (running.state, running.process, running.attempt) == ("running", HERE, 1)
    assert await Accepted(store, clock, THERE).claim() == []


async def test_a_store_counts_the_background_runs_of_everybody_that_have_not_ended(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.start("resp_foreground")
    for number, owner in enumerate((ANN, ANN, BOB)):
        await runs.queue(f"resp_{number}", owner=owner)
        await next_millisecond()
    [first, second] = await runs.claim(limits=RunLimits(here=2, per_owner=9, in_all=9))
    await runs.finish(first.right)
    assert second.response == "resp_1"
    assert dict(await store.runs.counts()) == {"queued": 1, "running": 1}


async def test_a_conversation_stays_busy_while_its_run_waits(store: Store, clock: Clock) -> None:
    await Accepted(store, clock).queue("resp_1")
    clock.now += 1000 * LEASE
    with pytest.raises(ConversationBusy):
        await store.responses.delete_conversation(ANN, "conv_resp_1")
    with pytest.raises(ConversationBusy):
        await store.responses.delete(ANN, "resp_1")
    with pytest.raises(ConversationBusy):
        await store.forget(ANN)
    assert (await store.responses.get(ANN, "resp_1")).status == "queued"


async def test_a_run_in_the_foreground_belongs_to_its_process_from_the_start(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.start("resp_1", events=events(0, 2))
    run = await found(store, "resp_1")
    assert (run.state, run.process, run.attempt, run.events, run.background) == ("running", HERE, 1, 2, False)
    assert await Accepted(store, clock, THERE).claim() == []


async def test_the_oldest_runs_are_taken_first(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    for number in (3, 1, 2):
        await runs.queue(f"resp_{number}")
        await next_millisecond()
    assert names(await runs.claim(limits=RunLimits(here=2, per_owner=9, in_all=9))) == ["resp_3", "resp_1"]
    assert names(await runs.claim()) == ["resp_2"]


async def test_an_owner_with_many_runs_does_not_keep_others_waiting(store: Store, clock: Clock) -> None:
    runs, limits = Accepted(store, clock), RunLimits(here=9, per_owner=2, in_all=9)
    for number in range(4):
        await runs.queue(f"resp_ann_{number}")
        await next_millisecond()
    await runs.queue("resp_bob", owner=BOB)
    claimed = await runs.claim(limits=limits)
    assert names(claimed) == ["resp_ann_0", "resp_ann_1", "resp_bob"]
    assert await runs.claim(limits=limits) == []
    await runs.finish(claimed[0].right)
    assert names(await Accepted(store, clock, THERE).claim(limits=limits)) == ["resp_ann_2"]


async def test_no_more_runs_are_active_than_all_processes_together_may_have(store: Store, clock: Clock) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    limits = RunLimits(here=2, per_owner=9, in_all=3)
    for number in range(5):
        await here.queue(f"resp_{number}")
        await next_millisecond()
    assert names(await here.claim(limits=limits)) == ["resp_0", "resp_1"]
    assert names(await there.claim(limits=limits)) == ["resp_2"]
    assert await here.claim(limits=limits) == []


async def test_processes_that_claim_at_the_same_moment_share_the_runs(store_of: StoreOf, clock: Clock) -> None:
    stores = [store_of() for _ in range(4)]
    for store in stores:
        await store.open()
    for number in range(40):
        await Accepted(stores[0], clock).queue(f"resp_{number}", owner=Owner(f"owner_{number % 4}"))
    limits = RunLimits(here=3, per_owner=5, in_all=18)
    processes = [Accepted(stores[number % 4], clock, f"process_{number}") for number in range(12)]
    claimed = [one for some in await asyncio.gather(*(one.claim(limits=limits) for one in processes)) for one in some]
    assert len(claimed) == len(set(names(claimed))) == 18
    owners = [one.owner for one in claimed]
    assert max(owners.count(owner) for owner in owners) <= 5
    for store in stores:
        await store.aclose()


async def test_a_run_whose_process_is_gone_is_taken_over_and_its_process_can_write_nothing_more(
    store: Store, clock: Clock
) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    before = await here.run("resp_1", busy_seconds=GONE)
    await store.runs.append([batch(before, 0, 3)])
    [claimed] = await there.claim()
    assert (claimed.attempt, claimed.events, claimed.crashes) == (2, 3, 1)
    assert await store.runs.append([batch(before, 3, 1)]) == {"resp_1"}
    renewed = await store.runs.renew(HERE, {"resp_1": 1}, busy_seconds=60)
    assert renewed.lost == {"resp_1"}
    with pytest.raises(LeaseLost):
        await store.runs.release(before, process=HERE, to="queued")
    with pytest.raises(LeaseLost):
        await here.finish(before, last=batch(before, 3, 1))
    assert (await store.responses.get(ANN, "resp_1")).status == "in_progress"
    assert (await found(store, "resp_1")).events == 3

    await there.finish(claimed.right, last=batch(claimed.right, 3, 1))
    assert (await store.responses.get(ANN, "resp_1")).status == "completed"


async def test_each_end_without_a_word_counts(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.queue("resp_1")
    crashes = [(await runs.claim(busy_seconds=GONE))[0].crashes for _ in range(4)]
    assert crashes == [0, 1, 2, 3]


async def test_the_deadline_is_counted_from_the_first_start(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.queue("resp_1", seconds=100)
    [first] = await runs.claim(busy_seconds=GONE)
    [second] = await runs.claim(busy_seconds=GONE)
    assert 99.9 < first.seconds_left <= 100
    assert 0 < second.seconds_left <= first.seconds_left


async def test_a_renewed_run_is_not_taken_over(store: Store, clock: Clock) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    await here.run("resp_1", busy_seconds=GONE)
    renewed = await store.runs.renew(HERE, {"resp_1": 1}, busy_seconds=60)
    assert (set(renewed.lost), set(renewed.cancelled)) == (set(), set())
    assert await there.claim() == []
    assert (await found(store, "resp_1")).process == HERE


async def test_a_run_that_a_process_was_given_without_learning_of_it_is_taken_over(store: Store, clock: Clock) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    await here.run("resp_1", busy_seconds=GONE)
    # The answer to this is lost.
    await here.claim(busy_seconds=GONE)
    renewed = await store.runs.renew(HERE, {"resp_1": 1, "resp_2": 1}, busy_seconds=60)
    assert renewed.lost == {"resp_1", "resp_2"}
    assert [(one.response, one.attempt) for one in await there.claim()] == [("resp_1", 3)]


async def test_a_process_whose_lease_has_expired_does_not_have_the_run(store: Store, clock: Clock) -> None:
    await Accepted(store, clock).run("resp_1", busy_seconds=GONE)
    assert (await found(store, "resp_1")).process is None


async def test_a_run_ends_once_with_its_last_events(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", request='{"input":"hi"}')
    await store.runs.append([batch(right, 0, 2)])
    for _ in range(2):
        # The second time as after an answer that was lost.
        await runs.finish(right, last=batch(right, 2, 2))
    run = await found(store, "resp_1")
    assert (run.state, run.process, run.events) == ("ended", None, 4)
    assert run.ended_at is not None
    assert run.ended_at >= run.accepted_at
    assert tuple(await store.runs.events(ANN, "resp_1", after=-1, most=10)) == events(0, 4)
    stored = await store.responses.get(ANN, "resp_1")
    assert (stored.status, [one["id"] for one in stored.output]) == ("completed", ["out_resp_1"])
    conversation = await store.responses.find_conversation(ANN, "conv_resp_1")
    assert conversation is not None
    assert conversation.head == "resp_1"
    with pytest.raises(LeaseLost):
        await runs.finish(Right(owner=ANN, response="resp_1", attempt=2))
    assert await runs.claim() == []


async def test_nothing_of_an_end_is_written_if_the_right_is_lost(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.start("resp_1")
    turns = Turns(store, clock, "conv_resp_1")
    turns.known, turns.thread = True, "thread_ann_resp_1"
    clock.now += LEASE + 1
    await turns.begin("resp_2", after="resp_1")
    with pytest.raises(LeaseLost):
        await runs.finish(right, last=batch(right, 0, 1))
    lost = await found(store, "resp_1")
    assert (lost.state, lost.events) == ("ended", 0)
    assert (await store.responses.get(ANN, "resp_1")).status == "failed"


async def test_a_run_in_the_foreground_lives_as_long_as_it_has_its_conversation(store: Store, clock: Clock) -> None:
    await Accepted(store, clock).start("resp_1")
    assert (await found(store, "resp_1")).process == HERE
    clock.now += LEASE + 1
    assert (await found(store, "resp_1")).process is None


async def test_a_run_that_is_given_back_is_taken_by_another_process_and_counts_no_crash(
    store: Store, clock: Clock
) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    right = await here.run("resp_1", needs_token=True)
    await store.runs.release(right, process=HERE, to="queued")
    assert (await found(store, "resp_1")).state == "queued"
    assert (await store.responses.get(ANN, "resp_1")).status == "in_progress"
    [claimed] = await there.claim()
    assert (claimed.attempt, claimed.crashes) == (2, 0)


async def test_a_parked_run_is_nobodys_until_somebody_has_a_token(store: Store, clock: Clock) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    right = await here.run("resp_1", needs_token=True)
    await store.runs.release(right, process=HERE, to="parked")
    assert (await found(store, "resp_1")).state == "parked"
    assert await here.claim() == []
    assert not await store.runs.wake(BOB, "resp_1", home=THERE)
    assert await store.runs.wake(ANN, "resp_1", home=THERE)
    assert not await store.runs.wake(ANN, "resp_1", home=THERE)
    assert await here.claim() == []
    assert names(await there.claim()) == ["resp_1"]


async def test_a_parked_run_is_given_to_a_process_when_its_time_is_used_up(store: Store, clock: Clock) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    right = await here.run("resp_1", needs_token=True, seconds=0.0)
    await store.runs.release(right, process=HERE, to="parked")
    await next_millisecond()
    [overdue] = await there.claim()
    assert overdue.seconds_left <= 0
    await there.finish(overdue.right, status="incomplete")
    assert await store.responses.get(ANN, "resp_1")
    await store.responses.delete_conversation(ANN, "conv_resp_1")


async def test_a_run_that_needs_a_token_waits_for_the_process_that_has_it(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    await here.queue("resp_1", needs_token=True)
    assert await there.claim() == []
    [claimed] = await here.claim()
    assert claimed.needs_token
    await here.queue("resp_2", needs_token=True)
    # The process that has the token does not come.
    monkeypatch.setattr("graph_agent.stores.sql_runs.HOME_SECONDS", GONE)
    assert names(await there.claim()) == ["resp_2"]


async def test_a_running_run_is_cancelled_by_its_process(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.run("resp_1")
    await runs.start("resp_2")
    await store.runs.cancel(BOB, "resp_1")
    assert not (await found(store, "resp_1")).cancelled
    for response in ("resp_1", "resp_2"):
        await store.runs.cancel(ANN, response)
        assert (await found(store, response)).cancelled
    renewed = await store.runs.renew(HERE, {"resp_1": 1, "resp_2": 1}, busy_seconds=60)
    assert (set(renewed.cancelled), set(renewed.lost)) == ({"resp_1", "resp_2"}, set())


async def test_runs_that_wait_are_given_to_any_process_to_be_cancelled_whatever_the_limits(
    store: Store, clock: Clock
) -> None:
    here, there = Accepted(store, clock), Accepted(store, clock, THERE)
    right = await here.run("resp_parked", needs_token=True)
    await store.runs.release(right, process=HERE, to="parked")
    await here.queue("resp_waits")
    await here.queue("resp_queued", needs_token=True)
    for response in ("resp_parked", "resp_queued"):
        await store.runs.cancel(ANN, response)
    claimed = await there.claim(limits=RunLimits(here=0, per_owner=1, in_all=1))
    assert [(one.response, one.cancelled) for one in claimed] == [("resp_parked", True), ("resp_queued", True)]
    for one in claimed:
        await there.finish(one.right, status="cancelled")
    assert (await store.responses.get(ANN, "resp_queued")).status == "cancelled"
    await store.runs.cancel(ANN, "resp_queued")
    assert not await store.runs.wake(ANN, "resp_queued", home=HERE)


async def test_a_run_that_is_cancelled_while_it_is_parked_does_not_stay(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    await store.runs.cancel(ANN, "resp_1")
    await store.runs.release(right, process=HERE, to="parked")
    assert [(one.response, one.cancelled) for one in await runs.claim()] == [("resp_1", True)]


async def test_all_background_runs_of_an_owner_are_cancelled_and_no_others(store: Store, clock: Clock) -> None:
    here = Accepted(store, clock)
    parked = await here.run("resp_parked", needs_token=True)
    running = await here.run("resp_running")
    await store.runs.release(parked, process=HERE, to="parked")
    await here.queue("resp_queued")
    await here.queue("resp_bob", owner=BOB)
    await here.start("resp_foreground")
    assert sorted(await store.runs.cancel_all(ANN)) == ["resp_parked", "resp_queued", "resp_running"]
    assert list(await store.runs.cancelled(HERE)) == ["resp_running"]
    none = RunLimits(here=0, per_owner=1, in_all=1)
    claimed = await Accepted(store, clock, THERE).claim(limits=none)
    assert sorted((one.response, one.cancelled) for one in claimed) == [("resp_parked", True), ("resp_queued", True)]
    for right in (running, *(one.right for one in claimed)):
        await here.finish(right, status="cancelled")
    assert list(await store.runs.cancel_all(ANN)) == []
    assert not (await found(store, "resp_bob", BOB)).cancelled
    assert not (await found(store, "resp_foreground")).cancelled
    with pytest.raises(ConversationBusy) as busy:
        await store.forget(ANN)
    assert busy.value.running == "resp_foreground"


async def test_a_full_queue_refuses_further_runs_and_says_when_to_come_back(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    for number in range(2):
        await runs.queue(f"resp_{number}", most_queued=2)
    with pytest.raises(TooManyRuns) as refused:
        await runs.queue("resp_2", most_queued=2)
    assert refused.value.retry_after == 10
    assert "2 background runs are waiting" in refused.value.message
    assert await store.runs.get(ANN, "resp_2") is None
    assert await store.responses.find_conversation(ANN, "conv_resp_2") is None
    await runs.claim(limits=RunLimits(here=1, per_owner=1, in_all=1))
    await runs.queue("resp_2", most_queued=2)


async def test_a_key_finds_the_run_that_was_asked_for_with_it(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    assert await store.runs.with_key(ANN, "k") is None
    await runs.start("resp_1", key="k", digest="d")
    keyed = await store.runs.with_key(ANN, "k")
    assert keyed is not None
    assert (keyed.response, keyed.digest) == ("resp_1", "d")
    assert await store.runs.with_key(BOB, "k") is None
    await runs.start("resp_2", owner=BOB, key="k", digest="e")
    with pytest.raises(IdempotencyKeyUsed):
        await runs.start("resp_3", key="k", digest="d")
    assert await store.responses.find_conversation(ANN, "conv_resp_3") is None


async def test_the_same_key_many_times_at_once_begins_one_run(store_of: StoreOf, clock: Clock) -> None:
    one, other = store_of(), store_of()
    await one.open()
    await other.open()
    begun = await asyncio.gather(
        *(Accepted((one, other)[number % 2], clock).queue(f"resp_{number}", key="k") for number in range(20)),
        return_exceptions=True,
    )
    assert [type(end) for end in begun if end is not None] == [IdempotencyKeyUsed] * 19
    assert len(await Accepted(one, clock).claim(limits=PLENTY)) == 1
    await one.aclose()
    await other.aclose()


async def test_a_key_tells_of_its_run_also_in_a_conversation_that_is_busy_with_it(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    await runs.queue("resp_1", key="k")
    with pytest.raises(IdempotencyKeyUsed):
        # In the same conversation, because the id is the same.
        await runs.queue("resp_1", key="k")


async def test_another_owner_finds_nothing(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", events=events(0, 2))
    assert await store.runs.get(BOB, "resp_1") is None
    assert await store.runs.events(BOB, "resp_1", after=-1, most=10) == []
    theirs = Right(owner=BOB, response="resp_1", attempt=right.attempt)
    assert await store.runs.append([batch(theirs, 2, 1)]) == {"resp_1"}
