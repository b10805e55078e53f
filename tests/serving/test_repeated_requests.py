"""A client that lost its connection sends the same request again, as the stock chat page does, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.conftest import Service, Upstream, serving
from tests.serving.test_idempotency import ADDRESSES, NOTING, Asker, events_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(config=NOTING) as running:
        yield running


class Page(Asker):
    """The stock chat page: it names a conversation and sends no key. It asks for a stream first, and for a whole
    response, without the trace, when the stream breaks."""

    def __init__(self, tmp_path: Path, address: str = "/invocations", **custom: Any) -> None:
        super().__init__(tmp_path, address, **custom)
        self.body["context"] = {"conversation_id": self.key, "user_id": "somebody"}

    async def stream(self, client: httpx.AsyncClient) -> httpx.Response:
        """The first attempt."""
        return await self.post(client, key=None, stream=True, **self._traced)

    async def again(self, client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
        """The second attempt."""
        return await self.post(client, key=None, **fields)

    @property
    def _traced(self) -> dict[str, Any]:
        return {} if self.address.startswith("/v1") else {"databricks_options": {"return_trace": True}}

    @asynccontextmanager
    async def broken_stream(self, service: Service, upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
        """A stream that has broken after the tool was run, and a client for the next attempt."""
        async with service.client() as client:
            breaking = asyncio.create_task(self.stream(client))
            await upstream.asked.wait()
            breaking.cancel()
            await asyncio.gather(breaking, return_exceptions=True)
        async with service.client() as client:
            yield client


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_second_attempt_joins_the_run_of_the_first_one(
    service: Service, upstream: Upstream, address: str, tmp_path: Path
) -> None:
    page = Page(tmp_path, address, wait=upstream.url)
    with anyio.fail_after(15):
        async with page.broken_stream(service, upstream) as client:
            attempts = [asyncio.create_task(page.again(client, stream=stream)) for stream in (False, True)]
            await client.get("/agent/info")
            upstream.end()
            whole, stream = [await one for one in attempts]
    assert whole.status_code == 200, whole.text
    assert whole.json()["status"] == "completed"
    assert events_of(stream)[-1]["response"] == whole.json()
    assert page.runs == 1


async def test_a_second_attempt_gets_an_answer_that_nobody_has_heard(
    service: Service, upstream: Upstream, tmp_path: Path
) -> None:
    page = Page(tmp_path, wait=upstream.url)
    with anyio.fail_after(15):
        async with page.broken_stream(service, upstream) as client:
            upstream.end()
            [response_id] = await ended(client, page.key)
            whole = await page.again(client)
            assert (whole.status_code, whole.json()["id"]) == (200, response_id)
            # It has the answer now, so that this is a new question.
            assert (await client.post(page.address, json=page.body | {"input": "Else?"})).status_code == 200
    assert page.runs == 2


async def ended(client: httpx.AsyncClient, conversation: str) -> list[str]:
    """The ids of the conversation's responses, once all have ended."""
    while True:
        listed = (await client.get(f"/conversations/{conversation}/responses")).json()["data"]
        if all(one["status"] != "in_progress" for one in listed):
            return [one["id"] for one in listed]
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_run_that_failed_after_a_tool_is_not_run_again(service: Service, address: str, tmp_path: Path) -> None:
    page = Page(tmp_path, address, fail=True)
    async with service.client() as client:
        stream = events_of(await page.stream(client))
        answers = [await page.again(client) for _ in range(3)]
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "graph_failed")
        assert events_of(await page.again(client, stream=True)) == stream
    assert page.runs == 1


async def test_a_run_that_failed_without_a_tool_is_tried_again(service: Service, tmp_path: Path) -> None:
    page = Page(tmp_path, fail=True, tool=False)
    async with service.client() as client:
        await page.stream(client)
        assert (await page.again(client)).status_code == 500
    assert page.runs == 2


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_question_that_is_asked_again_after_its_answer_is_a_new_one(
    service: Service, address: str, tmp_path: Path
) -> None:
    page = Page(tmp_path, address)
    async with service.client() as client:
        first = events_of(await page.stream(client))[-1]["response"]
        more = [(await page.again(client)).json() for _ in range(2)]
    assert len({first["id"], *(one["id"] for one in more)}) == 3
    assert page.runs == 3


async def test_only_the_same_question_of_the_same_owner_in_the_same_conversation_joins(
    serve: Callable[..., Any], upstream: Upstream, tmp_path: Path
) -> None:
    page = Page(tmp_path, wait=upstream.url)
    known = {"authorization": "Bearer known"}
    with serve(config=NOTING, user_header="x-user", bearer_token="known") as service, anyio.fail_after(15):
        async with service.client(headers={**known, "x-user": "ann"}) as client:
            asking = asyncio.create_task(page.stream(client))
            await upstream.asked.wait()
            other_question = await page.again(client, input="Else?")
            assert other_question.json()["error"]["code"] == "conversation_busy"
            others = [
                asyncio.create_task(page.again(client, context={"conversation_id": "another", "user_id": "somebody"})),
                asyncio.create_task(page.again(client, context=None)),
            ]
            async with service.client(headers={**known, "x-user": "ben"}) as foreign:
                others.append(asyncio.create_task(page.again(foreign)))
                while page.runs < 4:  # noqa: ASYNC110 - the graphs note in a file that they run
                    await asyncio.sleep(0.02)
                for _ in range(4):
                    upstream.end()
                ids = {(await one).json()["id"] for one in others}
            ids.add(events_of(await asking)[-1]["response"]["id"])
    assert (len(ids), page.runs) == (4, 4)


async def test_a_run_that_was_cancelled_is_tried_again(service: Service, upstream: Upstream, tmp_path: Path) -> None:
    page = Page(tmp_path, "/responses", wait=upstream.url)
    with anyio.fail_after(15):
        async with page.broken_stream(service, upstream) as client:
            listed = (await client.get(f"/conversations/{page.key}/responses")).json()["data"]
            cancelled = await client.post(f"/responses/{listed[0]['id']}/cancel", json={})
            assert cancelled.json()["status"] == "cancelled"
            upstream.asked.clear()
            asking = asyncio.create_task(page.again(client))
            await upstream.asked.wait()
            upstream.end()
            assert (await asking).json()["status"] == "completed"
    assert page.runs == 2


async def test_a_deleted_response_is_not_repeated(service: Service, tmp_path: Path) -> None:
    page = Page(tmp_path, fail=True)
    async with service.client() as client:
        for _ in range(2):
            assert (await page.again(client)).status_code == 500
            await client.delete(f"/conversations/{page.key}")
    assert page.runs == 2
