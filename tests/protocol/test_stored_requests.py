"""Requests where there is a store: what is stored, what a request continues, and items that it refers to."""

import json
from typing import Any

import pytest

from graph_agent.errors import RequestError
from graph_agent.protocol.requests import Invocation, parse_request

ASK = {"role": "user", "content": "hi"}


def parse(*, stored_by_default: bool = True, **fields: Any) -> Invocation:
    body = json.dumps({"input": "hi", **fields}).encode()
    return parse_request(body, graphs=["assistant"], stores=True, stored_by_default=stored_by_default)


def refusal(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(**fields)
    return caught.value


NAMED: list[dict[str, Any]] = [
    {"conversation": "conv_1"},
    {"conversation": {"id": "conv_1"}},
    {"previous_response_id": "resp_1"},
    {"context": {"conversation_id": "t"}},
    {"custom_inputs": {"thread_id": "t"}},
    {"custom_inputs": {"session_id": "t"}},
]


@pytest.mark.parametrize("fields", NAMED)
def test_a_request_that_names_a_conversation_is_stored_at_every_address(fields: dict[str, Any]) -> None:
    assert parse(stored_by_default=False, **fields).stored
    assert not parse(store=False, **fields).stored


def test_the_address_decides_unless_the_request_says_whether_it_is_stored() -> None:
    assert [parse(stored_by_default=address).stored for address in (True, False)] == [True, False]
    assert [parse(stored_by_default=address, store=True).stored for address in (True, False)] == [True, True]
    assert [parse(stored_by_default=address, store=False).stored for address in (True, False)] == [False, False]


def test_the_messages_of_a_stored_request_are_made_when_its_place_is_known() -> None:
    invocation = parse(input=[ASK], instructions="Be brief.")

    assert invocation.items == [{"type": "message", **ASK}]
    assert (invocation.messages, invocation.instructions) == ([], "Be brief.")


def test_the_messages_of_a_request_that_is_not_stored_are_made_at_once() -> None:
    invocation = parse(input=[ASK], instructions="Be brief.", store=False, context={"conversation_id": "t"})

    assert [message.content for message in invocation.messages] == ["Be brief.", "hi"]
    assert (invocation.items, invocation.instructions, invocation.thread) == ((), None, "t")


@pytest.mark.parametrize("history", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}])
def test_the_messages_of_a_request_that_only_reads_a_history_wait_for_it(history: dict[str, Any]) -> None:
    invocation = parse(store=False, **history)

    assert (len(invocation.items), invocation.messages) == (1, [])


@pytest.mark.parametrize("reference", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}])
@pytest.mark.parametrize("store", [True, False])
def test_an_item_may_be_named_by_its_id(reference: dict[str, Any], store: bool) -> None:
    invocation = parse(input=[reference, ASK], store=store)

    assert invocation.items[0] == {"type": "item_reference", "id": "msg_1"}


def test_a_reference_may_be_the_question() -> None:
    assert parse(input=[{"type": "item_reference", "id": "msg_1"}]).items


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": {}}, "conversation.id"),
        ({"conversation": {"id": 5}}, "conversation.id"),
        ({"conversation": ""}, "conversation"),
        ({"previous_response_id": ""}, "previous_response_id"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "conversation"),
        ({"conversation": "conv_1", "context": {"conversation_id": "t"}}, "conversation"),
        ({"custom_inputs": {"thread_id": "t" * 257}}, "context.conversation_id"),
        ({"custom_inputs": {"thread_id": "t\0"}}, "context.conversation_id"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"type": "item_reference", "id": ""}]}, "input[0].id"),
        ({"input": [{}]}, "input[0].type"),
    ],
)
def test_a_wrong_name_is_refused_with_its_path(fields: dict[str, Any], param: str) -> None:
    assert (refusal(**fields).status, refusal(**fields).param) == (400, param)


@pytest.mark.parametrize("place", ["context.conversation_id", "custom_inputs.thread_id"])
def test_a_secret_does_not_become_the_id_of_a_conversation(place: str) -> None:
    outer, inner = place.split(".")
    fields = {outer: {inner: "dapi0123456789abcdef0123456789abcdef"}}

    assert "looks like a secret" in refusal(**fields).message
    assert parse(store=False, **fields).thread


@pytest.mark.parametrize(
    "name",
    [
        "6f1c2b9e-4d3a-4f7b-9c55-0e8a7d2b1c34",
        "6f1c2b9e4d3a4f7b9c550e8a7d2b1c34",
        "conv_" + "0a" * 12,
        "chat-1",
        "Über uns/7",
    ],
)
def test_usual_ids_of_conversations_are_taken(name: str) -> None:
    assert parse(context={"conversation_id": name}).thread == name


def test_one_conversation_may_be_named_in_two_ways() -> None:
    invocation = parse(conversation={"id": "t"}, context={"conversation_id": "t"})

    assert (invocation.conversation, invocation.thread) == ("t", "t")
