"""Graphs that wait for a person's decision, over HTTP in every dialect, with their side effects counted."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.approving import ADDRESSES, Effects, Person, answer, approving, asked, results, text_of

Talk = Callable[..., Person]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("approving")


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx.Client]:
    store = f"sqlite:{folder / 'store.sqlite'}"
    with approving(folder, store=store) as service, httpx.Client(base_url=service.url, timeout=20) as client:
        yield client


@pytest.fixture
def effects(folder: Path) -> Effects:
    found = Effects(folder / "effects")
    found()
    return found


@pytest.fixture(params=ADDRESSES)
def talk(http: httpx.Client, request: pytest.FixtureRequest) -> Talk:
    """A new conversation with a graph, at each address."""
    return lambda graph, **fields: Person(http, request.param, graph, **fields)


# -- what is asked ------------------------------------------------------------------------------------------------


def test_a_tool_that_asks_first_does_not_run_and_neither_do_the_others(talk: Talk, effects: Effects) -> None:
    response = talk("mail").say("send:ann look:bob")
    [item] = response["output"]
    assert (item["type"], item["name"], item["arguments"]) == ("mcp_approval_request", "send", '{"to": "ann"}')
    assert item["server_label"] == "mail"
    assert item["id"].startswith("mcpr_")
    assert effects() == []


@pytest.mark.parametrize("graph", ["mail", "batched", "per_call", "team"])
def test_an_approval_has_what_a_form_for_the_decision_needs(talk: Talk, graph: str) -> None:
    send, delete = asked(talk(graph).say("send:ann delete:x"))
    for item in (send, delete):
        assert item["input_schema"]["properties"]["to"]["type"] == "string"
        assert item["input_schema"]["required"] == ["to"]
    every = ["approve", "edit", "reject", "respond"]
    assert send["allowed_decisions"] == every
    assert delete["allowed_decisions"] == (["approve", "reject"] if graph in ("batched", "per_call") else every)


def test_a_question_says_how_it_may_be_answered(talk: Talk) -> None:
    [item] = asked(talk("question").say("go"))
    assert item["allowed_decisions"] == ["approve", "reject", "respond"]
    assert "input_schema" not in item


def test_a_tool_that_needs_no_approval_runs_at_once(talk: Talk, effects: Effects) -> None:
    assert text_of(talk("mail").say("look:bob")) == ["Done: saw bob."]
    assert effects() == ["look bob"]


def test_a_stream_has_the_approval_as_an_item_and_ends_completed(talk: Talk) -> None:
    person = talk("mail")
    body = {"model": "mail", "input": "send:ann", "stream": True, "context": {"conversation_id": person.conversation}}
    with person.http.stream("POST", person.address, json=body) as stream:
        frames = [line for line in stream.iter_lines() if line.startswith("data: {")]
    kinds = [frame.split('"type":"')[1].split('"')[0] for frame in frames]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
    ]


@pytest.mark.parametrize("graph", ["mail", "batched", "per_call"])
def test_two_runs_never_ask_under_the_same_id(talk: Talk, graph: str) -> None:
    first, second = (asked(talk(graph).say("send:ann delete:x")) for _ in range(2))
    assert len({one["id"] for one in [*first, *second]}) == 4


# -- the four decisions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", ["mail", "batched", "per_call"])
def test_an_approved_call_runs_once_and_has_its_result(talk: Talk, effects: Effects, graph: str) -> None:
    person = talk(graph)
    [approval] = asked(person.say("send:ann"))
    response = person.say([answer(approval)])
    assert results(response) == {approval["id"]: "sent to ann"}
    assert text_of(response) == ["Done: sent to ann."]
    assert effects() == ["send ann"]


@pytest.mark.parametrize("graph", ["mail", "batched", "per_call"])
def test_a_rejected_call_does_not_run_and_the_model_learns_why(talk: Talk, effects: Effects, graph: str) -> None:
    person = talk(graph)
    [approval] = asked(person.say("send:ann"))
    response = person.say([answer(approval, False, reason="not her")])
    assert "not her" in results(response)[approval["id"]]
    assert "not her" in text_of(response)[-1]
    assert effects() == []


@pytest.mark.parametrize("graph", ["mail", "batched", "per_call"])
@pytest.mark.parametrize("arguments", [{"to": "eve"}, '{"to": "eve"}'])
def test_an_edited_call_runs_with_the_new_arguments(talk: Talk, effects: Effects, graph: str, arguments: Any) -> None:
    person = talk(graph)
    [approval] = asked(person.say("send:ann"))
    response = person.say([answer(approval, arguments=arguments)])
    assert results(response)[approval["id"]].endswith("sent to eve")
    assert effects() == ["send eve"]
    if person.address == "/v1/responses":
        assert response["output"][0]["arguments"] == '{"to": "eve"}'


@pytest.mark.parametrize("graph", ["mail", "batched", "per_call"])
def test_a_person_can_answer_in_place_of_the_tool(talk: Talk, effects: Effects, graph: str) -> None:
    person = talk(graph)
    [approval] = asked(person.say("send:ann"))
    assert results(person.say([answer(approval, output="I told her.")])) == {approval["id"]: "I told her."}
    assert effects() == []


@pytest.mark.parametrize("graph", ["batched", "per_call"])
@pytest.mark.parametrize(("field", "value"), [("arguments", {"to": "y"}), ("output", "no")])
def test_a_decision_that_the_graph_does_not_allow_is_refused_with_those_that_it_does(
    talk: Talk, effects: Effects, graph: str, field: str, value: Any
) -> None:
    person = talk(graph)
    [approval] = asked(person.say("delete:x"))
    status, error = person.refused([answer(approval, **{field: value})])
    assert (status, error["param"]) == (400, f"input[0].{field}")
    assert error["message"].endswith("allowed: `approve: true`, `approve: false`.")
    assert text_of(person.say([answer(approval)])) == ["Done: deleted x."]
    assert effects() == ["delete x"]


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, True), ({"approve": False}, False), ({"output": "Three"}, "Three"), ({"output": {"n": 3}}, {"n": 3})],
)
def test_a_question_is_resumed_with_what_was_answered(talk: Talk, effects: Effects, given: Any, told: Any) -> None:
    person = talk("question")
    [approval] = asked(person.say("go"))
    assert (approval["name"], approval["arguments"]) == ("question", '{"question": "How many?", "most": 5}')
    assert text_of(person.say([answer(approval, **given)])) == [f"ask {[told]}"]
    assert effects() == [f"ask {[told]}"]


# -- several questions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", ["mail", "batched"])
def test_calls_that_were_asked_about_together_run_together(talk: Talk, effects: Effects, graph: str) -> None:
    person = talk(graph)
    send, delete = asked(person.say("send:ann look:bob delete:x"))
    again = person.say([answer(send)])
    assert again["output"] == [delete]
    assert effects() == []
    response = person.say([answer(delete, False)])
    assert results(response)[send["id"]] == "sent to ann"
    assert sorted(effects()) == ["look bob", "send ann"]


def test_two_parallel_questions_are_answered_apart(talk: Talk, effects: Effects) -> None:
    person = talk("parallel")
    left, right = asked(person.say("go"))
    assert asked(person.say([answer(right, False)])) == [left]
    assert effects() == ["right [False]"]
    assert text_of(person.say([answer(left)])) == ["left [True] and right [False]"]
    assert effects() == ["left [True]"]


def test_two_parallel_questions_are_answered_together(talk: Talk, effects: Effects) -> None:
    person = talk("parallel")
    left, right = asked(person.say("go"))
    assert text_of(person.say([answer(right), answer(left, False)])) == ["left [False] and right [True]"]
    assert sorted(effects()) == ["left [False]", "right [True]"]


def test_parallel_tools_that_ask_one_by_one_run_once_each(talk: Talk, effects: Effects) -> None:
    person = talk("per_call")
    send, delete = asked(person.say("send:ann look:bob delete:x"))
    assert effects() == ["look bob"]
    assert asked(person.say([answer(delete)])) == [send]
    assert effects() == ["delete x"]
    assert text_of(person.say([answer(send)])) == ["Done: sent to ann; saw bob; deleted x."]
    assert effects() == ["send ann"]


def test_an_answer_reaches_only_the_question_that_was_asked(talk: Talk, effects: Effects) -> None:
    person = talk("twice")
    [first] = asked(person.say("go"))
    [second] = asked(person.say([answer(first)]))
    assert second["id"] != first["id"]
    # The first question is answered. Its id must not answer the second one.
    person.say([answer(first)])
    assert person.refused([answer(first, False)])[0] == 409
    assert effects() == []
    assert text_of(person.say([answer(second, False)])) == ["ask [True, False]"]
    assert effects() == ["ask [True, False]"]


def test_a_graph_within_the_graph_asks_and_goes_on(talk: Talk, effects: Effects) -> None:
    person = talk("nested")
    [approval] = asked(person.say("go"))
    assert text_of(person.say([answer(approval)])) == ["ask [True]"]
    assert effects() == ["ask [True]"]


def test_an_agent_within_the_graph_asks_about_its_tools(talk: Talk, effects: Effects) -> None:
    person = talk("team")
    response = person.say("send:ann look:bob delete:x")
    send, delete = asked(response)
    assert response["output"] == [send, delete]
    done = person.say([answer(send), answer(delete, False)])
    assert results(done)[send["id"]] == "sent to ann"
    assert "rejected" in results(done)[delete["id"]]
    assert len(results(done)) == 3
    assert len(text_of(done)) == 1
    assert sorted(effects()) == ["look bob", "send ann"]
    assert text_of(person.say("bye")) == ["You said bye."]


def test_the_conversation_goes_on_after_an_approval(talk: Talk, effects: Effects) -> None:
    person = talk("mail")
    for name in ("ann", "bob"):
        [approval] = asked(person.say(f"send:{name}"))
        assert text_of(person.say([answer(approval)])) == [f"Done: sent to {name}."]
    assert text_of(person.say("hello")) == ["You said hello."]
    assert effects() == ["send ann", "send bob"]


# -- a message besides, or instead --------------------------------------------------------------------------------


@pytest.mark.parametrize("approve", [True, False])
def test_an_answer_and_a_message_are_one_response(talk: Talk, effects: Effects, approve: bool) -> None:
    person = talk("mail")
    [approval] = asked(person.say("send:ann"))
    response = person.say([answer(approval, approve), {"role": "user", "content": "look:bob"}])
    first, second = text_of(response)
    assert first.startswith("Done: sent to ann" if approve else "Done: The user rejected")
    assert second == "Done: saw bob."
    assert effects() == (["send ann", "look bob"] if approve else ["look bob"])
    assert text_of(person.say("thanks")) == ["You said thanks."]


def test_a_message_alone_asks_again_and_runs_after_the_answer(talk: Talk, effects: Effects) -> None:
    person = talk("mail")
    response = person.say("send:ann")
    again = person.say("look:bob")
    assert again["output"] == response["output"]
    assert again["id"] != response["id"]
    assert effects() == []
    assert text_of(person.say([answer(asked(response)[0])])) == ["Done: sent to ann.", "Done: saw bob."]
    assert effects() == ["send ann", "look bob"]


def test_a_message_waits_while_the_resumed_graph_asks_again(talk: Talk, effects: Effects) -> None:
    person = talk("twice")
    [first] = asked(person.say("go"))
    [second] = asked(person.say([answer(first), {"role": "user", "content": "again"}]))
    assert effects() == []
    # The message makes the graph ask its first question again.
    response = person.say([answer(second)])
    assert text_of(response) == ["ask [True, True]"]
    assert len(asked(response)) == 1
    assert effects() == ["ask [True, True]"]


# -- what is refused, and what has no effect ----------------------------------------------------------------------


def test_the_same_answer_again_gets_the_same_response(talk: Talk, effects: Effects) -> None:
    person = talk("mail")
    [approval] = asked(person.say("send:ann"))
    first, second = person.say([answer(approval)]), person.say([answer(approval)])
    assert (second["id"], second["output"]) == (first["id"], first["output"])
    assert effects() == ["send ann"]


def test_the_same_answer_at_the_other_address_is_refused(http: httpx.Client, effects: Effects) -> None:
    person = Person(http, "/v1/responses", "mail")
    [approval] = asked(person.say("send:ann"))
    person.say([answer(approval)])
    person.address = "/responses"
    assert person.refused([answer(approval)])[1]["code"] == "other_address"
    assert effects() == ["send ann"]


def test_another_answer_is_a_conflict(talk: Talk, effects: Effects) -> None:
    person = talk("mail")
    [approval] = asked(person.say("send:ann"))
    person.say([answer(approval)])
    for other in (answer(approval, False), answer(approval, arguments={"to": "eve"}), answer(approval, output="no")):
        status, error = person.refused([other])
        assert (status, error["code"]) == (409, "approval_answered")
    assert effects() == ["send ann"]


def test_an_answer_that_is_kept_cannot_be_changed(talk: Talk, effects: Effects) -> None:
    person = talk("mail")
    send, delete = asked(person.say("send:ann delete:x"))
    person.say([answer(send, False)])
    assert person.refused([answer(send), answer(delete)])[1]["code"] == "approval_answered"
    person.say([answer(send, False), answer(delete)])
    assert effects() == ["delete x"]


@pytest.mark.parametrize("id_", ["mcpr_000000000000000000000000", "call_1", "x" * 300])
def test_an_unknown_approval_does_not_exist(talk: Talk, effects: Effects, id_: str) -> None:
    person = talk("mail")
    person.say("send:ann")
    status, error = person.refused([answer(id_)])
    assert (status, error["code"], error["param"]) == (
        404,
        "approval_not_found",
        "input[0].approval_request_id",
    )
    assert effects() == []


def test_an_answer_in_another_conversation_does_not_count(talk: Talk, effects: Effects) -> None:
    [approval] = asked(talk("mail").say("send:ann"))
    other = talk("mail")
    other.say("hello")
    assert other.refused([answer(approval)])[0] == 404
    assert effects() == []


def test_many_answers_at_once_run_the_tool_once(talk: Talk, effects: Effects) -> None:
    person = talk("mail")
    [approval] = asked(person.say("send:ann"))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: person.post([answer(approval)]).status_code, range(8)))
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert effects() == ["send ann"]


def test_a_failed_run_leaves_its_question_to_another_answer(talk: Talk, effects: Effects) -> None:
    person = talk("breaking")
    [approval] = asked(person.say("go"))
    assert person.refused([answer(approval)])[1]["code"] == "graph_failed"
    assert effects() == ["break True"]
    assert text_of(person.say([answer(approval, output="no")])) == ["break no"]
    assert effects() == ["break no"]


def test_an_approval_of_a_deleted_response_does_not_exist(http: httpx.Client) -> None:
    person = Person(http, "/v1/responses", "mail")
    response = person.say("send:ann")
    assert http.delete(f"/v1/responses/{response['id']}").status_code == 200
    assert person.refused([answer(asked(response)[0])], context=None)[0] == 404


@pytest.mark.parametrize("field", ["update", "goto", "state", "resume", "edited_action"])
def test_nothing_but_a_decision_reaches_the_graph(talk: Talk, effects: Effects, field: str) -> None:
    person = talk("mail")
    [approval] = asked(person.say("send:ann"))
    person.say([answer(approval, False, **{field: {"name": "delete", "args": {"to": "x"}, "messages": []}})])
    assert effects() == []


# -- where the answer goes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES[:2])
def test_an_answer_finds_its_place_by_itself(http: httpx.Client, effects: Effects, address: str) -> None:
    person = Person(http, address, "mail")
    response = person.say("send:ann", context=None)
    done = person.say([answer(asked(response)[0])], context=None)
    assert done["previous_response_id"] == response["id"]
    assert text_of(done) == ["Done: sent to ann."]
    assert effects() == ["send ann"]


@pytest.mark.parametrize("address", ADDRESSES[:2])
def test_an_answer_follows_the_response_that_the_request_names(
    http: httpx.Client, effects: Effects, address: str
) -> None:
    person = Person(http, address, "mail")
    response = person.say("send:ann", context=None)
    more = {"context": None, "previous_response_id": response["id"]}
    assert text_of(person.say([answer(asked(response)[0])], **more)) == ["Done: sent to ann."]
    assert effects() == ["send ann"]


@pytest.mark.parametrize("dropped", [(), ("input_schema", "allowed_decisions")])
def test_a_client_that_resends_everything_adds_only_its_answer(talk: Talk, effects: Effects, dropped: Any) -> None:
    person = talk("mail")
    history: list[Any] = [{"role": "user", "content": "hello"}]
    history += person.say(history)["output"]
    history += [{"role": "user", "content": "send:ann"}]
    response = person.say(history)
    # Clients with classes of their own for items may drop fields that they do not know.
    history += [{name: value for name, value in one.items() if name not in dropped} for one in response["output"]]
    history += [answer(asked(response)[0])]
    done = person.say(history)
    assert text_of(done) == ["Done: sent to ann."]
    history += [*done["output"], {"role": "user", "content": "bye"}]
    assert text_of(person.say(history)) == ["You said bye."]
    assert effects() == ["send ann"]


@pytest.mark.parametrize("address", ADDRESSES[1:])
def test_the_flow_of_the_stock_chat_page(http: httpx.Client, effects: Effects, address: str) -> None:
    person = Person(http, address, "mail")
    history: list[Any] = [{"role": "user", "content": "send:ann"}]
    response = person.say(history)
    [approval] = asked(response)
    # Allow: everything again with the answer, and no new message.
    history += [*response["output"], answer(approval)]
    done = person.say(history)
    result, said = done["output"]
    assert (result["type"], result["call_id"], result["output"]) == (
        "function_call_output",
        approval["id"],
        "sent to ann",
    )
    assert said["type"] == "message"
    # Deny: nothing at once, and the answer before the next message.
    history += [*done["output"], {"role": "user", "content": "send:bob"}]
    response = person.say(history)
    [approval] = asked(response)
    history += [*response["output"], answer(approval, False), {"role": "user", "content": "never mind"}]
    denied = person.say(history)
    assert text_of(denied)[-1] == "You said never mind."
    assert denied["output"][0]["call_id"] == approval["id"]
    assert effects() == ["send ann"]


def page_answer(approval: Any, approve: bool = True) -> dict[str, Any]:
    """The answer as the stock chat page sends it: with the id of the request as its own."""
    return answer(approval, approve, id=approval["id"])


def as_page(output: list[Any]) -> list[Any]:
    """A response's output as the stock chat page resends it: messages and reasoning without their ids."""
    texts = [item for item in output if item["type"] == "message"]
    said = [
        {"role": "assistant", "content": [{"type": "output_text", "text": part["text"]}]}
        for item in texts
        for part in item["content"]
    ]
    return [*said, *(item for item in output if item["type"] not in ("message", "reasoning"))]


