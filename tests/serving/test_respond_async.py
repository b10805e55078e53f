"""`Prefer: respond-async`: a run that takes longer than its caller waits goes on in the background, over real HTTP."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.conftest import Service, Upstream, serving
from tests.serving.test_idempotency import ADDRESSES, NOTING, Asker

OPEN = ("queued", "in_progress")

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(config=NOTING) as running:
        yield running


async def post(asker: Asker, client: httpx.AsyncClient, prefer: str, **fields: Any) -> httpx.Response:
    return await client.post(asker.address, json=asker.body | fields, headers={"prefer": prefer})


async def ended(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """The response at this address, once its run has ended."""
    while True:
        response: dict[str, Any] = (await client.get(address)).json()
        if response["status"] not in OPEN:
            return response
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("address", "read_at"),
    [
        ("/invocations", "/responses/"),
        ("/api/invocations", "/api/responses/"),
        ("/responses", "/responses/"),
        ("/api/responses", "/api/responses/"),
        ("/v1/responses", "/v1/responses/"),
    ],
)
async def test_a_long_run_is_accepted_and_goes_on_at_the_address_in_the_answer(
    service: Service, upstream: Upstream, address: str, read_at: str, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, address, wait=upstream.url)
    with anyio.fail_after(15):
        async with service.client() as client:
            answer = await post(asker, client, "respond-async, wait=1")
            assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
            response = answer.json()
            assert response["status"] in OPEN
            assert (response["background"], response["store"]) == (True, True)
            assert answer.headers["location"] == f"{read_at}{response['id']}"
            assert answer.headers["x-request-id"] == response["id"]
            upstream.end()
            assert (await ended(client, answer.headers["location"]))["status"] == "completed"
    assert asker.runs == 1


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("prefer", ["respond-async", "wait=100, Respond-Async", 'respond-async;foo="bar"; wait=0'])
async def test_a_short_run_is_answered_as_usual(service: Service, address: str, prefer: str, tmp_path: Path) -> None:
    asker = Asker(tmp_path, address)
    async with service.client() as client:
        answer = await post(asker, client, prefer)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert "preference-applied" not in answer.headers
    assert asker.runs == 1


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_short_run_that_fails_is_answered_as_usual(service: Service, address: str, tmp_path: Path) -> None:
    asker = Asker(tmp_path, address, fail=True)
    async with service.client() as client:
        answer, plain = [await post(asker, client, prefer) for prefer in ("respond-async", "")]
    assert (answer.status_code, answer.json()) == (plain.status_code, plain.json())
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")


async def test_a_caller_that_does_not_wait_gets_the_address_at_once(
    service: Service, upstream: Upstream, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, wait=upstream.url)
    async with service.client() as client:
        answer = await post(asker, client, "respond-async, wait=0")
        assert answer.status_code == 202
        upstream.end()
        assert (await ended(client, answer.headers["location"]))["status"] == "completed"


async def test_the_limit_of_replies_is_how_long_a_caller_waits_that_does_not_say(
    serve: Callable[..., Any], upstream: Upstream, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, wait=upstream.url)
    with serve(config=NOTING, reply_seconds=1.0) as service:
        async with service.client() as client:
            # It cannot wait longer, either.
            for prefer in ("respond-async", "respond-async, wait=60"):
                answer = await post(asker, client, prefer)
                assert answer.status_code == 202
                upstream.end()
                assert (await ended(client, answer.headers["location"]))["status"] == "completed"


async def test_the_caller_of_a_run_that_was_accepted_finds_it_with_its_key(
    service: Service, upstream: Upstream, tmp_path: Path
) -> None:
    asker = Asker(tmp_path, wait=upstream.url)
    headers = {"prefer": "respond-async, wait=1", "idempotency-key": asker.key}
    async with service.client() as client:
        first, again = [await client.post("/responses", json=asker.body, headers=headers) for _ in range(2)]
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.headers["location"] == first.headers["location"]
        upstream.end()
        whole = await client.post("/responses", json=asker.body, headers={"idempotency-key": asker.key})
        assert (whole.status_code, whole.json()["id"]) == (200, first.json()["id"])
    assert asker.runs == 1


@pytest.mark.parametrize("fields", [{"store": False}, {"stream": True}, {"background": True}])
async def test_a_preference_is_ignored_where_it_says_nothing_new_or_cannot_be_met(
    service: Service, fields: dict[str, Any], tmp_path: Path
) -> None:
    asker = Asker(tmp_path)
    async with service.client() as client:
        answer = await post(asker, client, "respond-async, wait=0", **fields)
        assert answer.status_code == 200
        assert "preference-applied" not in answer.headers
        if "background" in fields:
            assert answer.json()["status"] == "queued"
            await ended(client, f"/responses/{answer.json()['id']}")
    assert asker.runs == 1
