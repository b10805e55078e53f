"""What every store keeps of responses, and how they are found again."""

import pytest
from tests.stores.turns import ANN, Clock, Turns, ids, message
from tests.stores.watched import watched_store

from graph_agent.errors import ConversationNotFound, ResponseNotFound
from graph_agent.stores.records import EndedResponse, Fingerprints
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


def prints(name: str) -> Fingerprints:
    return Fingerprints(whole=f"whole {name}", answers=f"answers {name}")


# -- the life of a response -----------------------------------------------------------------------------------------


async def test_a_response_in_progress_has_its_input_and_no_output(store: Store, clock: Clock) -> None:
    asked = [message("What is a lease?"), {"id": "fc_1", "type": "function_call", "arguments": "{}"}]
    await Turns(store, clock).begin("resp_1", input=asked)
    found = await store.responses.get(ANN, "resp_1")
    assert (found.status, found.response, found.output, found.checkpoint) == ("in_progress", None, [], None)
    assert found.input == asked
    assert (found.conversation, found.thread, found.parent) == ("conv_1", "thread_ann_conv_1", None)
    assert (found.graph, found.family, found.kind) == ("assistant", "openai", "response")


async def test_an_ended_response_is_returned_as_it_was_sent(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1")
    sent = {
        "id": "resp_1",
        "status": "incomplete",
        "output": [
            message("Miete \u2028 „so“ \U0001f600"),
            {"id": "rs_1", "type": "reasoning", "summary": []},
        ],
        "usage": {"input_tokens": 2**40, "ratio": 0.1},
        "metadata": {"a": "b"},
    }
    ended = EndedResponse(
        status="incomplete", response=sent, checkpoint="c1", fingerprints=prints("1"), messages={"msg_9": "run--1"}
    )
    await store.responses.finish(ANN, "resp_1", ended)
    found = await store.responses.get(ANN, "resp_1")
    assert found.response == sent
    assert list(found.response or {}) == list(sent)
    assert (found.status, found.checkpoint, found.fingerprints) == ("incomplete", "c1", prints("1"))
    assert found.messages == {"msg_9": "run--1"}


async def test_an_id_that_a_database_cannot_keep_is_one_that_does_not_exist(store: Store, clock: Clock) -> None:
    await Turns(store, clock).begin("resp_1", input=[{**message("a"), "id": "msg\0"}])
    with pytest.raises(ResponseNotFound):
        await store.responses.get(ANN, "resp\0")
    assert await store.responses.find_conversation(ANN, "conv\0") is None
    assert await store.responses.items(ANN, ["fc\0"]) == {}
    assert (await store.responses.get(ANN, "resp_1")).input[0]["id"] == "msg\0"


async def test_what_a_database_cannot_keep_is_replaced_and_loses_nothing_else(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin(
        "resp_1", input=[message("half \ud83d of a pair, and NUL \x00")], title="a\x00b \ud83d\ude00 \ud83d"
    )
    await turns.finish("resp_1", output=[message("\udc00 later")])
    found = await store.responses.get(ANN, "resp_1")
    assert [one["content"] for one in (*found.input, *found.output)] == [
        "half \ufffd of a pair, and NUL \x00",
        "\ufffd later",
    ]
    conversation = await store.responses.find_conversation(ANN, "conv_1")
    assert conversation is not None
    assert conversation.title == "ab \U0001f600 \ufffd"


async def test_the_first_response_creates_the_conversation_and_names_it(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1", title="About leases")
    before = await store.responses.find_conversation(ANN, "conv_1")
    await turns.finish("resp_1")
    await turns.begin("resp_2", after="resp_1", title="Another title")
    await turns.finish("resp_2")
    after = await store.responses.find_conversation(ANN, "conv_1")
    assert before is not None
    assert after is not None
    assert (before.title, before.head, before.thread) == ("About leases", None, "thread_ann_conv_1")
    assert (after.title, after.head, after.created_at) == ("About leases", "resp_2", before.created_at)
    assert after.updated_at > before.updated_at


async def test_a_run_cannot_follow_a_response_that_was_deleted_meanwhile(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await turns.turn("resp_2", after="resp_1")
    await store.responses.delete(ANN, "resp_1")
    with pytest.raises(ResponseNotFound):
        await turns.begin("resp_3", after="resp_1")
    await turns.begin("resp_3", after="resp_2")
    with pytest.raises(ResponseNotFound):
        await store.responses.get(ANN, "resp_1")


async def test_a_run_cannot_follow_a_conversation_that_was_deleted_meanwhile(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await store.responses.delete_conversation(ANN, "conv_1")
    with pytest.raises(ConversationNotFound):
        await turns.begin("resp_2", after="resp_1")


async def test_a_turn_is_stored_in_two_transactions(clock: Clock) -> None:
    async with watched_store(clock) as store:
        turns = Turns(store, clock)
        await turns.begin("resp_1")
        await turns.finish("resp_1")
        await turns.begin("resp_2", after="resp_1")
        await turns.finish("resp_2")
        counts = [len(statements) for statements in store.transactions]
    # The first statement of a turn in a conversation that exists reads whose it is.
    assert counts == [3, 3, 4, 3]


# -- branches ---------------------------------------------------------------------------------------------------------


async def test_an_earlier_response_forks_and_both_branches_stay(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    for id_, after in (("a", None), ("b", "a"), ("c", "b"), ("b2", "a"), ("c2", "b2")):
        await turns.turn(id_, after=after)
    assert ids(await store.responses.lineage(ANN, "c")) == ["a", "b", "c"]
    assert ids(await store.responses.lineage(ANN, "c2")) == ["a", "b2", "c2"]
    conversation = await store.responses.find_conversation(ANN, "conv_1")
    assert conversation is not None
    assert conversation.head == "c2"


async def test_a_lineage_can_begin_at_the_nearest_checkpoint(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("a")
    await turns.turn("b", after="a")
    await turns.turn("failed", after="b", checkpoint=None)
    await turns.turn("failed_again", after="failed", checkpoint=None)
    nearest = await store.responses.lineage(ANN, "failed_again", since_checkpoint=True)
    assert ids(nearest) == ["b", "failed", "failed_again"]
    assert [one.input[0]["id"] for one in nearest] == ["in_b", "in_failed", "in_failed_again"]
    assert ids(await store.responses.lineage(ANN, "b", since_checkpoint=True)) == ["b"]


async def test_a_conversation_of_a_thousand_turns_can_be_read_whole(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    before = None
    for number in range(1_001):
        await turns.turn(f"r{number}", after=before, prints=prints(str(number)))
        before = f"r{number}"
    lineage = await store.responses.lineage(ANN, "r1000")
    assert ids(lineage) == [f"r{number}" for number in range(1_001)]
    assert all(one.output[0]["id"] == f"out_{one.id}" for one in lineage)
    sought = [prints(str(number)) for number in range(1_001)]
    assert ids(await store.responses.matching(ANN, sought)) == ids(lineage)[::-1]
    items = await store.responses.items(ANN, [f"out_r{number}" for number in range(1_001)])
    assert items["out_r777"][0] == "r777"
    assert len(items) == 1_001


# -- deletion ---------------------------------------------------------------------------------------------------------


async def test_responses_that_follow_a_deleted_one_keep_their_branch(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    for id_, after in (("a", None), ("b", "a"), ("c", "b"), ("c2", "b")):
        await turns.turn(id_, after=after)
    await store.responses.delete(ANN, "b")
    assert ids(await store.responses.lineage(ANN, "c")) == ["a", "c"]
    assert ids(await store.responses.lineage(ANN, "c2")) == ["a", "c2"]
    await store.responses.delete(ANN, "a")
    assert ids(await store.responses.lineage(ANN, "c")) == ["c"]
    assert await store.responses.items(ANN, ["in_a", "out_a", "in_b", "out_b"]) == {}


async def test_the_newest_response_that_is_left_becomes_the_head(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    for id_, after in (("a", None), ("b", "a"), ("b2", "a")):
        await turns.turn(id_, after=after)
    heads = []
    for deleted in ("b2", "a", "b"):
        await store.responses.delete(ANN, deleted)
        left = await store.responses.find_conversation(ANN, "conv_1")
        heads.append(left and left.head)
    assert heads == ["b", "b", None]
    assert await store.responses.find_conversation(ANN, "conv_1") is None


# -- recognition ------------------------------------------------------------------------------------------------------


async def test_responses_are_found_by_either_fingerprint_newest_first(store: Store, clock: Clock) -> None:
    turns, other = Turns(store, clock), Turns(store, clock, "conv_2")
    await turns.turn("old", prints=Fingerprints(whole="w1", answers="a1"))
    await turns.turn("new", after="old", prints=Fingerprints(whole="w2", answers="a1"))
    await other.turn("elsewhere", prints=Fingerprints(whole="w1", answers="a9"))
    await turns.turn("none", after="new")

    async def matching(*sought: tuple[str, str], conversation: str | None = None) -> list[str]:
        given = [Fingerprints(whole=whole, answers=answers) for whole, answers in sought]
        return ids(await store.responses.matching(ANN, given, conversation=conversation))

    assert await matching(("w1", "-")) == ["elsewhere", "old"]
    assert await matching(("-", "a1")) == ["new", "old"]
    assert await matching(("w1", "a1"), ("w2", "-")) == ["elsewhere", "new", "old"]
    assert await matching(("w1", "a1"), conversation="conv_1") == ["new", "old"]
    # The two kinds of fingerprints are never compared with each other.
    assert await matching(("a1", "w1")) == []
    assert await matching() == []


async def test_what_matches_comes_without_its_texts(store: Store, clock: Clock) -> None:
    await Turns(store, clock).turn("resp_1", prints=prints("1"))
    (found,) = await store.responses.matching(ANN, [prints("1")])
    assert (found.input, found.response) == ([], None)
    assert (found.status, found.checkpoint, found.fingerprints) == ("completed", "checkpoint_resp_1", prints("1"))


async def test_items_are_found_by_their_ids(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1", input=[message("asked", "msg_theirs")])
    await turns.finish("resp_1", output=[message("said", "msg_ours")])
    found = await store.responses.items(ANN, ["msg_ours", "msg_theirs", "msg_missing"])
    assert {id_: (response, item["content"]) for id_, (response, item) in found.items()} == {
        "msg_ours": ("resp_1", "said"),
        "msg_theirs": ("resp_1", "asked"),
    }
    assert await store.responses.items(ANN, []) == {}


async def test_of_items_with_one_id_an_output_wins_and_then_the_newest(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.begin("resp_1", input=[message("mine", "msg_1")])
    await turns.finish("resp_1", output=[message("first", "msg_2")])
    await turns.begin("resp_2", after="resp_1", input=[message("resent", "msg_2"), message("again", "msg_1")])
    await turns.finish("resp_2")
    found = await store.responses.items(ANN, ["msg_1", "msg_2"])
    assert {id_: (response, item["content"]) for id_, (response, item) in found.items()} == {
        "msg_1": ("resp_2", "again"),
        "msg_2": ("resp_1", "first"),
    }
