"""Conversations in every store: lists, names, added items, deletion and expiry."""

from typing import Any

import pytest
from tests.stores.turns import ANN, BOB, LEASE, Clock, Turns, ids, message

from graph_agent.errors import ConversationNotFound, ItemNotFound, ResponseNotFound
from graph_agent.identity.owner import Owner
from graph_agent.stores import sql_conversations
from graph_agent.stores.records import Page
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


async def test_an_empty_conversation_can_be_created_named_and_found(store: Store) -> None:
    made = await store.responses.create_conversation(ANN, "conv_a", metadata={"topic": "law"}, title="Leases")
    assert (made.id, made.title, made.metadata, made.head) == ("conv_a", "Leases", {"topic": "law"}, None)
    assert await store.responses.find_conversation(ANN, "conv_a") == made
    renamed = await store.responses.update_conversation(ANN, "conv_a", title="Rents")
    assert (renamed.title, renamed.metadata, renamed.thread) == ("Rents", {"topic": "law"}, made.thread)
    changed = await store.responses.update_conversation(ANN, "conv_a", metadata={})
    assert (changed.title, changed.metadata) == ("Rents", {})


async def test_a_run_continues_a_conversation_that_was_created_empty(store: Store, clock: Clock) -> None:
    made = await store.responses.create_conversation(ANN, "conv_a", metadata={})
    turns = Turns(store, clock, "conv_a")
    turns.known, turns.thread = True, made.thread
    await turns.begin("resp_1", title="From the first message")
    await turns.finish("resp_1")
    found = await store.responses.find_conversation(ANN, "conv_a")
    assert found is not None
    assert (found.title, found.head, found.thread) == ("From the first message", "resp_1", made.thread)


async def test_a_conversation_that_was_created_empty_stays_when_its_last_response_goes(
    store: Store, clock: Clock
) -> None:
    made = await store.responses.create_conversation(ANN, "conv_a", metadata={"a": "b"})
    turns = Turns(store, clock, "conv_a")
    turns.known, turns.thread = True, made.thread
    await turns.begin("resp_1", title="Words of the first message")
    await turns.finish("resp_1")
    await store.responses.delete(ANN, "resp_1")
    left = await store.responses.find_conversation(ANN, "conv_a")
    assert left is not None
    assert (left.metadata, left.head, left.title) == ({"a": "b"}, None, None)
    assert await listed(store, "words") == []
    await turns.turn("resp_2")


async def test_the_list_has_the_newest_first_and_pages(store: Store, clock: Clock) -> None:
    all_turns = {name: Turns(store, clock, name) for name in ("one", "two", "three", "four", "five")}
    for name, turns in all_turns.items():
        await turns.turn(f"resp_{name}")
    await all_turns["two"].turn("resp_again", after="resp_two")
    await Turns(store, clock, "bobs", BOB).turn("resp_bob")

    async def page(**options: object) -> tuple[list[str], bool]:
        found, more = await store.responses.conversations(ANN, Page(**options))  # type: ignore[arg-type]
        return ids(found), more

    assert await page() == (["two", "five", "four", "three", "one"], False)
    assert await page(limit=2) == (["two", "five"], True)
    assert await page(limit=2, after="five") == (["four", "three"], True)
    assert await page(limit=2, after="three") == (["one"], False)
    assert await page(limit=5) == (["two", "five", "four", "three", "one"], False)
    assert await page(limit=2, order="asc") == (["one", "three"], True)
    assert await page(limit=3, order="asc", after="three") == (["four", "five", "two"], False)
    assert await page(after="bobs") == ([], False)


