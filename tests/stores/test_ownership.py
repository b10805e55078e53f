"""Owners never see each other, in every store."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.stores.turns import ANN, BOB, Clock, Turns, ids, message
from tests.stores.watched import watched_store

from graph_agent.errors import NotStored
from graph_agent.stores.records import Fingerprints, Page
from graph_agent.stores.store import ResponseStore, Store

pytestmark = pytest.mark.anyio

PRINTS = Fingerprints(whole="the same words", answers="the same words")

Attempt = Callable[[ResponseStore, str, str, str], Awaitable[Any]]
"""What Bob tries with the ids of a response, a conversation and an item."""

REFUSED: dict[str, Attempt] = {
    "get": lambda store, response, conversation, item: store.get(BOB, response),
    "lineage": lambda store, response, conversation, item: store.lineage(BOB, response),
    "delete": lambda store, response, conversation, item: store.delete(BOB, response),
    "update": lambda store, response, conversation, item: store.update_conversation(BOB, conversation, title="mine"),
    "delete_conversation": lambda store, response, conversation, item: store.delete_conversation(BOB, conversation),
    "responses_of": lambda store, response, conversation, item: store.responses_of(BOB, conversation, Page()),
    "add_items": lambda store, response, conversation, item: store.add_items(BOB, conversation, [message("mine")]),
    "delete_item": lambda store, response, conversation, item: store.delete_item(BOB, conversation, item),
}

EMPTY: dict[str, Attempt] = {
    "find_conversation": lambda store, response, conversation, item: store.find_conversation(BOB, conversation),
    "items": lambda store, response, conversation, item: store.items(BOB, [item]),
    "matching": lambda store, response, conversation, item: store.matching(BOB, [PRINTS]),
    "matching_within": lambda store, response, conversation, item: store.matching(
        BOB, [PRINTS], conversation=conversation
    ),
}


async def error_of(attempt: Awaitable[Any]) -> NotStored:
    with pytest.raises(NotStored) as refused:
        await attempt
    return refused.value


@pytest.mark.parametrize("name", REFUSED)
async def test_what_belongs_to_another_owner_is_not_found(store: Store, clock: Clock, name: str) -> None:
    await Turns(store, clock).turn("resp_1", prints=PRINTS)
    before = await store.responses.get(ANN, "resp_1"), await store.responses.find_conversation(ANN, "conv_1")
    foreign = await error_of(REFUSED[name](store.responses, "resp_1", "conv_1", "out_resp_1"))
    missing = await error_of(REFUSED[name](store.responses, "resp_0", "conv_0", "out_resp_0"))
    assert (type(foreign), foreign.body()) == (type(missing), missing.body())
    after = await store.responses.get(ANN, "resp_1"), await store.responses.find_conversation(ANN, "conv_1")
    assert before == after


@pytest.mark.parametrize("name", EMPTY)
async def test_searches_return_nothing_of_another_owner(store: Store, clock: Clock, name: str) -> None:
    await Turns(store, clock).turn("resp_1", prints=PRINTS)
    assert not await EMPTY[name](store.responses, "resp_1", "conv_1", "out_resp_1")


@pytest.mark.parametrize("name", [*REFUSED, *EMPTY])
async def test_an_id_of_another_owner_costs_the_statements_of_a_missing_one(clock: Clock, name: str) -> None:
    seen = []
    async with watched_store(clock) as store:
        await Turns(store, clock).turn("resp_1", prints=PRINTS)
        for response, conversation, item in (("resp_1", "conv_1", "out_resp_1"), ("resp_0", "conv_0", "out_resp_0")):
            store.transactions.clear()
            with contextlib.suppress(NotStored):
                await (REFUSED | EMPTY)[name](store.responses, response, conversation, item)
            seen.append([list(statements) for statements in store.transactions])
    assert seen[0] == seen[1]
    assert seen[0]


async def test_two_owners_may_choose_the_same_id_for_a_conversation(store: Store, clock: Clock) -> None:
    hers, his = Turns(store, clock, "notes", ANN), Turns(store, clock, "notes", BOB)
    await hers.turn("resp_a", prints=PRINTS)
    await his.turn("resp_b", prints=PRINTS)
    assert (await store.responses.get(ANN, "resp_a")).thread != (await store.responses.get(BOB, "resp_b")).thread
    assert ids(await store.responses.matching(BOB, [PRINTS], conversation="notes")) == ["resp_b"]
    assert ids((await store.responses.responses_of(ANN, "notes", Page()))[0]) == ["resp_a"]
    await store.responses.delete_conversation(BOB, "notes")
    assert (await store.responses.get(ANN, "resp_a")).output[0]["id"] == "out_resp_a"
    found, _ = await store.responses.conversations(ANN, Page())
    assert ids(found) == ["notes"]


async def test_a_run_cannot_follow_the_response_of_another_owner(store: Store, clock: Clock) -> None:
    await Turns(store, clock, "hers", ANN).turn("resp_a")
    with pytest.raises(NotStored):
        await Turns(store, clock, "his", BOB).begin("resp_b", after="resp_a")
    assert await store.responses.find_conversation(BOB, "his") is None


async def test_a_run_cannot_follow_a_response_of_another_conversation(store: Store, clock: Clock) -> None:
    await Turns(store, clock, "one").turn("resp_a")
    with pytest.raises(NotStored):
        await Turns(store, clock, "two").begin("resp_b", after="resp_a")


async def test_an_owner_cannot_end_the_run_of_another(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1")
    other = Turns(store, clock, owner=BOB)
    with pytest.raises(Exception, match="no longer its own"):
        await other.finish("resp_1")
    await turns.finish("resp_1")
