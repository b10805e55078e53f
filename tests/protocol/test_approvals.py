"""What graphs ask as approvals, and answers as resume values, without a graph."""

from typing import Any

import pytest

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.approvals import Approval, Decision, approvals_of, decision_of, resume_values
from graph_agent.protocol.interrupts import PendingInterrupt


def batch(*names: str, allowed: Any = None) -> PendingInterrupt:
    configs = [{"action_name": name, "allowed_decisions": allowed or ["approve", "reject"]} for name in names]
    return PendingInterrupt(
        "i-1", {"action_requests": [{"name": name, "args": {"n": name}} for name in names], "review_configs": configs}
    )


def call(schema: Any = None) -> PendingInterrupt:
    value = {"type": "tool_approval", "tool_call_id": "call_1", "name": "send", "args": {"to": "ann"}}
    return PendingInterrupt("i-1", value, schema=schema)


def given(approval: Approval, approve: bool = True, **more: Any) -> Decision:
    item = {"type": "mcp_approval_response", "approval_request_id": approval.id, "approve": approve, **more}
    return decision_of(item, "input[2]", approval)


def test_each_action_of_a_batch_is_an_approval_of_its_own() -> None:
    first, second = approvals_of([batch("send", "delete")])
    assert (first.name, first.place, second.name, second.place) == ("send", 0, "delete", 1)
    assert first.allowed == ("approve", "reject")
    assert first.id != second.id


def test_a_batch_is_resumed_once_every_action_is_decided() -> None:
    first, second = approvals_of([batch("send", "delete")])
    assert resume_values([first, second], {second.id: given(second)}) == {}
    assert resume_values([first, second], {second.id: given(second), first.id: given(first, False, reason="no")}) == {
        "i-1": {"decisions": [{"type": "reject", "message": "no"}, {"type": "approve"}]}
    }


def test_the_decisions_of_a_single_call_are_those_of_its_schema() -> None:
    schema = {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"properties": {"type": {"const": "approve"}}}}}
    [approval] = approvals_of([call(schema)])
    assert (approval.allowed, approval.call) == (("approve",), "call_1")
    [free] = approvals_of([call()])
    assert free.allowed == ("approve", "edit", "reject", "respond")


SCHEMA = {"type": "object", "properties": {"n": {"type": "string", "description": "A name."}}, "required": ["n"]}


def test_an_approval_says_which_decisions_the_graph_accepts_and_what_the_arguments_are() -> None:
    asked = batch("send", "delete")
    asked.value["review_configs"][0]["args_schema"] = SCHEMA
    first, second = approvals_of([asked], schema_of=lambda one, name: {"title": name})
    assert first.item("agent") == {
        "type": "mcp_approval_request",
        "id": first.id,
        "name": "send",
        "arguments": '{"n": "send"}',
        "server_label": "agent",
        "allowed_decisions": ["approve", "reject"],
        "input_schema": SCHEMA,
    }
    assert second.item("agent")["input_schema"] == {"title": "delete"}
    assert [Approval.read(one.fields()) for one in (first, second)] == [first, second]
    [single] = approvals_of([call()], schema_of=lambda one, name: SCHEMA if name == "send" else None)
    assert single.item("agent")["input_schema"] == SCHEMA


def test_an_approval_of_another_version_is_read() -> None:
    [approval] = approvals_of([call()])
    before = {name: value for name, value in approval.fields().items() if name != "schema"}
    assert Approval.read(before | {"new": 1}) == approval


@pytest.mark.parametrize(
    ("value", "answer", "schema"),
    [
        ("Sure?", None, None),
        ({"question": "Which?", "input_schema": SCHEMA}, None, SCHEMA),
        ({"question": "Which?", "input_schema": "text"}, None, None),
        ("Which?", {"type": "string"}, {"type": "string"}),
    ],
)
def test_a_question_has_a_schema_only_if_the_graph_gives_one(value: Any, answer: Any, schema: Any) -> None:
    [approval] = approvals_of([PendingInterrupt("i-1", value, schema=answer)], schema_of=lambda one, name: SCHEMA)
    item = approval.item("agent")
    assert item.get("input_schema") == schema
    assert item["allowed_decisions"] == ["approve", "reject", "respond"]


CIRCLE: dict[str, Any] = {"type": "object"}
CIRCLE["properties"] = {"n": CIRCLE}


@pytest.mark.parametrize("schema", [{"description": "x" * 66_000}, CIRCLE, {"default": float("nan")}, {1j: "x"}])
def test_a_schema_that_no_response_can_hold_is_left_out(schema: Any) -> None:
    [approval] = approvals_of([call()], schema_of=lambda one, name: schema)
    assert "input_schema" not in approval.item("agent")