NAMED: list[dict[str, Any]] = [{}, {"context": None, "store": True}]
"""What the requests of the page add: they name the conversation, or they do not."""


@pytest.mark.parametrize("address", ADDRESSES[1:])
@pytest.mark.parametrize("named", NAMED)
def test_an_answer_with_the_id_of_its_request_is_an_answer(
    http: httpx.Client, effects: Effects, address: str, named: dict[str, Any]
) -> None:
    person = Person(http, address, "mail")
    history: list[Any] = [{"role": "user", "content": "hello"}]
    history += as_page(person.say(history, **named)["output"])
    history += [{"role": "user", "content": "send:ann"}]
    response = person.say(history, **named)
    [approval] = asked(response)
    history += [*as_page(response["output"]), page_answer(approval)]
    done = person.say(history, **named)
    assert results(done) == {approval["id"]: "sent to ann"}
    assert text_of(done) == ["Done: sent to ann."]
    assert effects() == ["send ann"]
    history += [*as_page(done["output"]), {"role": "user", "content": "bye"}]
    assert text_of(person.say(history, **named)) == ["You said bye."]
    assert effects() == []


@pytest.mark.parametrize("address", ADDRESSES[1:])
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("approve", [True, False])
def test_an_answer_with_the_id_of_its_request_counts_before_a_message(
    http: httpx.Client, effects: Effects, address: str, named: dict[str, Any], approve: bool
) -> None:
    person = Person(http, address, "mail")
    history: list[Any] = [{"role": "user", "content": "send:ann"}]
    response = person.say(history, **named)
    [approval] = asked(response)
    history += [*as_page(response["output"]), page_answer(approval, approve), {"role": "user", "content": "well"}]
    done = person.say(history, **named)
    assert list(results(done)) == [approval["id"]]
    assert text_of(done)[-1] == "You said well."
    assert effects() == (["send ann"] if approve else [])
    history += [*as_page(done["output"]), {"role": "user", "content": "send:bob"}]
    assert [one["arguments"] for one in asked(person.say(history, **named))] == ['{"to": "bob"}']


