"""One run at a time in each conversation, and what happens when its process is gone."""

import asyncio

import pytest
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, BOB, LEASE, Clock, Turns, ids, message

from graph_agent.errors import ConversationBusy, LeaseLost
from graph_agent.stores.records import Page
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


async def test_a_second_run_is_refused_and_told_which_one_is_in_progress(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.begin("resp_2", after="resp_1")
    with pytest.raises(ConversationBusy) as refused:
        await turns.begin("resp_3", after="resp_1")
    assert refused.value.running == "resp_2"
    assert "resp_2" in refused.value.message
    assert ids((await store.responses.responses_of(ANN, "conv_1", Page()))[0]) == ["resp_2", "resp_1"]
    await turns.finish("resp_2")
    await turns.begin("resp_3", after="resp_2")


async def test_conversations_are_busy_one_by_one(store: Store, clock: Clock) -> None:
    await Turns(store, clock, "conv_1").begin("resp_1")
    await Turns(store, clock, "conv_2").begin("resp_2")
    await Turns(store, clock, "conv_1", BOB).begin("resp_3")


async def test_two_requests_that_create_the_same_conversation_do_not_share_it(store: Store, clock: Clock) -> None:
    first, second = Turns(store, clock, "mine"), Turns(store, clock, "mine")
    second.thread = "another thread"
    await first.begin("resp_1")
    with pytest.raises(ConversationBusy) as refused:
        await second.begin("resp_2")
    await first.finish("resp_1")
    with pytest.raises(ConversationBusy):
        await second.begin("resp_2")
    assert refused.value.running == "resp_1"


async def test_of_many_runs_that_begin_at_once_one_gets_the_conversation(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_0")
    begun = await asyncio.gather(
        *(turns.begin(f"resp_{number}", after="resp_0") for number in range(1, 9)), return_exceptions=True
    )
    assert [type(one) for one in begun if one is not None] == [ConversationBusy] * 7


async def test_a_run_that_follows_the_newest_response_is_refused_if_there_is_a_newer_one(
    store: Store, clock: Clock
) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.turn("resp_2", after="resp_1")
    with pytest.raises(ConversationBusy) as refused:
        await turns.begin("resp_3", after="resp_1", at_head=True)
    assert refused.value.running == "resp_2"
    with pytest.raises(ConversationBusy):
        await turns.begin("resp_3", at_head=True)
    await turns.begin("resp_3", after="resp_2", at_head=True)
    await turns.finish("resp_3")
    await turns.begin("resp_4", after="resp_1")


async def test_a_renewed_lease_holds(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1")
    for _ in range(5):
        clock.now += LEASE - 1
        assert not await store.responses.renew(["resp_1"], busy_until=clock() + LEASE)
    with pytest.raises(ConversationBusy):
        await turns.begin("resp_2", after="resp_1")
    await turns.finish("resp_1")
    assert (await store.responses.get(ANN, "resp_1")).status == "completed"


async def test_a_run_whose_lease_has_expired_is_reported_as_failed(store: Store, clock: Clock) -> None:
    await Turns(store, clock).begin("resp_1")
    assert (await store.responses.get(ANN, "resp_1")).status == "in_progress"
    clock.now += LEASE + 1
    lost = await store.responses.get(ANN, "resp_1")
    assert lost.status == "failed"
    assert lost.response is not None
    assert (lost.response["id"], lost.response["status"], lost.response["output"]) == ("resp_1", "failed", [])
    assert lost.response["error"]["code"] == "process_lost"
    assert "send the request again" in lost.response["error"]["message"]


async def test_an_expired_lease_is_taken_over_and_its_run_can_write_nothing_more(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.begin("resp_2", after="resp_1")
    clock.now += LEASE + 1
    await turns.begin("resp_3", after="resp_1")
    with pytest.raises(LeaseLost):
        await turns.finish("resp_2", output=[message("too late", "msg_late")])
    assert await store.responses.renew(["resp_2", "resp_3"], busy_until=clock() + LEASE) == {"resp_2"}
    lost = await store.responses.get(ANN, "resp_2")
    assert (lost.status, (lost.response or {})["error"]["code"]) == ("failed", "process_lost")
    assert await store.responses.items(ANN, ["msg_late"]) == {}
    await turns.finish("resp_3")
    conversation = await store.responses.find_conversation(ANN, "conv_1")
    assert conversation is not None
    assert conversation.head == "resp_3"


async def test_a_run_whose_lease_has_expired_is_ended_for_those_who_wait_for_it(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.begin("resp_2", after="resp_1")
    assert not await store.responses.end_lost(ANN, "resp_2")
    clock.now += LEASE + 1
    assert not await store.responses.end_lost(BOB, "resp_2")
    assert not await store.responses.end_lost(ANN, "resp_1")
    assert await store.responses.end_lost(ANN, "resp_2")
    assert not await store.responses.end_lost(ANN, "resp_2")
    assert await store.responses.renew(["resp_2"], busy_until=clock() + LEASE) == {"resp_2"}
    with pytest.raises(LeaseLost):
        await turns.finish("resp_2")
    assert (await store.responses.get(ANN, "resp_2")).status == "failed"
    # The conversation is free.
    await turns.begin("resp_3", after="resp_1")
    await turns.finish("resp_3")
    assert (await store.responses.get(ANN, "resp_1")).status == "completed"


async def test_a_run_that_was_silent_for_too_long_ends_well_if_nobody_took_over(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1")
    clock.now += LEASE + 1
    assert not await store.responses.renew(["resp_1"], busy_until=clock() + LEASE)
    await turns.finish("resp_1")
    assert (await store.responses.get(ANN, "resp_1")).status == "completed"


async def test_a_run_in_progress_cannot_be_deleted_until_its_lease_expires(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.begin("resp_2", after="resp_1")
    for refused in (
        store.responses.delete(ANN, "resp_2"),
        store.responses.delete_conversation(ANN, "conv_1"),
        store.responses.add_items(ANN, "conv_1", [message("more")]),
    ):
        with pytest.raises(ConversationBusy):
            await refused
    clock.now += LEASE + 1
    await store.responses.delete(ANN, "resp_2")
    with pytest.raises(LeaseLost):
        await turns.finish("resp_2")
    await turns.turn("resp_3", after="resp_1")


async def test_another_response_can_be_deleted_while_a_run_is_in_progress(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.begin("resp_2", after="resp_1")
    await store.responses.delete(ANN, "resp_1")
    await turns.finish("resp_2")
    assert ids(await store.responses.lineage(ANN, "resp_2")) == ["resp_2"]


async def test_a_second_process_sees_the_lease_of_the_first_and_takes_over(store_of: StoreOf, clock: Clock) -> None:
    first, second = store_of(), store_of()
    await first.open()
    await second.open()
    here, there = Turns(first, clock), Turns(second, clock)
    await here.begin("resp_1")
    there.known = True
    with pytest.raises(ConversationBusy):
        await there.begin("resp_2")
    # The first process dies: it does not renew, and does not close anything.
    clock.now += LEASE + 1
    assert (await second.responses.get(ANN, "resp_1")).status == "failed"
    await there.begin("resp_2")
    with pytest.raises(LeaseLost):
        await here.finish("resp_1")
    await there.finish("resp_2")
    await second.aclose()
    assert (await first.responses.get(ANN, "resp_2")).status == "completed"
    await first.aclose()
