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
