"""Requests where there is a store: what is stored, what a request continues, and items that it refers to."""

import json
from typing import Any

import pytest

from graph_agent.errors import RequestError
from graph_agent.protocol.requests import Invocation, parse_request
from graph_agent.redaction import with_hidden_values

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


# -- background ---------------------------------------------------------------------------------------------------

SECRET = "dapi" + "0123456789abcdef" * 2


def background(**fields: Any) -> Invocation:
    body = json.dumps({"input": "hi", "background": True, **fields}).encode()
    return parse_request(body, graphs=["assistant"], stores=True, background_served=True)


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        background(**fields)
    return caught.value


@pytest.mark.parametrize("stream", [True, False, None])
def test_a_background_run_is_stored_at_every_address(stream: bool | None) -> None:
    invocation = background(stream=stream, custom_inputs={"depth": 3})

    assert (invocation.background, invocation.stored, invocation.items[0]["content"]) == (True, True, "hi")
    assert invocation.mode == ("stream" if stream else "reply")
    assert invocation.custom_inputs == {"depth": 3}


def test_a_background_run_may_say_that_it_is_stored() -> None:
    assert background(store=True).stored
    assert background(store=None).stored


def test_a_background_run_cannot_be_kept_out_of_the_store() -> None:
    error = refused(store=False)

    assert (error.status, error.code, error.param) == (400, "invalid_request", "store")
    assert error.message == (
        "`store` must not be false with `background`: a background run is always stored. Leave one of them out."
    )


def test_a_background_run_returns_no_trace() -> None:
    error = refused(databricks_options={"return_trace": True})

    assert (error.status, error.code) == (400, "unsupported_field")
    assert error.param == "databricks_options.return_trace"
    assert not background(databricks_options={"return_trace": False}).return_trace


@pytest.mark.parametrize(
    ("custom_inputs", "path"),
    [
        ({"key": SECRET}, "custom_inputs.key"),
        ({"password": "hunter2-5f0c"}, "custom_inputs.password"),
        ({"a": {"b": [1, {"c": f"see {SECRET}."}]}}, "custom_inputs.a.b[1].c"),
        ({"first": "x", SECRET: 1}, "custom_inputs"),
    ],
)
def test_a_background_run_keeps_no_secret_of_its_custom_inputs(custom_inputs: dict[str, Any], path: str) -> None:
    error = refused(custom_inputs=custom_inputs)

    assert (error.status, error.code, error.param) == (400, "invalid_request", path)
    assert error.message == (
        f"`{path}` looks like a secret, and a background run keeps `custom_inputs` until it ends. Send the request "
        "without `background`, or keep the secret in the settings of the app."
    )
    assert parse(custom_inputs=custom_inputs).custom_inputs == custom_inputs


def test_a_background_run_keeps_none_of_the_values_that_the_app_hides() -> None:
    with with_hidden_values(["sunflower-4711"]):
        assert refused(custom_inputs={"note": "Is it sunflower-4711?"}).param == "custom_inputs.note"


def test_what_is_not_asked_for_in_the_background_is_not_refused() -> None:
    invocation = parse_request(
        json.dumps({"input": "hi", "background": False, "store": False, "custom_inputs": {"key": SECRET}}).encode(),
        graphs=["assistant"],
        stores=True,
        background_served=True,
    )

    assert (invocation.background, invocation.stored) == (False, False)