@pytest.mark.parametrize("address", ADDRESSES[1:])
def test_a_denial_with_the_id_of_its_request_is_an_answer(http: httpx.Client, effects: Effects, address: str) -> None:
    person = Person(http, address, "mail")
    question = {"role": "user", "content": "send:ann"}
    [approval] = asked(person.say([question]))
    done = person.say([question, approval, page_answer(approval, False)])
    assert list(results(done)) == [approval["id"]]
    assert text_of(done)[-1].startswith("Done: The user rejected")
    assert effects() == []


def test_a_conversation_keeps_an_answer_under_another_id_than_its_request(http: httpx.Client) -> None:
    person = Person(http, "/v1/responses", "mail")
    [approval] = asked(person.say("send:ann"))
    person.say([page_answer(approval)])
    [kept] = [
        item
        for item in http.get(f"/v1/conversations/{person.conversation}/items").json()["data"]
        if item["type"] == "mcp_approval_response"
    ]
    assert kept["approval_request_id"] == approval["id"] != kept["id"]


def test_a_question_that_was_asked_again_is_one_item_of_the_conversation(talk: Talk) -> None:
    person = talk("mail")
    response = person.say("send:ann")
    person.say("look:bob")
    assert person.say("look:eve")["output"] == response["output"]
    items = f"/v1/conversations/{person.conversation}/items"
    kinds = ["message", "mcp_approval_request", "message", "message"]
    assert [item["type"] for item in all_pages(person.http, items)] == kinds
    assert len(person.say([answer(asked(response)[0])])["output"]) >= 4
    assert [item["type"] for item in all_pages(person.http, items)][:5] == [*kinds, "mcp_approval_response"]