async def test_the_responses_of_a_conversation_come_with_all_branches_and_page(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    for id_, after in (("a", None), ("b", "a"), ("b2", "a")):
        await turns.turn(id_, after=after)
    await Turns(store, clock, "other").turn("x")
    found, more = await store.responses.responses_of(ANN, "conv_1", Page())
    assert [(one.id, one.parent) for one in found] == [("b2", "a"), ("b", "a"), ("a", None)]
    assert not more
    assert (found[0].input, found[0].response) == ([], None)
    found, more = await store.responses.responses_of(ANN, "conv_1", Page(limit=2, order="asc"))
    assert (ids(found), more) == (["a", "b"], True)
    found, more = await store.responses.responses_of(ANN, "conv_1", Page(limit=2, order="asc", after="b"))
    assert (ids(found), more) == (["b2"], False)


async def test_items_can_be_added_without_a_run(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    added = await store.responses.add_items(ANN, "conv_1", [message("noted", "msg_a"), message("twice", "msg_b")])
    assert (added.kind, added.parent, added.status, added.response) == ("items", "resp_1", "completed", None)
    assert [item["id"] for item in added.input] == ["msg_a", "msg_b"]
    await turns.turn("resp_2", after=added.id)
    assert ids(await store.responses.lineage(ANN, "resp_2")) == ["resp_1", added.id, "resp_2"]
    assert (await store.responses.items(ANN, ["msg_b"]))["msg_b"][0] == added.id


async def test_adding_items_ends_a_run_whose_process_is_gone(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1")
    clock.now += LEASE + 1
    await store.responses.add_items(ANN, "conv_1", [message("noted")])
    lost = await store.responses.get(ANN, "resp_1")
    assert (lost.status, (lost.response or {})["error"]["code"]) == ("failed", "process_lost")


async def test_a_deleted_item_is_in_no_list(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1", input=[message("one", "msg_1"), message("two", "msg_2"), message("three", "msg_3")])
    await turns.finish("resp_1", output=[message("four", "msg_4"), message("five", "msg_5")])
    for id_ in ("msg_2", "msg_4"):
        await store.responses.delete_item(ANN, "conv_1", id_)
        with pytest.raises(ItemNotFound):
            await store.responses.delete_item(ANN, "conv_1", id_)
    found = await store.responses.get(ANN, "resp_1")
    assert [item["id"] for item in (*found.input, *found.output)] == ["msg_1", "msg_3", "msg_5"]
    assert list(await store.responses.items(ANN, ["msg_2", "msg_4", "msg_5"])) == ["msg_5"]


async def test_an_item_of_another_conversation_is_not_deleted(store: Store, clock: Clock) -> None:
    await Turns(store, clock, "conv_1").turn("resp_1")
    await Turns(store, clock, "conv_2").turn("resp_2")
    with pytest.raises(ItemNotFound):
        await store.responses.delete_item(ANN, "conv_2", "in_resp_1")


async def test_a_deleted_conversation_leaves_nothing_and_its_id_is_free(store: Store, clock: Clock) -> None:
    turns, other = Turns(store, clock), Turns(store, clock, "other")
    await turns.turn("resp_1")
    await turns.turn("resp_2", after="resp_1")
    await other.turn("resp_3")
    await store.responses.delete_conversation(ANN, "conv_1")
    assert await store.responses.find_conversation(ANN, "conv_1") is None
    for gone in ("resp_1", "resp_2"):
        with pytest.raises(ResponseNotFound):
            await store.responses.get(ANN, gone)
    assert list(await store.responses.items(ANN, ["in_resp_1", "out_resp_2", "in_resp_3"])) == ["in_resp_3"]
    with pytest.raises(ConversationNotFound):
        await store.responses.delete_conversation(ANN, "conv_1")
    again = Turns(store, clock)
    again.thread = "a new thread"
    assert (await again.turn("resp_4")).thread == "a new thread"


async def test_idle_conversations_expire_and_others_stay(store: Store, clock: Clock) -> None:
    for number in range(45):
        await Turns(store, clock, f"idle_{number}", (ANN, BOB)[number % 2]).turn(f"resp_{number}")
    revived, running = Turns(store, clock, "revived"), Turns(store, clock, "running")
    await revived.turn("resp_a")
    await running.begin("resp_b")
    clock.now += 1000
    since = clock()
    await store.responses.renew(["resp_b"], busy_until=clock() + LEASE)
    await revived.turn("resp_c", after="resp_a")
    assert await store.responses.expire(idle_since=since) == 45
    assert await store.responses.expire(idle_since=since) == 0
    assert set(ids((await store.responses.conversations(ANN, Page()))[0])) == {"revived", "running"}
    assert await store.responses.items(ANN, ["in_resp_0", "out_resp_44"]) == {}
    await running.finish("resp_b")
    # A run whose process is gone does not keep its conversation.
    await running.begin("resp_d", after="resp_b")
    clock.now += 1000
    assert await store.responses.expire(idle_since=clock()) == 2


# -- finding a conversation ---------------------------------------------------------------------------------------


async def listed(store: Store, *words: str, owner: Owner = ANN, **options: Any) -> list[str]:
    pinned = options.pop("pinned", None)
    found, _ = await store.responses.conversations(owner, Page(**options), words=words, pinned=pinned)
    return ids(found)


async def test_titles_are_searched_without_upper_and_lower_case_in_all_scripts(store: Store) -> None:
    titles = {
        "rome": "A trip to Rome",
        "street": "Straße in ÜBERLINGEN",
        "wide": "\uff32\uff2f\uff2d\uff25 in wide letters",
        "greek": "ΤΕΛΟΣ",
        "percent": "100% of a_b",
        "percents": "100 of aXb",
    }
    for id_, title in titles.items():
        await store.responses.create_conversation(ANN, id_, metadata={}, title=title)
    await store.responses.create_conversation(ANN, "untitled", metadata={})
    await store.responses.create_conversation(BOB, "bobs", metadata={}, title="Rome again")
    assert await listed(store, "rome") == ["wide", "rome"]
    assert await listed(store, "rome", "TRIP") == ["rome"]
    assert await listed(store, "STRASSE") == ["street"]
    assert await listed(store, "überl") == ["street"]
    assert await listed(store, "U\u0308BERL") == ["street"]
    assert await listed(store, "τελος") == ["greek"]
    assert await listed(store, "100%") == ["percent"]
    assert await listed(store, "a_b") == ["percent"]
    assert await listed(store, "!") == []
    assert await listed(store, "rome", owner=BOB) == ["bobs"]


async def test_a_search_finds_the_title_that_a_conversation_has_now(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock, "conv_a")
    await turns.begin("resp_1", title="From the first message")
    await turns.finish("resp_1")
    assert await listed(store, "FIRST") == ["conv_a"]
    await store.responses.update_conversation(ANN, "conv_a", title="Renamed")
    assert (await listed(store, "first"), await listed(store, "renamed")) == ([], ["conv_a"])
    await store.responses.create_conversation(ANN, "conv_b", metadata={}, title="Renamed too")
    await store.responses.update_conversation(ANN, "conv_b", metadata={"a": "b"})
    assert await listed(store, "too") == ["conv_b"]


async def test_pinned_conversations_are_a_list_of_their_own(store: Store) -> None:
    for id_ in ("one", "two", "three"):
        await store.responses.create_conversation(ANN, id_, metadata={"pinned": "true"} if id_ == "one" else {})
    await store.responses.update_conversation(ANN, "three", metadata={"pinned": "true", "topic": "law"})
    assert await listed(store, pinned=True) == ["three", "one"]
    assert await listed(store, pinned=False) == ["two"]
    assert await listed(store) == ["three", "two", "one"]
    await store.responses.update_conversation(ANN, "three", title="Still pinned")
    assert await listed(store, "still", pinned=True) == ["three"]
    await store.responses.update_conversation(ANN, "three", metadata={"pinned": "false"})
    assert await listed(store, pinned=True) == ["one"]


async def test_a_thousand_conversations_page_whatever_is_asked_of_them(store: Store) -> None:
    expected = []
    for number in range(1000):
        metadata = {"pinned": "true"} if number % 10 == 0 else {}
        title = f"Trip {number}" if number % 2 else f"Plan {number}"
        await store.responses.create_conversation(ANN, f"conv_{number:04}", metadata=metadata, title=title)
        expected.append(f"conv_{number:04}")

    async def all_pages(*words: str, pinned: bool | None = None, order: str = "desc") -> list[str]:
        found: list[str] = []
        while True:
            page = Page(limit=100, order=order, after=found[-1] if found else None)  # type: ignore[arg-type]
            more, goes_on = await store.responses.conversations(ANN, page, words=words, pinned=pinned)
            found += ids(more)
            if not goes_on:
                return found

    assert await all_pages() == expected[::-1]
    assert await all_pages(order="asc") == expected
    assert await all_pages("plan", order="asc") == expected[::2]
    assert await all_pages("TRIP") == expected[1::2][::-1]
    assert await all_pages(pinned=True) == expected[::10][::-1]
    assert await all_pages("plan", pinned=False) == [one for one in expected[::2] if not one.endswith("0")][::-1]


async def test_a_search_looks_through_the_newest_conversations(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_conversations, "MOST_SEARCHED", 2)
    for id_ in ("old", "middle", "new"):
        await store.responses.create_conversation(ANN, id_, metadata={}, title="Trip")
    assert await listed(store, "trip") == ["new", "middle"]
    assert await listed(store, "trip", order="asc") == ["middle", "new"]
