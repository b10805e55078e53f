"""Other users try to read and to change what is Ann's, with guessed, leaked and forged ids and headers."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import Service, serving

TOKEN = {"authorization": "Bearer open sesame"}
SECRET = "the cellar door"

STRANGERS = [
    {"x-user": "bob"},
    {"x-user": "Ann"},
    {"x-user": "ann.", "x-forwarded-user": "ann"},
    {"x-user": "front_end:ann"},
    {"x-user": "local:ann", "x-forwarded-access-token": "ann"},
    {"x-user": "apps:ann", "x-forwarded-email": "ann"},
    {"x-user": "an", "x-owner": "ann"},
    {"x-user": "ann%00", "x-user-id": "ann", "cookie": "user=ann"},
    {"x-user": "ann,bob", "user": "ann", "from": "ann"},
    {"x-user": "%", "x-openwebui-user-id": "ann"},
    {"x-user": "' OR '1'='1", "x-real-user": "ann"},
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service behind a front end that names its users."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    with serving(bearer_token="open sesame", user_header="X-User", store=f"sqlite:{path}") as running:
        yield running


class Ann:
    """The owner, and what she has."""

    def __init__(self, http: httpx.Client, family: str) -> None:
        self._http = http
        self.family = family
        said = f"{family} {SECRET}"
        first = self._post(f"{family}/responses", {"model": "echo", "input": said})
        second = self._post(
            f"{family}/responses", {"model": "echo", "input": "More", "previous_response_id": first["id"]}
        )
        self.named = f"ann's chat {family.strip('/')}".strip()
        third = self._post("/invocations", {"model": "echo", "input": said, "context": {"conversation_id": self.named}})
        made = self._post(
            f"{family}/conversations",
            {"title": SECRET, "metadata": {"note": SECRET}, "items": [{"role": "user", "content": said}]},
        )
        self.responses = [first["id"], second["id"], *([third["id"]] if not family else [])]
        self.conversations = [first["metadata"]["conversation_id"], made["id"]]
        self.items = [first["output"][0]["id"], *self._items(made["id"])]
        self.outputs = first["output"]
        self.said = said

    def _items(self, conversation: str) -> list[str]:
        listed = self._http.get(f"{self.family}/conversations/{conversation}/items").json()
        return [item["id"] for item in listed["data"]]

    def _post(self, address: str, body: Any) -> Any:
        answer = self._http.post(address, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def everything(self) -> str:
        """All that she has, as she reads it."""
        addresses = [f"{self.family}/conversations?limit=100"]
        addresses += [f"{self.family}/responses/{one}" for one in self.responses]
        for one in [*self.conversations, self.named]:
            addresses += [
                f"{self.family}/conversations/{one}",
                f"{self.family}/conversations/{one}/items?limit=100",
                f"{self.family}/conversations/{one}/responses?limit=100",
            ]
        answers = [self._http.get(address) for address in addresses]
        assert [answer.status_code for answer in answers] == [200] * len(addresses)
        return json.dumps([answer.json() for answer in answers])


def attempts(ann: Ann) -> Iterator[tuple[str, str, Any, set[int]]]:
    """Method, address and body of every attempt, and the statuses that give nothing away."""
    item = {"role": "user", "content": "Mine now"}
    for prefix in ("", "/api", "/v1"):
        for one in ann.responses:
            yield "GET", f"{prefix}/responses/{one}", None, {404}
            yield "GET", f"{prefix}/responses/{one}?stream=true", None, {404}
            yield "POST", f"{prefix}/responses/{one}/cancel", {}, {404}
            yield "GET", f"{prefix}/responses/{one}/input_items", None, {404}
            yield "DELETE", f"{prefix}/responses/{one}", None, {404}
        for one in ann.conversations:
            address = f"{prefix}/conversations/{one}"
            for body in ({"title": "Mine"}, {"metadata": {"owner": "bob"}}):
                yield "POST", address, body, {404}
            yield "POST", address, {"title": "Mine", "user": "ann"}, {400}
            yield "GET", address, None, {404}
            yield "DELETE", address, None, {404}
            yield "GET", f"{address}/items", None, {404}
            yield "POST", f"{address}/items", {"items": [item]}, {404}
            yield "GET", f"{address}/responses", None, {404}
            for each in ann.items:
                yield "GET", f"{address}/items/{each}", None, {404}
                yield "DELETE", f"{address}/items/{each}", None, {404}
        # Names that she chose are names in the stranger's own namespace.
        yield "GET", f"{prefix}/conversations/{ann.named}", None, {404}
        yield "DELETE", f"{prefix}/conversations/{ann.named}", None, {404}
    for address in ("/responses", "/v1/responses", "/invocations"):
        ask = {"model": "echo", "input": "Go on", "user": "ann"}
        for one in ann.responses:
            for more in ({}, {"store": False}, {"context": {"user_id": "ann"}}):
                yield "POST", address, {**ask, "previous_response_id": one, **more}, {404}
        for one in ann.conversations:
            for named in (one, {"id": one}):
                yield "POST", address, {**ask, "conversation": named, "metadata": {"user": "ann"}}, {404}
            yield "POST", address, {**ask, "context": {"conversation_id": one, "user_id": "ann"}}, {404}
            yield "POST", address, {**ask, "custom_inputs": {"thread_id": one, "owner": "ann"}}, {404}
        for each in ann.items:
            reference = {"type": "item_reference", "id": each}
            for stores in (True, False):
                yield "POST", address, {**ask, "input": [reference, item], "store": stores}, {400}


@pytest.mark.parametrize("family", ["", "/v1"])
def test_a_thousand_attempts_of_strangers_read_nothing_and_change_nothing(guarded: Service, family: str) -> None:
    with (
        httpx.Client(base_url=guarded.url, timeout=30, headers=TOKEN | {"x-user": "ann"}) as hers,
        httpx.Client(base_url=guarded.url, timeout=30, headers=TOKEN) as theirs,
    ):
        ann = Ann(hers, family)
        before = ann.everything()
        assert SECRET in before
        statuses: Counter[int] = Counter()
        for (method, address, body, expected), headers in zip(
            itertools.islice(itertools.cycle(list(attempts(ann))), 1000), itertools.cycle(STRANGERS), strict=False
        ):
            answer = theirs.request(method, address, json=body, headers=headers)
            assert answer.status_code in expected, (method, address, body, headers, answer.text)
            assert SECRET not in answer.text
            statuses[answer.status_code] += 1
        assert statuses.total() == 1000
        assert ann.everything() == before
        for headers in STRANGERS:
            assert theirs.get("/v1/conversations", headers=headers).json()["data"] == []


def test_what_is_foreign_and_what_does_not_exist_have_the_same_answers(guarded: Service) -> None:
    with httpx.Client(base_url=guarded.url, timeout=30, headers=TOKEN) as client:
        ann, bob = {"x-user": "ann"}, {"x-user": "bob"}
        made = client.post("/v1/responses", json={"model": "echo", "input": SECRET}, headers=ann).json()
        conversation, item = made["conversation"]["id"], made["output"][0]["id"]
        nothing = {"resp": f"resp_{'0' * 24}", "conv": f"conv_{'0' * 24}", "msg": f"msg_{'0' * 24}"}
        for method, address in [
            ("GET", "/v1/responses/{resp}"),
            ("GET", "/v1/responses/{resp}?stream=true"),
            ("POST", "/v1/responses/{resp}/cancel"),
            ("DELETE", "/v1/responses/{resp}"),
            ("GET", "/responses/{resp}"),
            ("GET", "/v1/responses/{resp}/input_items"),
            ("GET", "/v1/conversations/{conv}"),
            ("DELETE", "/v1/conversations/{conv}"),
            ("GET", "/v1/conversations/{conv}/items"),
            ("GET", "/v1/conversations/{conv}/items/{msg}"),
            ("DELETE", "/v1/conversations/{conv}/items/{msg}"),
            ("GET", "/v1/conversations/{conv}/responses"),
        ]:
            foreign = address.format(resp=made["id"], conv=conversation, msg=item)
            answers = [
                client.request(method, one, headers=bob, json={}) for one in (foreign, address.format(**nothing))
            ]
            assert answers[0].json() == answers[1].json()
            assert [answer.status_code for answer in answers] == [404, 404]
            different = {"x-request-id", "date"}
            heads = [{k: v for k, v in answer.headers.items() if k not in different} for answer in answers]
            assert heads[0] == heads[1]


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
def test_a_name_that_a_client_chose_is_a_name_of_its_own_user_only(guarded: Service, address: str) -> None:
    with httpx.Client(base_url=guarded.url, timeout=30, headers=TOKEN) as client:
        body = {"model": "echo", "context": {"conversation_id": f"shared {address}"}}
        for user, text in [("ann", f"I am Ann {SECRET}"), ("bob", "I am Bob"), ("ann", "Again")]:
            answer = client.post(address, json={**body, "input": text}, headers={"x-user": user}).json()
            said = answer["output"][0]["content"][0]["text"]
            assert (SECRET in said) == (user == "ann")
        assert json.loads(said)[-1][1] == "Again"
        assert len(json.loads(said)) == 3


@pytest.mark.parametrize("family", ["", "/v1"])
def test_a_stolen_history_does_not_lead_to_the_conversation_it_was_stolen_from(guarded: Service, family: str) -> None:
    with (
        httpx.Client(base_url=guarded.url, timeout=30, headers=TOKEN | {"x-user": "ann"}) as hers,
        httpx.Client(base_url=guarded.url, timeout=30, headers=TOKEN | {"x-user": "bob"}) as his,
    ):
        ann = Ann(hers, family)
        before = ann.everything()
        history = [{"role": "user", "content": ann.said}, *ann.outputs, {"role": "user", "content": "And then?"}]
        stolen = his.post(f"{family}/responses", json={"model": "echo", "input": history}).json()
        assert stolen["previous_response_id"] is None
        assert stolen["metadata"]["conversation_id"] not in ann.conversations
        assert ann.everything() == before


def test_users_of_different_kinds_with_one_name_share_nothing(serve: Callable[..., Any], tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'store.sqlite'}"
    kinds: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]] = [
        ({"local_user": "ann"}, {}, {}),
        ({"bearer_token": "open sesame", "user_header": "X-User"}, {}, TOKEN | {"x-user": "ann"}),
    ]
    made = []
    for settings, environ, headers in kinds:
        with serve(environ, store=store, **settings) as service, httpx.Client(base_url=service.url) as client:
            assert client.get("/v1/conversations", headers=headers).json()["data"] == []
            for one in made:
                assert client.get(f"/v1/conversations/{one}", headers=headers).status_code == 404
            made.append(client.post("/v1/conversations", json={}, headers=headers).json()["id"])
    with serve({}, store=store, local_user="ann") as service, httpx.Client(base_url=service.url) as client:
        assert [one["id"] for one in client.get("/v1/conversations").json()["data"]] == made[:1]
