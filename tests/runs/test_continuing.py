"""What a stored request continues, and what is new in it."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.runs.conversing import (
    ANN,
    BOB,
    Conversing,
    call,
    conversing,
    invocation_of,
    mcp_call,
    result,
    said,
    says,
    thinks,
    user,
)

from graph_agent.errors import ConversationBusy, ConversationNotFound, InvalidRequest, ResponseNotFound

ISSUED = "conv_" + "0" * 24

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[Conversing]:
    async with conversing() as server:
        yield server


# -- names ------------------------------------------------------------------------------------------------------------


async def test_a_request_that_names_nothing_starts_a_conversation_with_an_id_that_nobody_can_guess(
    server: Conversing,
) -> None:
    first, second = [(await server.plan("hi"))[1].continuation for _ in range(2)]

    assert re.fullmatch("conv_[0-9a-f]{24}", first.conversation)
    assert first.conversation != second.conversation
    assert first.thread not in (second.thread, first.conversation)
    assert (first.parent, first.checkpoint, first.is_new) == (None, None, True)


async def test_a_request_follows_the_response_that_it_names(server: Conversing) -> None:
    one = await server.ask("My name is Ann.", [says("Hello Ann.")])
    two = await server.ask("What is my name?", [says("Ann.")], previous_response_id=one.id)

    assert (two.parent, two.conversation) == (one.id, one.conversation)
    assert server.state_of(two) == [
        ("human", "My name is Ann."),
        ("ai", "Hello Ann."),
        ("human", "What is my name?"),
        ("ai", "Ann."),
    ]
    assert [item["content"] for item in two.input] == ["What is my name?"]


async def test_an_earlier_response_gets_a_second_branch(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    two = await server.ask("B", [says("b")], previous_response_id=one.id)
    other = await server.ask("C", [says("c")], previous_response_id=one.id)

    assert [text for _, text in server.state_of(other)] == ["A", "a", "C", "c"]
    assert [text for _, text in server.state_of(two)] == ["A", "a", "B", "b"]


@pytest.mark.parametrize(
    "name", [{"context": {"conversation_id": "t"}}, {"custom_inputs": {"thread_id": "t"}}], ids=["context", "thread"]
)
async def test_a_conversation_named_by_the_client_begins_with_its_first_request(
    server: Conversing, name: dict[str, Any]
) -> None:
    one = await server.ask("A", [says("a")], **name)
    two = await server.ask("B", [says("b")], **name)
    three = await server.ask("C", [says("c")], conversation="t")

    assert [one.conversation, two.conversation, three.conversation] == ["t"] * 3
    assert [text for _, text in server.state_of(three)] == ["A", "a", "B", "b", "C", "c"]


async def test_the_same_name_is_another_conversation_for_another_owner(server: Conversing) -> None:
    await server.ask("A", [says("a")], custom_inputs={"thread_id": "t"})
    bobs = await server.ask("B", [says("b")], owner=BOB, custom_inputs={"thread_id": "t"})

    assert [text for _, text in server.state_of(bobs)] == ["B", "b"]


async def test_what_belongs_to_somebody_else_does_not_exist(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])

    for fields in ({"conversation": one.conversation}, {"custom_inputs": {"thread_id": one.conversation}}):
        with pytest.raises(ConversationNotFound):
            await server.plan("B", owner=BOB, **fields)
    with pytest.raises(ResponseNotFound):
        await server.plan("B", owner=BOB, previous_response_id=one.id)
    with pytest.raises(InvalidRequest) as refused:
        await server.plan([user("B"), {"type": "item_reference", "id": one.output[0]["id"]}], owner=BOB)
    assert refused.value.param == "input[1].id"


@pytest.mark.parametrize(
    "fields",
    [
        {"conversation": "unknown"},
        {"conversation": "conv_" + "0" * 24},
        {"context": {"conversation_id": "conv_" + "0" * 24}},
    ],
)
async def test_an_id_that_only_we_could_have_issued_must_exist(server: Conversing, fields: dict[str, Any]) -> None:
    with pytest.raises(ConversationNotFound):
        await server.plan("A", **fields)


async def test_a_response_of_another_conversation_than_the_named_one_is_refused(server: Conversing) -> None:
    one = await server.ask("A", [says("a")], custom_inputs={"thread_id": "t"})

    with pytest.raises(InvalidRequest) as refused:
        await server.plan("B", previous_response_id=one.id, custom_inputs={"thread_id": "other"})
    assert refused.value.param == "previous_response_id"
    assert (await server.plan("B", previous_response_id=one.id, custom_inputs={"thread_id": "t"}))[1]


async def test_a_response_that_is_in_progress_cannot_be_followed_yet(server: Conversing) -> None:
    running = await server.begin((await server.plan("A"))[1])

    with pytest.raises(ConversationBusy) as busy:
        await server.plan("B", previous_response_id=running)
    assert busy.value.running == running


# -- the title --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "title"),
    [
        ("  What is\n the weather?  ", "What is the weather?"),
        ("word " * 40, "word word word word word word word word word word word word…"),
        ([{"role": "system", "content": "Be brief."}, user("Hello")], "Hello"),
        ([user([{"type": "input_image", "image_url": "https://x/y"}, {"type": "input_text", "text": "See?"}])], "See?"),
        ([user([{"type": "input_image", "image_url": "https://x/y"}])], None),
    ],
)
async def test_a_conversation_is_called_after_what_a_person_said_first(
    server: Conversing, items: Any, title: str | None
) -> None:
    _, turn = await server.plan(items)

    assert turn.title == title
    assert turn.title is None or len(turn.title) <= 60


async def test_a_later_turn_does_not_change_the_title(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])

    assert (await server.plan("B", previous_response_id=one.id))[1].title is None


# -- responses without a checkpoint -----------------------------------------------------------------------------------


async def test_what_a_failed_response_was_asked_is_said_again_to_the_graph(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    lost = await server.ask("B", status="failed", reaches_checkpoint=False, previous_response_id=one.id)
    half = await server.ask(
        "C", [says("c, but")], status="cancelled", reaches_checkpoint=False, previous_response_id=lost.id
    )
    two = await server.ask("D", [says("d")], previous_response_id=half.id)

    assert [text for _, text in server.state_of(two)] == ["A", "a", "B", "C", "c, but", "D", "d"]
    assert [item["content"] for item in two.input] == ["D"]


async def test_items_that_were_added_without_a_run_are_said_to_the_graph(server: Conversing) -> None:
    await server.responses.create_conversation(ANN, ISSUED, metadata={})
    await server.responses.add_items(ANN, ISSUED, [user("A", id="msg_a"), says("a")])
    one = await server.ask("B", [says("b")], conversation=ISSUED)

    assert [text for _, text in server.state_of(one)] == ["A", "a", "B", "b"]


async def test_another_graph_gets_the_history_as_messages(server: Conversing) -> None:
    one = await server.ask("A", [thinks("Hm."), mcp_call("look"), says("a")])
    two = await server.ask("B", [says("b")], graph="other", previous_response_id=one.id)
    three = await server.ask("C", [says("c")], graph="other", previous_response_id=two.id)

    assert server.turns[two.id].continuation.checkpoint is None
    assert [text for _, text in server.state_of(two)] == ["A", ["look"], "done", "a", "B", "b"]
    assert server.turns[three.id].continuation.checkpoint == two.checkpoint


# -- calls that the client answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resends", [False, True])
async def test_a_result_answers_the_call_in_the_state(server: Conversing, resends: bool) -> None:
    asked = call("ask_client")
    one = await server.ask("A", [asked])
    answer = result(asked, "yes")
    items = [user("A"), *one.output, answer, user("And?")] if resends else [answer, user("And?")]
    two = await server.ask(items, [says("b")], **({} if resends else {"previous_response_id": one.id}))

    assert two.parent == one.id
    assert server.state_of(two) == [
        ("human", "A"),
        ("ai", ["ask_client"]),
        ("tool", "yes"),
        ("human", "And?"),
        ("ai", "b"),
    ]


async def test_results_come_first_wherever_they_are(server: Conversing) -> None:
    asked = call("ask_client")
    one = await server.ask("A", [says("Wait."), asked])
    invocation, _ = await server.plan([user("And?"), result(asked, "yes")], previous_response_id=one.id)

    assert said(invocation.messages) == [("tool", "yes"), ("human", "And?")]
    assert invocation.messages[0].name == "ask_client"


async def test_a_result_that_comes_twice_is_named_by_its_place_in_the_request(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    asked = call("ask_client")
    request = [user("A"), *one.output, asked, result(asked, "yes"), result(asked, "no"), user("And?")]

    with pytest.raises(InvalidRequest) as refused:
        await server.plan(request)
    assert refused.value.message == "`input[4].call_id` is already used by `input[3]`."


async def test_a_result_of_an_earlier_turn_is_named_too(server: Conversing) -> None:
    asked = call("ask_client")
    lost = await server.ask([user("A"), asked, result(asked, "yes")], status="failed", reaches_checkpoint=False)

    with pytest.raises(InvalidRequest) as refused:
        await server.plan([user("B"), result(asked, "no")], previous_response_id=lost.id)
    assert refused.value.message == "`input[1].call_id` is already used by an item earlier in the conversation."


# -- references -------------------------------------------------------------------------------------------------------


async def test_references_are_resolved(server: Conversing) -> None:
    one = await server.ask("A", [thinks("Hm."), says("a")])
    items = [user("A"), *({"type": "item_reference", "id": item["id"]} for item in one.output), user("B")]
    two = await server.ask(items, [says("b")])

    assert two.parent == one.id
    assert [text for _, text in server.state_of(two)] == ["A", "a", "B", "b"]


async def test_references_are_resolved_for_a_request_that_is_not_stored(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    reference = {"type": "item_reference", "id": one.output[0]["id"]}
    invocation = invocation_of([user("A"), reference, reference, user("B")], store=False, instructions="Be brief.")

    resolved = await server.continuing.resolve(ANN, invocation)

    assert [text for _, text in said(resolved.messages)] == ["Be brief.", "A", "a", "B"]


@pytest.mark.parametrize("store", [True, False])
async def test_a_reference_to_nothing_is_refused_with_its_path(server: Conversing, store: bool) -> None:
    invocation = invocation_of([user("A"), {"type": "item_reference", "id": "msg_0"}], store=store)

    with pytest.raises(InvalidRequest) as refused:
        await (
            server.continuing.plan(ANN, invocation, graph="g") if store else server.continuing.resolve(ANN, invocation)
        )
    assert refused.value.param == "input[1].id"


async def test_a_reference_alone_must_ask_something(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])

    with pytest.raises(InvalidRequest, match="nothing to answer"):
        await server.plan([{"id": one.output[0]["id"]}])


# -- without being stored ---------------------------------------------------------------------------------------------


async def test_a_request_that_is_not_stored_may_read_a_history(server: Conversing) -> None:
    one = await server.ask("A", [mcp_call("look"), says("a")])
    await server.ask("B", [says("b")], previous_response_id=one.id)

    for fields, history in (
        ({"previous_response_id": one.id}, ["A", ["look"], "done", "a"]),
        ({"conversation": one.conversation}, ["A", ["look"], "done", "a", "B", "b"]),
    ):
        resolved = await server.continuing.resolve(ANN, invocation_of("C", store=False, **fields))
        assert [text for _, text in said(resolved.messages)] == [*history, "C"]


async def test_a_request_that_reads_a_history_and_resends_it_has_it_once(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    items = [user("A"), *one.output, user("B")]

    resolved = await server.continuing.resolve(ANN, invocation_of(items, store=False, previous_response_id=one.id))

    assert [text for _, text in said(resolved.messages)] == ["A", "a", "B"]


async def test_a_request_that_needs_no_store_stays_as_it_is(server: Conversing) -> None:
    invocation = invocation_of("A", store=False)

    assert await server.continuing.resolve(ANN, invocation) is invocation


# -- histories that are resent ----------------------------------------------------------------------------------------


async def test_a_resent_history_adds_only_what_is_new(server: Conversing) -> None:
    one = await server.ask("A", [says("Let me see.", phase="commentary"), mcp_call("look"), says("a")])
    two = await server.ask([user("A"), *one.output, user("B")], [says("b")])
    three = await server.ask([user("A"), *one.output, user("B"), *two.output, user("C")], [says("c")])

    assert (three.parent, two.parent) == (two.id, one.id)
    assert [item["content"] for item in three.input] == ["C"]
    assert await server.conversations() == 1


async def test_the_same_request_again_starts_a_branch_beside_the_first_attempt(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    request = [user("A"), *one.output, user("B")]
    attempts = [await server.ask(request, [says("b")]) for _ in range(2)]

    assert [one.parent for one in attempts] == [one.id] * 2
    assert [text for _, text in server.state_of(attempts[1])] == ["A", "a", "B", "b"]


async def test_an_edited_message_starts_a_branch_before_it(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    two = await server.ask([user("A"), *one.output, user("B")], [says("b")])
    edited = await server.ask([user("A"), *one.output, user("B2"), *two.output, user("C")], [says("c")])

    assert edited.parent == one.id
    assert [text for _, text in server.state_of(edited)] == ["A", "a", "B2", "b", "C", "c"]


async def test_an_edited_first_message_starts_a_conversation_or_a_branch_at_the_root(server: Conversing) -> None:
    for name in ({}, {"custom_inputs": {"thread_id": "t"}}):
        one = await server.ask("A", [says("a")], **name)
        edited = await server.ask([user("A2"), *one.output, user("B")], [says("b")], **name)

        assert edited.parent is None
        assert (edited.conversation == one.conversation) is bool(name)
        assert [text for _, text in server.state_of(edited)] == ["A2", "a", "B", "b"]


async def test_a_named_conversation_continues_from_its_newest_response(server: Conversing) -> None:
    name = {"custom_inputs": {"thread_id": "t"}}
    await server.ask("A", [says("a")], **name)
    await server.ask("B", [says("b")], **name)
    again = await server.ask("B", [says("b2")], **name)

    assert [text for _, text in server.state_of(again)] == ["A", "a", "B", "b", "B", "b2"]


async def test_a_client_may_leave_out_what_the_assistant_did_without_a_word(server: Conversing) -> None:
    asked = call("look")
    one = await server.ask("A", [asked, result(asked)], status="failed")
    two = await server.ask("B", [says("b")], previous_response_id=one.id)
    three = await server.ask([user("A"), user("B"), {"role": "assistant", "content": "b"}, user("C")], [says("c")])
    four = await server.ask(
        [user("A"), *one.output, user("B"), *two.output, user("C"), *three.output, user("D")], [says("d")]
    )

    assert (three.parent, four.parent) == (two.id, three.id)


async def test_an_id_that_is_no_string_is_no_id(server: Conversing) -> None:
    odd = {"type": "web_search_call", "id": {"a": 1}}
    one = await server.ask([odd, user("A")], [says("a")])
    two = await server.ask([odd, user("A"), odd, {"role": "assistant", "content": "a"}, odd, user("B")], [says("b")])

    assert two.parent == one.id
    assert all(isinstance(item["id"], str) for item in [*one.input, *two.input])


async def test_a_client_that_resends_only_the_questions_adds_only_what_is_new(server: Conversing) -> None:
    name = {"custom_inputs": {"thread_id": "t"}}
    system, asked = {"role": "system", "content": "Be brief."}, list[Any]()
    for text in ("A", "B", "C"):
        asked.append(user(text))
        response = await server.ask([system, *asked], [says(text.lower())], **name)

    assert [text for _, text in server.state_of(response)] == ["Be brief.", "A", "a", "B", "b", "C", "c"]


async def test_a_client_that_sends_its_instructions_with_every_turn_does_not_resend_its_questions(
    server: Conversing,
) -> None:
    name = {"custom_inputs": {"thread_id": "t"}}
    system = {"role": "system", "content": "Be brief."}
    for text in ("A", "B"):
        response = await server.ask([system, user(text)], [says(text.lower())], **name)

    assert [text for _, text in server.state_of(response)] == ["Be brief.", "A", "a", "Be brief.", "B", "b"]


async def test_a_turn_that_was_planned_before_another_one_ended_does_not_start_a_branch_unasked(
    server: Conversing,
) -> None:
    name = {"custom_inputs": {"thread_id": "t"}}
    await server.ask("A", [says("a")], **name)
    _, late = await server.plan("C", **name)
    second = await server.ask("B", [says("b")], **name)

    with pytest.raises(ConversationBusy) as busy:
        await server.begin(late)
    assert busy.value.running == second.id
    assert (await server.ask("C", [says("c")], **name)).parent == second.id


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_the_same_question_after_a_failure_is_a_second_attempt(server: Conversing, status: Any) -> None:
    name = {"custom_inputs": {"thread_id": "t"}}
    one = await server.ask("A", [says("a")], **name)
    await server.ask("B", status=status, **name)
    again = await server.ask("B", [says("b")], **name)

    assert again.parent == one.id
    assert [text for _, text in server.state_of(again)] == ["A", "a", "B", "b"]


async def test_of_two_equal_histories_the_ids_decide_and_else_the_newer_one(server: Conversing) -> None:
    old, new = [await server.ask("A", [says("a")]) for _ in range(2)]

    assert (await server.plan([user("A"), *old.output, user("B")]))[1].continuation.parent == old.id
    assert (await server.plan([user("A"), *new.output, user("B")]))[1].continuation.parent == new.id
    bare = {"role": "assistant", "content": "a"}
    assert (await server.plan([user("A"), bare, user("B")]))[1].continuation.parent == new.id


async def test_of_very_many_equal_histories_the_ids_decide_too(server: Conversing) -> None:
    old, *_ = [await server.ask("A", [says("a")]) for _ in range(30)]
    newest = await server.ask("A", [says("a")])
    bare = {"role": "assistant", "content": "a"}

    assert (await server.plan([user("A"), *old.output, user("B")]))[1].continuation.parent == old.id
    assert (await server.plan([user("A"), bare, user("B")]))[1].continuation.parent == newest.id


async def test_a_busy_conversation_that_was_only_inferred_can_be_left(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    request = [user("A"), *one.output, user("B")]
    _, turn = await server.plan(request)
    await server.begin(turn)

    with pytest.raises(ConversationBusy):
        await server.begin((await server.plan(request))[1])
    invocation, afresh = await server.plan(request, recognize=False)

    assert (turn.inferred, afresh.inferred, afresh.continuation.is_new) == (True, False, True)
    assert [text for _, text in said(invocation.messages)] == ["A", "a", "B"]


async def test_a_history_of_one_owner_is_not_recognized_for_another(server: Conversing) -> None:
    one = await server.ask("A", [says("a")])
    _, turn = await server.plan([user("A"), *one.output, user("B")], owner=BOB)

    assert (turn.continuation.parent, turn.continuation.is_new) == (None, True)


async def test_a_client_that_rewrites_texts_is_recognized_by_the_ids_of_what_it_resends(server: Conversing) -> None:
    one = await server.ask("A", [says("a [1]")])
    short = [{**item, "content": "a"} for item in one.output]
    two = await server.ask([user("A"), *short, user("B")], [says("b [2]")])
    shorter = [{**item, "content": "b"} for item in two.output]
    three = await server.ask([user("A"), *short, user("B"), *shorter, user("C")], [says("c")])
    edited = await server.ask([user("A"), *short, user("B2"), *shorter, user("C")], [says("c")])
    trimmed = await server.ask([user("B"), *shorter, user("C")], [says("c")])
    elsewhere = await server.ask([user("A2"), *short, user("B"), *shorter, user("C")], [says("c")])

    parents = [one.parent for one in (two, three, edited, trimmed, elsewhere)]
    assert parents == [one.id, two.id, one.id, two.id, None]


async def test_items_keep_no_id_that_a_client_chose(server: Conversing) -> None:
    first = await server.ask([user("A", id="1")], [says("a")], custom_inputs={"thread_id": "t"})
    second = await server.ask([user("B", id="1")], [says("b")], custom_inputs={"thread_id": "t"})

    assert len({first.input[0]["id"], second.input[0]["id"], "1"}) == 3
