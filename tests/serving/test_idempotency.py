"""`Idempotency-Key`: the same request with the same key finds the run that exists, over real HTTP."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.conftest import Service, Upstream, serving

pytestmark = pytest.mark.anyio

NOTING = Path(__file__).parent / "noting" / "langgraph.json"

ADDRESSES = ["/invocations", "/responses", "/v1/responses"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(config=NOTING) as running:
        yield running


class Asker:
    """Sends one body with one key, and knows how often its tool was run."""

    def __init__(self, tmp_path: Path, address: str = "/responses", **custom: Any) -> None:
        self.address, self.key = address, secrets.token_hex(8)
        tmp_path.mkdir(exist_ok=True)
        self._notes = tmp_path / "notes"
        self.body: dict[str, Any] = {
            "model": "noting",
            "input": [{"role": "user", "content": "Hi"}],
            "custom_inputs": {"notes": str(self._notes), **custom},
        }

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return len(self._notes.read_text().splitlines()) if self._notes.exists() else 0

    async def post(self, client: httpx.AsyncClient, *, key: str | None = "", **fields: Any) -> httpx.Response:
        """Send it, without a key for `None`."""
        headers = {} if key is None else {"idempotency-key": key or self.key}
        return await client.post(self.address, json=self.body | fields, headers=headers)


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream."""
    assert answer.status_code == 200, answer.text
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(one) for one in data]


# -- one run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
async def test_the_same_request_again_gets_the_same_response(service: Service, address: str, tmp_path: Path) -> None:
    asker = Asker(tmp_path, address)
    async with service.client() as client:
        first, again = [await asker.post(client) for _ in range(2)]
        assert first.status_code == 200, first.text
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["x-request-id"] == first.headers["x-request-id"]
        other = await asker.post(client, key=secrets.token_hex(8))
        assert other.json()["id"] != first.json()["id"]
    assert asker.runs == 2


@pytest.mark.parametrize("address", ADDRESSES)
async def test_the_same_stream_again_has_the_same_events(service: Service, address: str, tmp_path: Path) -> None:
    asker = Asker(tmp_path, address)
    async with service.client() as client:
        first, again = [await asker.post(client, stream=True) for _ in range(2)]
        assert events_of(again) == events_of(first)
        # However it is answered, it is the same request.
        whole = await asker.post(client)
        assert whole.json() == events_of(first)[-1]["response"]
    assert asker.runs == 1


async def test_requests_without_a_key_are_two(service: Service, tmp_path: Path) -> None:
    asker = Asker(tmp_path)
    async with service.client() as client:
        ids = {(await asker.post(client, key=None)).json()["id"] for _ in range(2)}
    assert (len(ids), asker.runs) == (2, 2)


@pytest.mark.parametrize("named", [{}, {"context": {"conversation_id": "named", "user_id": "somebody"}}])
async def test_fifty_at_once_are_one_run(serve: Callable[..., Any], named: dict[str, Any], tmp_path: Path) -> None:
    asker = Asker(tmp_path)
    with serve(config=NOTING, store=f"sqlite:{tmp_path / 'store.sqlite'}") as service:
        async with service.client() as client:
            posts = [asker.post(client, stream=number % 2 == 0, **named) for number in range(50)]
            answers = await asyncio.gather(*posts)
    for answer in answers:
        assert answer.status_code == 200, answer.text
    ids = {
        (events_of(answer)[-1]["response"] if number % 2 == 0 else answer.json())["id"]
        for number, answer in enumerate(answers)
    }
    assert (len(ids), asker.runs) == (1, 1)


# -- while the run is in progress -------------------------------------------------------------------------------------


async def test_a_run_in_progress_is_joined_from_its_first_event(
    serve: Callable[..., Any], upstream: Upstream, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, wait=upstream.url)
    # The only slot is that of the run.
    with serve(config=NOTING, max_runs=1) as service, anyio.fail_after(15):
        async with service.client() as client:
            streaming = asyncio.create_task(asker.post(client, stream=True))
            await upstream.asked.wait()
            joining = [asyncio.create_task(asker.post(client, stream=stream)) for stream in (True, False)]
            # They have begun to wait when a later request is answered.
            await client.get("/agent/info")
            upstream.end()
            first, stream, whole = [await one for one in (streaming, *joining)]
    assert events_of(stream) == events_of(first)
    assert whole.json() == events_of(first)[-1]["response"]
    assert asker.runs == 1


async def test_a_run_goes_on_without_its_caller_who_comes_back_with_the_key(
    service: Service, upstream: Upstream, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, wait=upstream.url)
    with anyio.fail_after(15):
        async with service.client() as client:
            leaving = asyncio.create_task(asker.post(client))
            await upstream.asked.wait()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        async with service.client() as client:
            coming = asyncio.create_task(asker.post(client))
            await client.get("/agent/info")
            upstream.end()
            answer = await coming
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert asker.runs == 1