def test_a_schema_holds_no_secret() -> None:
    secret = "dapi" + "0123456789abcdef" * 2
    [approval] = approvals_of([call()], schema_of=lambda one, name: {"description": f"not {secret}"})
    assert secret not in str(approval.item("agent"))
    assert approval.item("agent")["input_schema"]


def test_a_question_is_the_same_with_another_schema() -> None:
    [before] = approvals_of([call()])
    [again] = approvals_of([call()], known=[before], schema_of=lambda one, name: SCHEMA)
    assert again.id == before.id


def test_an_edit_keeps_the_name_of_the_tool() -> None:
    [approval] = approvals_of([call()])
    decision = given(approval, arguments={"to": "eve"})
    assert resume_values([approval], {approval.id: decision}) == {
        "i-1": {"type": "edit", "edited_action": {"name": "send", "args": {"to": "eve"}}}
    }


def test_the_same_arguments_are_no_edit() -> None:
    [approval] = approvals_of([batch("send")])
    assert given(approval, arguments='{"n": "send"}') == Decision(kind="approve")


@pytest.mark.parametrize("value", ["Sure?", {"question": "Sure?"}, ["a", 1], None, 7, object()])
def test_any_other_payload_is_a_question(value: Any) -> None:
    [approval] = approvals_of([PendingInterrupt("i-1", value)])
    assert approval.name == "question"
    assert resume_values([approval], {approval.id: given(approval)}) == {"i-1": True}
    assert resume_values([approval], {approval.id: given(approval, False, reason="no")}) == {"i-1": False}
    assert resume_values([approval], {approval.id: given(approval, output=[1])}) == {"i-1": [1]}


@pytest.mark.parametrize(
    ("sent", "kind"), [({}, "approve"), ({"payload": True}, "approve"), ({"payload": False}, "reject")]
)
def test_a_question_of_yes_or_no_takes_no_other_answer(sent: dict[str, Any], kind: str) -> None:
    [approval] = approvals_of([PendingInterrupt("i-1", "Go on?", yes_or_no=True)])
    assert given(approval, **sent).kind == kind
    for other in ({"output": "perhaps"}, {"payload": "perhaps"}):
        with pytest.raises(InvalidRequest, match="not allowed for question"):
            given(approval, **other)


@pytest.mark.parametrize(
    "value",
    [
        {"action_requests": [], "review_configs": []},
        {"action_requests": [{"name": "send"}], "review_configs": []},
        {"action_requests": "send", "review_configs": []},
        {"type": "tool_approval", "name": 3, "args": {}},
    ],
)
def test_what_only_looks_like_a_payload_of_langchain_is_a_question(value: Any) -> None:
    assert [one.form for one in approvals_of([PendingInterrupt("i-1", value)])] == ["question"]


def test_what_is_asked_again_keeps_its_id() -> None:
    before = approvals_of([batch("send", "delete")])
    assert approvals_of([batch("send", "delete")], known=before) == before
    [changed, same] = approvals_of([batch("sned", "delete")], known=before)
    assert (changed.id != before[0].id, same.id) == (True, before[1].id)


@pytest.mark.parametrize(
    ("approve", "more", "param"),
    [
        (True, {"arguments": {"a": 1}}, "input[2].arguments"),
        (True, {"arguments": "[1]"}, "input[2].arguments"),
        (True, {"arguments": "{"}, "input[2].arguments"),
        (True, {"output": "x"}, "input[2].output"),
        (True, {"output": "x", "arguments": {}}, "input[2].output"),
        (False, {"output": "x"}, "input[2].output"),
        (False, {"arguments": {}}, "input[2].arguments"),
    ],
)
def test_a_decision_that_cannot_be_taken_names_its_field(approve: bool, more: Any, param: str) -> None:
    [approval] = approvals_of([batch("send")])
    with pytest.raises(InvalidRequest) as refused:
        given(approval, approve, **more)
    assert refused.value.param == param


def test_a_secret_in_the_arguments_is_not_sent() -> None:
    secret = "dapi" + "0123456789abcdef" * 2
    [approval] = approvals_of([PendingInterrupt("i-1", {"token": secret})])
    assert secret not in approval.item("mail")["arguments"]


def test_an_approval_survives_a_store() -> None:
    [approval] = approvals_of([call()])
    assert Approval.read(approval.fields()) == approval
    decision = given(approval, arguments={"to": "eve"})
    assert Decision.read(decision.fields()) == decision