def test_a_question_that_a_client_resent_twice_is_one_item_of_the_lists(http: httpx.Client) -> None:
    # A client that shows a question again resends it as often as it was asked.
    asks = {"type": "mcp_approval_request", "id": "mcpr_2", "name": "send", "arguments": "{}", "server_label": "mail"}
    history = [asks, {"role": "user", "content": "well"}, asks, {"role": "user", "content": "look:eve"}]
    response = http.post("/v1/responses", json={"model": "mail", "input": history}).json()
    kinds = ["mcp_approval_request", "message", "message"]
    assert [item["type"] for item in all_pages(http, f"/v1/responses/{response['id']}/input_items")] == kinds
    conversation = f"/v1/conversations/{response['conversation']['id']}/items"
    assert [item["type"] for item in all_pages(http, conversation)][: len(kinds)] == kinds


def all_pages(http: httpx.Client, address: str) -> list[Any]:
    """A list's entries, from pages of one entry, as SDKs read them. No entry may occur twice, or it has no end."""
    entries: list[Any] = []
    query: dict[str, Any] = {"order": "asc", "limit": 1}
    while True:
        page = http.get(address, params=query).json()
        entries += page["data"]
        assert len({one["id"] for one in entries}) == len(entries)
        if not page["has_more"]:
            return entries
        query["after"] = page["last_id"]