async def test_a_background_run_whose_token_has_expired_goes_on_with_that_of_a_repeated_request(
    serve: Callable[..., Any], upstream: Upstream, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, wait=upstream.url, for_user=True)
    apps = {"DATABRICKS_APP_NAME": "app", "DATABRICKS_HOST": "https://workspace.invalid"}
    with serve(apps, config=NOTING, authorization="user") as service, anyio.fail_after(20):

        async def post(seconds: float) -> httpx.Response:
            user = {"x-forwarded-user": "ann", "x-forwarded-access-token": token(seconds)}
            async with service.client(headers=user) as client:
                return await asker.post(client, background=True)

        first = await post(1)
        await upstream.asked.wait()
        await asyncio.sleep(1)
        # The token of the first request has expired, so that the run waits for another one.
        upstream.end()
        upstream.asked.clear()
        while not upstream.asked.is_set():
            again = await post(60)
            assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
            await asyncio.sleep(0.1)
        upstream.end()
        async with service.client(headers={"x-forwarded-user": "ann"}) as client:
            while (answer := await client.get(f"/responses/{first.json()['id']}")).json()["status"] != "completed":
                assert answer.status_code == 200
                await asyncio.sleep(0.05)
    assert asker.runs == 1


def token(seconds: float) -> str:
    """A token of a user that is valid for so long."""
    claims = json.dumps({"exp": time.time() + seconds}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


# -- after its end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_failed_run_fails_again_in_the_same_way_and_is_not_run_again(
    service: Service, address: str, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, address, fail=True)
    async with service.client() as client:
        first, again = [await asker.post(client) for _ in range(2)]
        assert (first.status_code, first.json()["error"]["code"]) == (500, "graph_failed")
        assert (again.status_code, again.json()) == (500, first.json())
        assert again.headers["x-should-retry"] == "false"
        streams = [events_of(await asker.post(client, stream=True)) for _ in range(2)]
        assert streams[0] == streams[1]
        assert "as it was told to" not in json.dumps(streams)
    assert asker.runs == 1


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_response_whose_events_are_gone_is_told_from_its_record(
    serve: Callable[..., Any], address: str, fail: bool, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, address, fail=fail)
    store = f"sqlite:{tmp_path / 'store.sqlite'}"
    with serve(config=NOTING, store=store) as service:
        async with service.client() as client:
            first = await asker.post(client)
    with serve(config=NOTING, store=store) as service:
        async with service.client() as client:
            again = await asker.post(client)
            stream = events_of(await asker.post(client, stream=True))
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert [one["sequence_number"] for one in stream] == list(range(len(stream)))
    if not fail:
        assert stream[-1]["response"] == first.json()
    elif address == "/invocations":
        assert stream[-1]["error"] == first.json()["error"]["message"]
    else:
        assert stream[-1]["response"]["error"]["code"] == first.json()["error"]["code"]
    assert asker.runs == 1


async def test_a_deleted_response_takes_its_key_with_it(service: Service, tmp_path: Path) -> None:
    asker = Asker(tmp_path)
    async with service.client() as client:
        first = (await asker.post(client)).json()["id"]
        await client.delete(f"/responses/{first}")
        assert (await asker.post(client)).json()["id"] != first
    assert asker.runs == 2


# -- what is refused --------------------------------------------------------------------------------------------------


async def test_the_same_key_with_another_body_or_at_another_address_is_refused(
    service: Service, tmp_path: Path
) -> None:
    asker = Asker(tmp_path)
    async with service.client() as client:
        first = await asker.post(client)
        # The order of its fields does not make another body.
        same = await client.post(
            "/responses", json=dict(reversed(asker.body.items())), headers={"idempotency-key": asker.key}
        )
        assert same.json() == first.json()
        refused = [await asker.post(client, input="Else?"), await asker.post(client, metadata={"a": "b"})]
        asker.address = "/v1/responses"
        refused.append(await asker.post(client))
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_key_used")
    assert asker.runs == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "sk-ant-api03-" + "a" * 95])
async def test_a_value_that_cannot_be_a_key_is_refused(service: Service, key: str, tmp_path: Path) -> None:
    asker = Asker(tmp_path)
    async with service.client() as client:
        answer = await client.post("/responses", json=asker.body, headers={"idempotency-key": key})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
        twice = await client.post("/responses", json=asker.body, headers=[("idempotency-key", one) for one in "ab"])
        assert (twice.status_code, twice.json()["error"]["param"]) == (400, "Idempotency-Key")
    assert asker.runs == 0


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_key_needs_a_stored_response(service: Service, address: str, tmp_path: Path) -> None:
    asker = Asker(tmp_path, address)
    async with service.client() as client:
        refused = await asker.post(client, store=False)
        stored = await asker.post(client)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "store")
        assert stored.json()["store"] is True
    assert asker.runs == 1


async def test_a_key_belongs_to_its_owner(serve: Callable[..., Any], tmp_path: Path) -> None:
    asker = Asker(tmp_path)
    with serve(config=NOTING, user_header="x-user", bearer_token="known") as service:
        ids = set()
        for user in ("ann", "ben"):
            async with service.client(headers={"x-user": user, "authorization": "Bearer known"}) as client:
                ids.add((await asker.post(client)).json()["id"])
    assert (len(ids), asker.runs) == (2, 2)
