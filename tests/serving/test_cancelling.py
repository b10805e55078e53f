"""Runs are cancelled over real sockets, by hand and with the official OpenAI SDK."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI
from tests.serving.conftest import Service, Upstream, ask, leave, settled
from tests.serving.joining import begun, joined
from tests.serving.test_requests import check_error

pytestmark = pytest.mark.anyio

PREFIXES = ["", "/api", "/v1"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("node", ["async", "sync"])
async def test_a_run_is_cancelled_down_to_its_model_call_and_its_readers_get_an_end(
    service: Service, upstream: Upstream, prefix: str, node: str
) -> None:
    async with service.client() as client:
        with anyio.fail_after(20):
            inputs = {"upstream": upstream.url, "node": node}
            id_ = await begun(service, upstream, address=f"{prefix}/responses", custom_inputs=inputs)
            address = f"{prefix}/responses/{id_}"
            reading = asyncio.create_task(joined(client, f"{address}?stream=true"))
            upstream.say("Half of ")
            await joined(client, f"{address}?stream=true", most=5)
            answer = await client.post(f"{address}/cancel", json={})
            if node == "async":
                # A synchronous node ends at its next token.
                await upstream.left.wait()
            read = await reading
            cancelled = answer.json()
            assert (await client.get(address)).json() == cancelled
    assert answer.status_code == 200
    assert (cancelled["id"], cancelled["status"], cancelled["error"]) == (id_, "cancelled", None)
    assert cancelled["output"][0]["content"][0]["text"] == "Half of "
    assert [event["type"] for event in read.events[-2:]] == ["error", "response.failed"]
    assert read.events[-1]["response"]["error"]["code"] == "run_cancelled"
    assert read.numbers == [*range(len(read.numbers))]


async def test_the_sdk_of_openai_cancels(service: Service, upstream: Upstream) -> None:
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as sdk:
        with anyio.fail_after(20):
            id_ = await begun(service, upstream, address="/v1/responses")
            cancelled = await sdk.responses.cancel(id_)
            assert (cancelled.status, cancelled.error) == ("cancelled", None)
            assert await sdk.responses.retrieve(id_) == cancelled
            assert await sdk.responses.cancel(id_) == cancelled


async def test_a_caller_that_waits_for_a_whole_answer_learns_that_it_was_cancelled(
    service: Service, upstream: Upstream
) -> None:
    async with service.client() as client:
        with anyio.fail_after(20):
            before = service.tasks()
            reader, writer = await ask(service, upstream, context={"conversation_id": "cancelled"})
            (waiting,) = (await client.get("/conversations/cancelled/responses")).json()["data"]
            answer = await client.post(f"/responses/{waiting['id']}/cancel", json={})
            line = await reader.readline()
            await leave(writer)
            # The conversation is free again.
            again = {"model": "plain", "input": "Hi", "context": {"conversation_id": "cancelled"}}
            assert (await client.post("/responses", json=again)).status_code == 200
            await settled(service, before)
    assert answer.json()["status"] == "cancelled"
    assert line.startswith(b"HTTP/1.1 499")


async def test_a_run_that_ignores_its_cancellation_is_recorded_as_cancelled_all_the_same(
    service: Service, upstream: Upstream
) -> None:
    async with service.client() as client:
        with anyio.fail_after(20):
            inputs = {"upstream": upstream.url, "node": "blocking"}
            id_ = await begun(service, upstream, custom_inputs=inputs)
            answer = await client.post(f"/responses/{id_}/cancel", json={})
            upstream.end()
    assert answer.json()["status"] == "cancelled"


async def test_a_response_that_has_ended_is_returned_as_it_is(service: Service) -> None:
    async with service.client() as client:
        made = (await client.post("/responses", json={"model": "plain", "input": "Hi"})).json()
        answer = await client.post(f"/responses/{made['id']}/cancel", json={})
        assert (answer.status_code, answer.json()) == (200, made)


async def test_a_cancellation_has_the_checks_of_every_post(service: Service) -> None:
    json = {"content-type": "application/json"}
    async with service.client() as client:
        made = (await client.post("/responses", json={"model": "plain", "input": "Hi"})).json()
        address = f"/responses/{made['id']}/cancel"
        assert (await client.post(address, headers=json)).json() == made
        assert (await client.post(address, json={"anything": 1})).json() == made
        check_error(await client.post(address, content="{", headers=json), 400, "invalid_request")
        check_error(await client.post(address), 415, "not_json")
        foreign = await client.post(address, json={}, headers={"origin": "https://example.com"})
        check_error(foreign, 403, "foreign_page")
        check_error(await client.post(f"{address}?reason=x", json={}), 400, "invalid_request", "reason")
        check_error(await client.post(f"/v1{address}", json={}), 409, "other_address")
        check_error(await client.get(address), 405, "method_not_allowed")


async def test_nobody_else_cancels_a_run(serve: Callable[..., Any], upstream: Upstream) -> None:
    with serve(user_header="X-User", bearer_token="sesame", grace_seconds=10) as service:
        token = {"authorization": "Bearer sesame"}
        async with service.client(headers=token) as client:
            with anyio.fail_after(20):
                body = {
                    "model": "upstream",
                    "input": "Hi",
                    "stream": True,
                    "context": {"conversation_id": "mine"},
                    "custom_inputs": {"upstream": upstream.url},
                }
                ann, bob = {"x-user": "ann"}, {"x-user": "bob"}
                async with client.stream("POST", "/responses", json=body, headers=ann) as stream:
                    await upstream.asked.wait()
                    listed = await client.get("/conversations/mine/responses", headers=ann)
                    (mine,) = listed.json()["data"]
                    foreign = await client.post(f"/responses/{mine['id']}/cancel", json={}, headers=bob)
                    missing = await client.post(f"/responses/resp_{'0' * 24}/cancel", json={}, headers=bob)
                    upstream.say("Mine.")
                    upstream.end()
                    text = (await stream.aread()).decode()
    check_error(foreign, 404, "response_not_found")
    assert foreign.json() == missing.json()
    assert "response.completed" in text