def test_items_that_are_added_to_a_conversation_may_share_the_id_of_a_request(http: httpx.Client) -> None:
    asks = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "send", "arguments": "{}", "server_label": "mail"}
    created = http.post("/v1/conversations", json={"items": [asks, page_answer(asks)]}).json()
    items = http.get(f"/v1/conversations/{created['id']}/items?order=asc").json()["data"]
    assert items[1]["approval_request_id"] == items[0]["id"] != items[1]["id"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("question", ["send:nobody", "look:bob send:nobody", "please send:nobody"])
def test_the_same_answer_after_a_failed_run_is_refused_with_the_history_too(
    http: httpx.Client, effects: Effects, address: str, named: dict[str, Any], question: str
) -> None:
    person = Person(http, address, "mail")
    history: list[Any] = [{"role": "user", "content": "hello"}]
    history += as_page(person.say(history, **named)["output"])
    history += [{"role": "user", "content": question}]
    response = person.say(history, **named)
    [approval] = asked(response)
    history += [*as_page(response["output"]), page_answer(approval)]
    assert person.refused(history, **named)[1]["code"] == "model_failed"
    assert "send nobody" in effects()
    # The same request in a conversation that it names is one attempt more, and hears how the run failed.
    assert person.refused(history, **named)[1]["code"] == ("approval_answered" if named else "model_failed")
    assert person.refused([page_answer(approval)], **named)[1]["code"] == "approval_answered"
    assert effects() == []


RESULT = {"type": "function_call_output", "output": "sent to nobody"}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("behind", ["answer", "result", "both", "neither"])
@pytest.mark.parametrize(("question", "said"), [("send:nobody", ""), ("please send:nobody", "Gladly.")])
def test_a_message_after_a_failed_resumed_run_doubles_nothing(
    http: httpx.Client,
    effects: Effects,
    address: str,
    named: dict[str, Any],
    again: bool,
    behind: str,
    question: str,
    said: str,
) -> None:
    person = Person(http, address, "mail")
    history: list[Any] = [{"role": "user", "content": question}]
    response = person.say(history, **named)
    [approval] = asked(response)
    history += as_page(response["output"])
    for _ in range(1 + again):
        person.refused([*history, page_answer(approval)], **named)
    history += [page_answer(approval)] if behind in ("answer", "both") else []
    history += [{**RESULT, "call_id": approval["id"]}] if behind in ("result", "both") else []
    history += [{"role": "user", "content": "recall"}]
    done = person.say(history, **named)
    [told] = text_of(done)
    # Some addresses tell the error as a message, too.
    bare = re.sub(r" \| ai I stopped here because of an error[^|]*(?= \|)", "", told)
    assert bare == f"human {question} | ai {said} | tool sent to nobody | human recall"
    history += [*as_page(done["output"]), {"role": "user", "content": "recall"}]
    assert text_of(person.say(history, **named)) == [f"{told} | ai {told} | human recall"]
    assert effects() == ["send nobody"]
    if named == {}:
        items = http.get(f"/v1/conversations/{person.conversation}/items").json()["data"]
        kinds = sorted(item["type"] for item in items)
        assert kinds.count("mcp_approval_request") == kinds.count("mcp_approval_response") == 1


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("more", [[], [{"role": "user", "content": "hello"}]])
def test_another_answer_with_the_history_is_a_conflict(
    http: httpx.Client, effects: Effects, address: str, named: dict[str, Any], more: list[Any]
) -> None:
    person = Person(http, address, "mail")
    history: list[Any] = [{"role": "user", "content": "please send:nobody"}]
    response = person.say(history, **named)
    [approval] = asked(response)
    history += as_page(response["output"])
    person.refused([*history, page_answer(approval)], **named)
    status, error = person.refused([*history, page_answer(approval, False), *more], **named)
    assert (status, error["code"]) == (409, "approval_answered")
    assert effects() == ["send nobody"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("named", NAMED)
def test_a_client_that_resends_everything_answers_one_question_after_the_other(
    http: httpx.Client, effects: Effects, address: str, named: dict[str, Any]
) -> None:
    person = Person(http, address, "twice")
    history: list[Any] = [{"role": "user", "content": "go"}]
    for _ in range(2):
        response = person.say(history, **named)
        [approval] = asked(response)
        history += [*as_page(response["output"]), page_answer(approval)]
    first = person.say(history, **named)
    assert text_of(first) == ["ask [True, True]"]
    assert person.say(history, **named)["id"] == first["id"]
    assert effects() == ["ask [True, True]"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_edited_question_does_not_repeat_its_answered_approval(
    http: httpx.Client, effects: Effects, address: str
) -> None:
    person = Person(http, address, "mail")
    [approval] = asked(person.say([{"role": "user", "content": "send:nobody"}]))
    person.refused([page_answer(approval)])
    edited = [{"role": "user", "content": "send:somebody"}, approval, page_answer(approval)]
    assert person.refused(edited)[1]["code"] == "approval_answered"
    assert effects() == ["send nobody"]


# -- what cannot wait ---------------------------------------------------------------------------------------------


def test_an_unstored_run_cannot_wait(talk: Talk, effects: Effects) -> None:
    status, error = talk("mail").refused("send:ann", store=False)
    assert (status, error["code"]) == (501, "approval_needs_store")
    assert effects() == []


@pytest.mark.parametrize(("graph", "named"), [("sealed", "'team'"), ("breakpoint", "breakpoint")])
def test_a_graph_that_no_answer_can_resume_is_refused(talk: Talk, graph: str, named: str) -> None:
    status, error = talk(graph).refused("go")
    assert (status, error["code"]) == (501, "approval_not_resumable")
    assert named in error["message"]


# -- declared tools -----------------------------------------------------------------------------------------------


def test_a_client_may_declare_the_graph_itself(talk: Talk) -> None:
    tool = {"type": "mcp", "server_label": "mail", "server_url": "http://x", "authorization": "tok-3f9a1c7be2"}
    response = talk("mail").say("hello", tools=[tool])
    assert response["tools"] == [{"type": "mcp", "server_label": "mail", "server_url": "http://x"}]


@pytest.mark.parametrize(
    "tool", [{"type": "mcp", "server_label": "github"}, {"type": "mcp"}, {"type": "function", "name": "f"}]
)
def test_any_other_tool_is_refused(talk: Talk, tool: Any) -> None:
    status, error = talk("mail").refused("hello", tools=[tool])
    assert (status, error["code"]) == (400, "unsupported_field")


# -- the setting --------------------------------------------------------------------------------------------------


def test_a_message_may_count_as_a_rejection(tmp_path: Path) -> None:
    effects = Effects(tmp_path / "effects")
    with approving(tmp_path, unanswered="reject") as service, httpx.Client(base_url=service.url, timeout=20) as client:
        person = Person(client, "/responses", "mail")
        send, delete = asked(person.say("send:ann delete:x"))
        first, second = text_of(person.say([answer(send, False), {"role": "user", "content": "look:bob"}]))
        assert "without deciding" in first
        assert second == "Done: saw bob."
        assert effects() == ["look bob"]
        assert person.refused([answer(delete)])[1]["code"] == "approval_answered"
