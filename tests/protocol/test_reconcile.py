"""Which items of a request are the end of a response's output."""

from typing import Any

import pytest

from graph_agent.protocol.item_ids import with_own_ids
from graph_agent.protocol.reconcile import end_of_history, has_returned, ids_of_assistant

ASKED = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "send", "arguments": "{}", "server_label": "mail"}
ANSWER = {"type": "mcp_approval_response", "id": "mcpr_1", "approval_request_id": "mcpr_1", "approve": True}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "id": "fc_1", "call_id": "call_1", "output": "seen"}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": "Hello."}
HEARD = {"type": "message", "id": "msg_1", "role": "user", "content": "Hello."}


@pytest.mark.parametrize(("output", "answer"), [(ASKED, ANSWER), (CALL, RESULT), (SAID, HEARD)])
def test_an_answer_with_the_id_of_an_output_item_is_no_history(output: Any, answer: Any) -> None:
    assert end_of_history([output, answer], 0, [output]) == 1
    assert has_returned([output], output)
    assert not has_returned([output], answer)


def test_a_result_that_the_response_has_returned_is_history() -> None:
    result = {**RESULT, "id": "fco_1"}
    assert end_of_history([CALL, {**result, "call_id": "renamed"}], 0, [CALL, result]) == 2


def test_an_answer_does_not_show_which_response_the_client_resends() -> None:
    assert list(ids_of_assistant([ASKED, ANSWER, HEARD], start=0)) == [(0, "mcpr_1")]


def test_an_answer_gets_an_id_of_its_own() -> None:
    asked, answer = with_own_ids([ASKED, ANSWER])
    assert asked["id"] == answer["approval_request_id"] == "mcpr_1" != answer["id"]
