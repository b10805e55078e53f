"""The conversations API with the official OpenAI SDK, and what it refuses."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from tests.serving.conftest import Service
from tests.serving.test_requests import check_error

pytestmark = pytest.mark.anyio

PREFIXES = ["/v1", "", "/api"]


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=10) as client:
        yield client


def said(text: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": text}


# -- conversations ----------------------------------------------------------------------------------------------


def test_a_conversation_is_made_read_changed_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create(metadata={"topic": "weather"})
    assert made.id.startswith("conv_")
    assert made.object == "conversation"
    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"topic": "news"})
    assert (changed.id, changed.metadata) == (made.id, {"topic": "news"})
    deleted = client.conversations.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
    with pytest.raises(openai.NotFoundError) as gone:
        client.conversations.retrieve(made.id)
    assert gone.value.code == "conversation_not_found"


def test_a_conversation_can_be_made_without_anything(client: OpenAI) -> None:
    made = client.conversations.create()
    assert made.metadata == {}
    assert client.conversations.items.list(made.id).data == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_address_of_conversations_exists_with_each_prefix(http: httpx.Client, prefix: str) -> None:
    made = http.post(f"{prefix}/conversations", json={"title": "Trip", "items": [said("Hi")]}).json()
    one = f"{prefix}/conversations/{made['id']}"
    assert http.get(one).json()["title"] == "Trip"
    assert http.post(one, json={"title": "Journey"}).json()["title"] == "Journey"
    assert http.get(f"{prefix}/conversations").json()["data"][0]["id"] == made["id"]
    added = http.post(f"{one}/items", json={"items": [said("Hello", "assistant")]}).json()["data"]
    listed = http.get(f"{one}/items", params={"order": "asc"}).json()
    assert [item["content"][0]["text"] for item in listed["data"]] == ["Hi", "Hello"]
    assert http.get(f"{one}/items/{added[0]['id']}").json() == added[0]
    assert len(http.get(f"{one}/responses").json()["data"]) == 2
    assert http.delete(f"{one}/items/{added[0]['id']}").json()["id"] == made["id"]
    assert http.delete(one).json() == {"id": made["id"], "object": "conversation.deleted", "deleted": True}


def test_conversations_are_searched_and_those_that_are_pinned_are_a_list_of_their_own(http: httpx.Client) -> None:
    pin = {"pinned": "true"}
    made = {
        title: http.post("/conversations", json={"title": title, "metadata": pin if "Rome" in title else {}}).json()[
            "id"
        ]
        for title in ("Ülkü trip", "Ülkü in Rome", "Something else")
    }
    searched = http.get("/v1/conversations", params={"query": " ÜLKÜ  "}).json()
    assert [one["title"] for one in searched["data"]] == ["Ülkü in Rome", "Ülkü trip"]
    first = http.get("/conversations", params={"query": "ülkü", "limit": 1}).json()
    assert (first["data"][0]["id"], first["has_more"]) == (made["Ülkü in Rome"], True)
    rest = http.get("/conversations", params={"query": "ülkü", "limit": 1, "after": first["last_id"]}).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([made["Ülkü trip"]], False)
    pinned = http.get("/api/conversations", params={"pinned": "true"}).json()["data"]
    assert [one["title"] for one in pinned] == ["Ülkü in Rome"]
    others = http.get("/conversations", params={"pinned": "false", "query": "ülkü"}).json()["data"]
    assert [one["title"] for one in others] == ["Ülkü trip"]
    for id_ in made.values():
        http.delete(f"/conversations/{id_}")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": "x" * 201}, "query"),
        ({"query": " ".join(map(str, range(41)))}, "query"),
        ({"pinned": "yes"}, "pinned"),
        ({"search": "x"}, "search"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(http: httpx.Client, query: dict[str, str], param: str) -> None:
    answer = http.get("/v1/conversations", params=query)
    check_error(answer, 400, "invalid_request", param)


def test_conversations_are_listed_from_the_newest_to_the_oldest(http: httpx.Client) -> None:
    before = http.get("/v1/conversations", params={"limit": 100}).json()["data"]
    made = [http.post("/v1/conversations", json={"title": f"Number {number}"}).json() for number in range(5)]
    listed = http.get("/v1/conversations", params={"limit": 100}).json()
    assert [one["id"] for one in listed["data"]] == [one["id"] for one in [*reversed(made), *before]]
    assert listed["object"] == "list"
    pages, after = [], {}
    for _ in range(3):
        page = http.get("/v1/conversations", params={"limit": 2, **after}).json()
        pages += [one["title"] for one in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        after = {"after": page["last_id"]}
    assert pages[:5] == [f"Number {number}" for number in reversed(range(5))]


def test_a_title_and_metadata_change_apart(http: httpx.Client) -> None:
    made = http.post("/v1/conversations", json={"metadata": {"a": "1"}, "title": "One"}).json()
    one = f"/v1/conversations/{made['id']}"
    http.post(one, json={"title": "Two"}).raise_for_status()
    http.post(one, json={"metadata": {}}).raise_for_status()
    read = http.get(one).json()
    assert (read["title"], read["metadata"]) == ("Two", {})


# -- items ------------------------------------------------------------------------------------------------------


def test_items_are_added_listed_read_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create(items=[said("One"), said("Two", "assistant")])
    added = client.conversations.items.create(
        made.id, items=[said("Three"), {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]
    )
    assert (added.object, added.has_more, len(added.data)) == ("list", False, 2)
    listed = client.conversations.items.list(made.id, order="asc").data
    assert [item.type for item in listed] == ["message", "message", "message", "function_call"]
    assert [item.content[0].text for item in listed[:3]] == ["One", "Two", "Three"]  # type: ignore[union-attr]
    assert [item.content[0].type for item in listed[:2]] == ["input_text", "output_text"]  # type: ignore[union-attr]
    assert len({item.id for item in listed}) == 4
    first = client.conversations.items.retrieve(listed[0].id, conversation_id=made.id)  # type: ignore[arg-type]
    assert first == listed[0]
    after = client.conversations.items.delete(listed[0].id, conversation_id=made.id)  # type: ignore[arg-type]
    assert after.id == made.id
    assert [item.id for item in client.conversations.items.list(made.id)] == [item.id for item in reversed(listed[1:])]
    with pytest.raises(openai.NotFoundError) as gone:
        client.conversations.items.retrieve(listed[0].id, conversation_id=made.id)  # type: ignore[arg-type]
    assert gone.value.code == "item_not_found"


def test_the_sdk_reads_all_pages_of_items(client: OpenAI) -> None:
    made = client.conversations.create(items=[said(str(number)) for number in range(7)])
    for order, expected in (("asc", range(7)), ("desc", reversed(range(7)))):
        pages = client.conversations.items.list(made.id, limit=3, order=order)  # type: ignore[arg-type]
        assert len(pages.data) == 3
        assert [item.content[0].text for item in pages] == [str(number) for number in expected]  # type: ignore[union-attr]


def test_items_that_were_copied_get_ids_of_their_own(http: httpx.Client) -> None:
    first = http.post("/v1/conversations", json={"items": [said("One"), said("Two", "assistant")]}).json()
    items = http.get(f"/v1/conversations/{first['id']}/items", params={"order": "asc"}).json()["data"]
    second = http.post("/v1/conversations", json={"items": items}).json()
    copied = http.get(f"/v1/conversations/{second['id']}/items", params={"order": "asc"}).json()["data"]
    assert [item["content"] for item in copied] == [item["content"] for item in items]
    assert not {item["id"] for item in copied} & {item["id"] for item in items}


def test_calls_that_lost_their_ids_stay_calls_of_their_own(http: httpx.Client) -> None:
    # As the conversations session of the OpenAI Agents SDK for JavaScript writes them.
    call = {"type": "mcp_call", "name": "look", "arguments": "{}", "server_label": "remembering", "output": "a cat"}
    asked = {"type": "mcp_approval_request", "name": "send", "arguments": "{}", "server_label": "remembering"}
    made = http.post("/v1/conversations", json={"items": [said("Look twice"), call, {**call, "id": None}, asked]})
    assert made.status_code == 200, made.text

    path = f"/v1/conversations/{made.json()['id']}/items"
    items = http.get(path, params={"order": "asc"}).json()["data"]
    assert [item["type"] for item in items] == ["message", "mcp_call", "mcp_call", "mcp_approval_request"]
    assert len({item["id"] for item in items}) == 4
    assert [item["id"].split("_")[0] for item in items] == ["msg", "mcp", "mcp", "mcpr"]


def test_an_item_of_another_conversation_is_not_found(http: httpx.Client) -> None:
    one = http.post("/v1/conversations", json={"items": [said("One")]}).json()["id"]
    other = http.post("/v1/conversations", json={"items": [said("Two")]}).json()["id"]
    item = http.get(f"/v1/conversations/{other}/items").json()["data"][0]["id"]
    missing = http.get(f"/v1/conversations/{one}/items/msg_nothing")
    check_error(missing, 404, "item_not_found")
    assert http.get(f"/v1/conversations/{one}/items/{item}").json() == missing.json()
    assert http.delete(f"/v1/conversations/{one}/items/{item}").json() == missing.json()
    assert len(http.get(f"/v1/conversations/{other}/items").json()["data"]) == 1


def test_secrets_are_not_kept(http: httpx.Client) -> None:
    # Not one string, so that no scanner takes this file for a leak.
    secret = "dapi" + "0123456789abcdef" * 2
    made = http.post("/v1/conversations", json={"title": f"key {secret}", "items": [said(f"My key is {secret}.")]})
    listed = http.get(f"/v1/conversations/{made.json()['id']}/items")
    assert secret not in made.text + listed.text
    assert "My key is " in listed.text


# -- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"item": []}, "item"),
        ("", {"items": "Hi"}, "items"),
        ("", {"items": [{"role": "user"}]}, "items[0].content"),
        ("", {"items": [said("Hi")] * 1001}, "items"),
        ("", {"items": [{"type": "item_reference", "id": "msg_1"}]}, "items[0]"),
        ("", {"metadata": {"a": 1}}, "metadata.a"),
        ("", {"metadata": []}, "metadata"),
        ("", {"title": "  "}, "title"),
        ("", {"title": "t" * 201}, "title"),
        ("", [], None),
        ("/{id}", {}, "metadata"),
        ("/{id}", {"metadata": None}, "metadata"),
        ("/{id}", {"items": []}, "items"),
        ("/{id}/items", {}, "items"),
        ("/{id}/items", {"items": []}, "items"),
        ("/{id}/items", {"items": [said("Hi")], "metadata": {}}, "metadata"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_its_field(
    http: httpx.Client, path: str, body: Any, param: str | None
) -> None:
    made = http.post("/v1/conversations", json={}).json()["id"]
    answer = http.post(f"/v1/conversations{path.format(id=made)}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("address", "query", "param"),
    [
        ("conversations", "limits=3", "limits"),
        ("conversations", "limit=0", "limit"),
        ("conversations", "limit=101", "limit"),
        ("conversations", "limit=+1", "limit"),
        ("conversations", "limit=%D9%A3", "limit"),
        ("conversations", "order=up", "order"),
        ("conversations", "after=%00", "after"),
        ("conversations", "after=conv_unknown", "after"),
        ("conversations", "limit=1&limit=2", "limit"),
        ("conversations/{id}", "include=x", "include"),
        ("conversations/{id}/items", "after=msg_unknown", "after"),
        ("conversations/{id}/items", "before=x", "before"),
        ("conversations/{id}/responses", "after=resp_unknown", "after"),
        ("responses/resp_1", "stream=yes", "stream"),
        ("responses/resp_1", "include_obfuscation=true", "include_obfuscation"),
        ("responses/resp_1", "stream=true&starting_after=-1", "starting_after"),
        ("responses/resp_1", "starting_after=4", "starting_after"),
        ("responses/resp_1", "user=ann", "user"),
        ("responses/resp_1/input_items", "page=2", "page"),
    ],
)
def test_a_wrong_query_is_refused_by_the_name_of_its_parameter(
    http: httpx.Client, address: str, query: str, param: str
) -> None:
    made = http.post("/v1/conversations", json={"items": [said("Hi")]}).json()["id"]
    answer = http.get(f"/v1/{address.format(id=made)}?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("missing", ["conv_0123456789abcdef01234567", "x", "a" * 300, "%00", "%7F", "%E2%80%A8"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unknown_conversation_is_not_found_at_every_address(http: httpx.Client, prefix: str, missing: str) -> None:
    one = f"{prefix}/conversations/{missing}"
    answers = [
        http.get(one),
        http.post(one, json={"title": "Mine"}),
        http.delete(one),
        http.get(f"{one}/items"),
        http.post(f"{one}/items", json={"items": [said("Hi")]}),
        http.get(f"{one}/items/msg_1"),
        http.delete(f"{one}/items/msg_1"),
        http.get(f"{one}/responses"),
    ]
    for answer in answers:
        check_error(answer, 404, "conversation_not_found")
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("missing", ["resp_0123456789abcdef01234567", "x", "a" * 300, "%00"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unknown_response_is_not_found_at_every_address(http: httpx.Client, prefix: str, missing: str) -> None:
    one = f"{prefix}/responses/{missing}"
    answers = [http.get(one), http.delete(one), http.get(f"{one}/input_items")]
    for answer in answers:
        check_error(answer, 404, "response_not_found")
    assert len({answer.text for answer in answers}) == 1


def test_other_methods_are_named_with_those_that_exist(http: httpx.Client) -> None:
    answer = http.put("/v1/conversations/conv_1", json={})
    check_error(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "DELETE"}
    check_error(http.post("/v1/responses/resp_1", json={}), 405, "method_not_allowed")


def test_a_page_of_another_site_cannot_write(http: httpx.Client) -> None:
    for address in ("conversations", "conversations/conv_1", "conversations/conv_1/items"):
        answer = http.post(f"/v1/{address}", content=b"{}", headers={"content-type": "text/plain"})
        check_error(answer, 415, "not_json")
        answer = http.post(f"/v1/{address}", json={}, headers={"origin": "https://evil.example"})
        check_error(answer, 403, "foreign_page")
    check_error(http.delete("/v1/conversations/c", headers={"origin": "https://evil.example"}), 403, "foreign_page")


async def test_bodies_are_bounded_as_those_of_runs_are(serve: Callable[..., Any]) -> None:
    with serve(max_body_bytes=50_000, max_runs=1) as service:
        async with service.client() as client:
            made = (await client.post("/v1/conversations", json={})).json()["id"]
            for address in ("conversations", f"conversations/{made}", f"conversations/{made}/items"):
                large = await client.post(f"/v1/{address}", json={"items": [said("a" * 60_000)]})
                check_error(large, 413, "body_too_large")
            # Too large to be parsed on the event loop.
            long = await client.post(f"/v1/conversations/{made}/items", json={"items": [said("a" * 40_000)]})
            assert long.status_code == 200
            wrong = await client.post(f"/v1/conversations/{made}/items", json={"items": [said("a" * 40_000), 7]})
            check_error(wrong, 400, "invalid_request", "items[1]")


def test_a_body_may_be_empty_only_as_an_object(http: httpx.Client) -> None:
    for body in (b"", b"null", b"[]", b"\xff", b'{"metadata": NaN}', b'{"items": [' + b"[" * 100):
        answer = http.post("/v1/conversations", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
