"""Stored responses over real HTTP, with the official OpenAI SDK where it has the call."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from tests.serving.conftest import Service, Upstream, ask, leave
from tests.serving.test_requests import check_error
from tests.wire import frames

pytestmark = pytest.mark.anyio

FAMILIES = {"/v1": "openai", "": "databricks", "/api": "databricks"}


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=10) as client:
        yield client


def heard(response: Any) -> list[str]:
    """What the graph `echo` was sent: the texts of the people, and a dot for each answer."""
    text = response.output_text if hasattr(response, "output_text") else text_of(response)
    return [said if kind == "human" else "." for kind, said, _ in json.loads(text)]


def text_of(response: Any) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


def post(http: httpx.Client, address: str, said: Any, **fields: Any) -> Any:
    answer = http.post(address, json={"model": "echo", "input": said, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- read and delete --------------------------------------------------------------------------------------------


def test_a_response_is_read_as_it_was_sent(client: OpenAI) -> None:
    made = client.responses.create(model="team", input="Weather?")
    assert made.store is True  # type: ignore[attr-defined]
    assert client.responses.retrieve(made.id) == made


@pytest.mark.parametrize("address", ["/responses", "/v1/responses"])
def test_a_streamed_response_is_read_as_its_last_event_had_it(http: httpx.Client, address: str) -> None:
    answer = http.post(address, json={"model": "team", "input": "Weather?", "stream": True})
    last = frames(answer.text)[-2]["response"]
    assert http.get(f"{address}/{last['id']}").json() == last


@pytest.mark.parametrize("prefix", FAMILIES)
def test_a_response_has_each_address_with_each_prefix(http: httpx.Client, prefix: str) -> None:
    made = post(http, f"{prefix}/responses", "Hi")
    one = f"{prefix}/responses/{made['id']}"
    assert http.get(one).json() == made
    assert http.head(one).status_code == 200
    items = http.get(f"{one}/input_items").json()
    assert items["data"][0]["content"] == [{"type": "input_text", "text": "Hi"}]
    assert (items["object"], items["has_more"], items["first_id"]) == ("list", False, items["data"][0]["id"])
    assert http.delete(one).json() == {"id": made["id"], "object": "response", "deleted": True}
    check_error(http.get(one), 404, "response_not_found")
    check_error(http.delete(one), 404, "response_not_found")


def test_a_deleted_response_is_like_one_that_never_was(client: OpenAI, http: httpx.Client) -> None:
    made = client.responses.create(model="plain", input="Hi")
    client.responses.delete(made.id)
    deleted, unknown = (http.get(f"/v1/responses/{one}") for one in (made.id, "resp_0123456789abcdef01234567"))
    assert deleted.json() == unknown.json()
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="plain", input="Hi", previous_response_id=made.id)
    assert (missing.value.code, missing.value.param) == ("response_not_found", "previous_response_id")
    with pytest.raises(openai.NotFoundError) as no_conversation:
        client.responses.create(model="plain", input="Hi", conversation="conv_0123456789abcdef01234567")
    assert (no_conversation.value.code, no_conversation.value.param) == ("conversation_not_found", "conversation")


def test_input_items_are_read_in_pages(client: OpenAI) -> None:
    said: list[Any] = [{"role": "user", "content": str(number)} for number in range(5)]
    made = client.responses.create(model="echo", input=said)
    for order, expected in (("asc", range(5)), ("desc", reversed(range(5)))):
        items = client.responses.input_items.list(made.id, limit=2, order=order)  # type: ignore[arg-type]
        assert len(items.data) == 2
        assert [item.content[0].text for item in items] == list(map(str, expected))  # type: ignore[union-attr]


@pytest.mark.parametrize("prefix", FAMILIES)
def test_the_other_family_of_addresses_is_a_conflict_that_names_the_right_one(http: httpx.Client, prefix: str) -> None:
    made = post(http, f"{prefix}/responses", "Hi")["id"]
    for other, family in FAMILIES.items():
        for address in (f"{other}/responses/{made}", f"{other}/responses/{made}/input_items"):
            answer = http.get(address)
            if family == FAMILIES[prefix]:
                assert answer.status_code == 200
            else:
                check_error(answer, 409, "other_address")
                assert f"{'/v1' if prefix == '/v1' else ''}/responses/{made}" in answer.json()["detail"]


def test_a_response_that_was_not_stored_is_not_found(client: OpenAI, http: httpx.Client) -> None:
    for made in (
        client.responses.create(model="plain", input="Hi", store=False).id,
        http.post("/invocations", json={"model": "plain", "input": "Hi"}).json()["id"],
    ):
        check_error(http.get(f"/v1/responses/{made}"), 404, "response_not_found")
        check_error(http.get(f"/responses/{made}"), 404, "response_not_found")


@pytest.mark.parametrize("address", ["/responses", "/v1/responses"])
async def test_a_response_in_progress_is_read_with_what_is_known(
    service: Service, upstream: Upstream, address: str
) -> None:
    reader, writer = await ask(service, upstream, address=address, stream=True)
    head = await reader.readuntil(b"\r\n\r\n")
    response_id = head.lower().split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
    async with service.client() as client:
        reading = (await client.get(f"{address}/{response_id}")).json()
        assert (reading["status"], reading["output"], reading["store"]) == ("in_progress", [], True)
        conversation = reading["custom_outputs"]["thread_id"]
        busy = await client.delete(f"{address}/{response_id}")
        check_error(busy, 409, "conversation_busy")
        check_error(await client.delete(f"/conversations/{conversation}"), 409, "conversation_busy")
        named = "conversation" if address.startswith("/v1") else "context"
        more = (
            {"conversation": conversation}
            if named == "conversation"
            else {"context": {"conversation_id": conversation}}
        )
        second = await client.post(address, json={"model": "echo", "input": "And?"} | more)
        check_error(second, 409, "conversation_busy")
        assert response_id in second.json()["detail"]
        upstream.say("Hello")
        upstream.end()
        await reader.read()
        ended = (await client.get(f"{address}/{response_id}")).json()
        assert ended["status"] == "completed"
        assert set(reading) <= set(ended) | {"usage"}
    await leave(writer)


# -- continue and fork ------------------------------------------------------------------------------------------


def test_a_conversation_goes_on_in_every_way_that_the_sdk_has(client: OpenAI, http: httpx.Client) -> None:
    conversation = client.conversations.create(metadata={"for": "test"})
    first = client.responses.create(model="echo", input="One", conversation=conversation.id)
    assert first.conversation is not None
    assert first.conversation.id == conversation.id
    second = client.responses.create(model="echo", input="Two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    third = client.responses.create(model="echo", input="Three", conversation={"id": conversation.id})
    assert heard(third) == ["One", ".", "Two", ".", "Three"]
    items = client.conversations.items.list(conversation.id, order="asc")
    assert [item.role for item in items] == ["user", "assistant"] * 3  # type: ignore[union-attr]
    read = http.get(f"/v1/conversations/{conversation.id}").json()
    assert (read["title"], read["last_response_id"], read["metadata"]) == ("One", third.id, {"for": "test"})


def test_items_that_were_added_are_part_of_the_conversation(client: OpenAI) -> None:
    conversation = client.conversations.create(items=[{"role": "user", "content": "Call me Ann."}])
    client.conversations.items.create(conversation.id, items=[{"role": "assistant", "content": "Hello Ann."}])
    first = client.responses.create(model="echo", input="Hi", conversation=conversation.id)
    assert heard(first) == ["Call me Ann.", ".", "Hi"]
    client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "By the way:"}])
    second = client.responses.create(model="echo", input="Bye", conversation=conversation.id)
    assert heard(second) == ["Call me Ann.", ".", "Hi", ".", "By the way:", "Bye"]


def test_items_that_were_added_are_read_and_followed_by_the_id_of_their_entry(
    client: OpenAI, http: httpx.Client
) -> None:
    conversation = client.conversations.create(items=[{"role": "user", "content": "Call me Ann."}])
    client.responses.create(model="echo", input="Hi", conversation=conversation.id)
    *_, entry = http.get(f"/v1/conversations/{conversation.id}/responses").json()["data"]
    assert entry["object"] == "items"
    for prefix in FAMILIES:
        (item,) = http.get(f"{prefix}/responses/{entry['id']}/input_items").json()["data"]
        assert item["content"][0]["text"] == "Call me Ann."
        assert http.get(f"{prefix}/responses/{entry['id']}").status_code == 404
    other = client.responses.create(model="echo", input="Bye", previous_response_id=entry["id"])
    assert heard(other) == ["Call me Ann.", "Bye"]


def test_an_earlier_response_forks_and_both_branches_stay(client: OpenAI, http: httpx.Client) -> None:
    one = client.responses.create(model="echo", input="One")
    two = client.responses.create(model="echo", input="Two", previous_response_id=one.id)
    fork = client.responses.create(model="echo", input="Other", previous_response_id=one.id)
    three = client.responses.create(model="echo", input="Three", previous_response_id=two.id)
    further = client.responses.create(model="echo", input="Further", previous_response_id=fork.id)
    assert heard(three) == ["One", ".", "Two", ".", "Three"]
    assert heard(further) == ["One", ".", "Other", ".", "Further"]
    assert one.conversation is not None
    address = f"/v1/conversations/{one.conversation.id}"
    listed = http.get(f"{address}/responses", params={"order": "asc"}).json()["data"]
    assert [(node["id"], node["previous_response_id"]) for node in listed] == [
        (one.id, None),
        (two.id, one.id),
        (fork.id, one.id),
        (three.id, two.id),
        (further.id, fork.id),
    ]
    client.responses.delete(two.id)
    assert heard(client.responses.create(model="echo", input="!", previous_response_id=further.id))[-2:] == [".", "!"]
    assert "Three" in heard(client.responses.create(model="echo", input="!", previous_response_id=three.id))


def test_another_first_message_begins_a_branch_of_the_same_conversation(client: OpenAI, http: httpx.Client) -> None:
    first = client.responses.create(model="echo", input="One")
    assert first.conversation is not None
    beginning: Any = {"id": first.conversation.id, "from": "beginning"}
    other = client.responses.create(model="echo", input="Other", conversation=beginning)
    # The same words again are a branch of their own: somebody asks for another answer.
    again = client.responses.create(model="echo", input="One", conversation=beginning)
    assert [heard(one) for one in (other, again)] == [["Other"], ["One"]]
    listed = http.get(f"/v1/conversations/{first.conversation.id}/responses").json()["data"]
    assert [(one["id"], one["previous_response_id"]) for one in listed] == [
        (again.id, None),
        (other.id, None),
        (first.id, None),
    ]
    read = http.get(f"/v1/conversations/{first.conversation.id}").json()
    assert (read["title"], read["last_response_id"]) == ("One", again.id)
    further = client.responses.create(model="echo", input="Further", previous_response_id=other.id)
    assert heard(further) == ["Other", ".", "Further"]


def test_a_branch_can_begin_only_at_the_beginning(client: OpenAI) -> None:
    first = client.responses.create(model="echo", input="One")
    assert first.conversation is not None
    wrong: Any = {"id": first.conversation.id, "from": "end"}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="echo", input="Other", conversation=wrong)
    assert refused.value.param == "conversation.from"


@pytest.mark.parametrize(
    "named",
    [
        {"context": {"conversation_id": "chat/7 of Ann"}},
        {"custom_inputs": {"thread_id": "thread-8"}},
        {"custom_inputs": {"session_id": "session-9"}},
    ],
)
@pytest.mark.parametrize("address", ["/invocations", "/api/invocations", "/responses", "/v1/responses"])
def test_a_name_that_the_client_chose_continues_a_conversation(
    http: httpx.Client, address: str, named: dict[str, dict[str, str]]
) -> None:
    [(field, inner)] = named.items()
    [(key, name)] = inner.items()
    name = f"{name} at {address.replace('/', '-')}"
    more = {field: {key: name}}
    first = post(http, address, [{"role": "user", "content": "One"}], **more)
    second = post(http, address, [{"role": "user", "content": "Two"}], **more)
    assert heard(second) == ["One", ".", "Two"]
    assert second["previous_response_id"] == first["id"]
    assert second["custom_outputs"]["thread_id"] == second["metadata"]["conversation_id"] == name


def test_on_invocations_only_a_named_conversation_or_a_wish_is_stored(http: httpx.Client) -> None:
    unstored = post(http, "/invocations", "Hi")
    wished = post(http, "/invocations", "Hi", store=True)
    assert (unstored["store"], wished["store"]) == (False, True)
    assert http.get(f"/responses/{wished['id']}").json() == wished
    check_error(http.get(f"/responses/{unstored['id']}"), 404, "response_not_found")


@pytest.mark.parametrize(
    ("address", "is_named"),
    [
        ("/responses", True),
        ("/responses", False),
        ("/v1/responses", True),
        ("/v1/responses", False),
        ("/invocations", True),
    ],
)
def test_a_client_that_resends_everything_adds_only_what_is_new(
    http: httpx.Client, address: str, is_named: bool
) -> None:
    more: dict[str, Any] = {"context": {"conversation_id": f"page{address.replace('/', '-')}"}} if is_named else {}
    history: list[Any] = []
    conversations = set()
    for turn in range(10):
        history.append({"role": "user", "content": f"{address} {is_named} {turn}"})
        answer = post(http, address, history, **more)
        conversations.add(answer["custom_outputs"]["thread_id"])
        history += answer["output"]
    assert len(conversations) == 1
    said = [f"{address} {is_named} {turn}" for turn in range(10)]
    assert heard(answer) == [one for text in said for one in (text, ".")][:-1]
    assert len(http.get(f"/conversations/{conversations.pop()}/responses").json()["data"]) == 10


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_edited_message_forks_and_a_retry_adds_nothing(http: httpx.Client, address: str, streamed: bool) -> None:
    """As the stock chat page asks: the whole history each time, the conversation named in `context`."""
    context = {"conversation_id": f"edited{address.replace('/', '-')}-{streamed}", "user_id": "somebody"}

    def turn(history: list[Any]) -> Any:
        body = {"model": "echo", "input": history, "context": context, "stream": streamed}
        answer = http.post(address, json=body)
        return frames(answer.text)[-2]["response"] if streamed else answer.json()

    history: list[Any] = []
    answers = []
    for text in ("One", "Two", "Three", "Four"):
        history.append({"role": "user", "content": text})
        answers.append(turn(history))
        history += answers[-1]["output"]
    retried = turn(history[:-1])
    assert retried["previous_response_id"] == answers[2]["id"]
    assert heard(retried) == ["One", ".", "Two", ".", "Three", ".", "Four"]
    edited = turn([*history[:4], {"role": "user", "content": "Third"}])
    assert edited["previous_response_id"] == answers[1]["id"]
    assert heard(edited) == ["One", ".", "Two", ".", "Third"]
    further = turn(
        [*history[:4], {"role": "user", "content": "Third"}, *edited["output"], {"role": "user", "content": "?"}]
    )
    assert further["previous_response_id"] == edited["id"]
    assert heard(further) == ["One", ".", "Two", ".", "Third", ".", "?"]
    listed = http.get(f"/conversations/{context['conversation_id']}/responses").json()["data"]
    assert len(listed) == 7


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
def test_output_items_of_tools_that_are_resent_are_not_doubled(http: httpx.Client, address: str) -> None:
    first = http.post(address, json={"model": "team", "input": f"Weather at {address}?", "store": True}).json()
    history = [{"role": "user", "content": f"Weather at {address}?"}, *first["output"]]
    more = {"store": True}
    second = post(http, address, [*history, {"role": "user", "content": "And now?"}], **more)
    assert second["previous_response_id"] == first["id"]
    third = post(http, address, "Thanks", previous_response_id=second["id"], **more)
    kinds = [kind for kind, _, _ in json.loads(text_of(third))]
    assert kinds.count("human") == 3
    items = http.get(f"{'/v1' if address == '/v1/responses' else ''}/responses/{second['id']}/input_items").json()
    assert [item["content"][0]["text"] for item in items["data"]] == ["And now?"]


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
@pytest.mark.parametrize("stores", [True, False])
def test_a_reference_to_a_stored_item_is_resolved(http: httpx.Client, address: str, stores: bool) -> None:
    family = "/v1" if address == "/v1/responses" else ""
    first = post(http, address, f"Remember {address} {stores}", store=True)
    said = http.get(f"{family}/responses/{first['id']}/input_items").json()["data"][0]
    references = [{"type": "item_reference", "id": one["id"]} for one in (said, *first["output"])]
    second = post(http, address, [*references, {"role": "user", "content": "Next"}], store=stores)
    assert heard(second) == [f"Remember {address} {stores}", ".", "Next"]
    unknown = [{"type": "item_reference", "id": "msg_0"}, {"role": "user", "content": "Next"}]
    answer = http.post(address, json={"model": "echo", "input": unknown, "store": stores})
    check_error(answer, 400, "invalid_request", "input[0].id")


def test_an_unstored_request_may_read_the_history_and_leaves_nothing(client: OpenAI, http: httpx.Client) -> None:
    first = client.responses.create(model="echo", input="One")
    aside = client.responses.create(model="echo", input="Aside", previous_response_id=first.id, store=False)
    assert heard(aside) == ["One", ".", "Aside"]
    check_error(http.get(f"/v1/responses/{aside.id}"), 404, "response_not_found")
    second = client.responses.create(model="echo", input="Two", previous_response_id=first.id)
    assert heard(second) == ["One", ".", "Two"]


def test_instructions_hold_for_one_run_only(client: OpenAI) -> None:
    first = client.responses.create(model="echo", input="One", instructions="Be short.")
    assert json.loads(first.output_text)[0][:2] == ["system", "Be short."]
    second = client.responses.create(model="echo", input="Two", previous_response_id=first.id)
    assert heard(second) == ["One", ".", "Two"]


@pytest.mark.parametrize("fail", ["before", "tool"])
def test_a_conversation_goes_on_after_a_run_that_failed(http: httpx.Client, fail: str) -> None:
    name = {"conversation_id": f"failing-{fail}"}
    failed = http.post(
        "/responses",
        json={"model": "failing", "input": "Go.", "stream": True, "custom_inputs": {"fail": fail}, "context": name},
    )
    response = frames(failed.text)[-2]["response"]
    assert http.get(f"/responses/{response['id']}").json()["status"] == "failed"
    after = post(http, "/responses", "And now?", context=name)
    assert "And now?" in heard(after)
    assert "Go." in heard(after)


def test_two_ways_to_name_what_comes_before_are_refused(client: OpenAI) -> None:
    first = client.responses.create(model="echo", input="One")
    assert first.conversation is not None
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(
            model="echo", input="Two", previous_response_id=first.id, conversation=first.conversation.id
        )
    assert raised.value.param == "conversation"


def test_a_conversation_survives_the_process(serve: Callable[..., Any], tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'store.sqlite'}"
    with serve(store=store) as service, OpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
        conversation = client.conversations.create()
        first = client.responses.create(model="echo", input="One", conversation=conversation.id)
        httpx.post(
            f"{service.url}/invocations", json={"model": "echo", "input": "1", "context": {"conversation_id": "mine"}}
        ).raise_for_status()
    with serve(store=store) as service, OpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
        assert client.responses.retrieve(first.id) == first
        second = client.responses.create(model="echo", input="Two", conversation=conversation.id)
        assert heard(second) == ["One", ".", "Two"]
        fork = client.responses.create(model="echo", input="Other", previous_response_id=first.id)
        assert heard(fork) == ["One", ".", "Other"]
        again = httpx.post(
            f"{service.url}/invocations", json={"model": "echo", "input": "2", "context": {"conversation_id": "mine"}}
        )
        assert heard(again.json()) == ["1", ".", "2"]
