"""What is refused, how, and that nothing of it is a 5xx or a surprise."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from tests.protocol.malformed import LEAK, MALFORMED
from tests.serving.conftest import GRAPHS, Service, Upstream, run_head
from tests.wire import frames

pytestmark = pytest.mark.anyio

ADDRESSES = ["/invocations", "/api/invocations", "/responses", "/api/responses", "/v1/responses"]
QUESTION = {"model": "plain", "input": "Hello?"}
JSON = {"content-type": "application/json"}

STORED = {
    "an item_reference": "input[1].id",
    "an approval that is also a denial": "input[0].approval_request_id",
    "background": "store",
    "background and stream": "custom_inputs.password",
}
"""What is wrong with these requests where something is stored: it has no such item or question, or must not have it."""


def check_error(answer: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    """The one shape of every error before the first byte."""
    body = answer.json()
    assert answer.status_code == status
    assert body["detail"] == body["error"]["message"] != ""
    assert (body["error"]["code"], body["error"]["param"]) == (code, param)
    assert set(body) == {"error", "detail"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


# -- bodies -----------------------------------------------------------------------------------------------------


async def test_every_malformed_body_is_a_4xx_that_names_its_field(service: Service) -> None:
    async with service.client() as client:
        for number, (name, body, param) in enumerate(MALFORMED):
            # The Databricks addresses take any name for the default graph.
            address = "/v1/responses" if param == "model" else ADDRESSES[number % len(ADDRESSES)]
            answer = await client.post(address, content=body, headers=JSON)
            error = answer.json()["error"]
            assert 400 <= answer.status_code < 500, name
            assert error["param"] in (param, STORED.get(name)), name
            assert answer.json()["detail"] == error["message"]
            assert LEAK not in answer.text or LEAK in (param or ""), name
    assert len(MALFORMED) >= 200
    assert service.log == []


@pytest.mark.parametrize("address", ADDRESSES)
async def test_every_address_refuses_in_the_same_way(service: Service, address: str) -> None:
    async with service.client() as client:
        for stream in (True, False):
            check_error(
                await client.post(address, json={"input": "Hi", "stream": stream, "prompt": {"id": "p"}}),
                400,
                "unsupported_field",
                "prompt",
            )
            check_error(
                await client.post(address, json={"input": "Hi", "stream": stream, "background": True, "store": False}),
                400,
                "invalid_request",
                "store",
            )


async def test_a_body_over_the_limit_is_refused_by_its_length(serve: Callable[..., Any]) -> None:
    with serve(max_body_bytes=1000) as service:
        async with service.client() as client:
            answer = await client.post("/responses", content=b"x" * 1001, headers=JSON)
            check_error(answer, 413, "body_too_large")
            assert (await client.post("/responses", json=QUESTION)).status_code == 200


async def test_a_body_over_the_limit_is_refused_where_its_length_is_not_told(serve: Callable[..., Any]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    with serve(max_body_bytes=1000) as service:
        async with service.client() as client:
            check_error(await client.post("/responses", content=chunks(), headers=JSON), 413, "body_too_large")


async def test_a_client_that_sends_all_of_a_large_body_still_reads_the_refusal(service: Service) -> None:
    async with service.client() as client:
        for _ in range(5):
            check_error(await client.post("/responses", content=b"x" * 30_000_000, headers=JSON), 413, "body_too_large")


async def test_a_length_that_is_no_number_is_refused(service: Service) -> None:
    answer, _ = await raw(
        service,
        run_head("many"),
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_dribbles_in_is_read_to_its_end(service: Service) -> None:
    async def dribble() -> AsyncIterator[bytes]:
        for byte in json.dumps(QUESTION).encode():
            yield bytes([byte])
            await asyncio.sleep(0)

    async with service.client() as client:
        answer = await client.post("/responses", content=dribble(), headers=JSON)
    assert answer.json()["status"] == "completed"


async def test_a_client_that_leaves_while_it_sends_leaves_no_trace(serve: Callable[..., Any]) -> None:
    with serve(max_runs=1) as service:
        for _ in range(3):
            _, writer = await connect(service)
            writer.write(run_head(100) + b"half")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        async with service.client() as client:
            assert (await client.post("/responses", json=QUESTION)).status_code == 200
        assert service.log == []


async def test_a_slow_sender_holds_no_run(serve: Callable[..., Any]) -> None:
    with serve(max_runs=1) as service:
        _, writer = await connect(service)
        writer.write(run_head(100) + b"half")
        await writer.drain()
        async with service.client() as client:
            assert (await client.post("/responses", json=QUESTION)).status_code == 200
        writer.close()
        await writer.wait_closed()


# -- addresses and methods --------------------------------------------------------------------------------------


async def test_an_unknown_address_says_which_there_are(service: Service) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/messages", json=QUESTION)
    check_error(answer, 404, "not_found")
    assert "/v1/responses" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_another_method_says_which_is_served(service: Service, method: str) -> None:
    async with service.client() as client:
        answer = await client.request(method, "/responses")
    check_error(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_health_ready_and_info_say_what_runs(service: Service) -> None:
    async with service.client() as client:
        assert (await client.get("/health")).json() == {"status": "healthy"}
        assert (await client.get("/ready")).json() == {"status": "ready"}
        info = (await client.get("/agent/info")).json()
    assert (info["name"], info["use_case"], info["agent_api"]) == ("plain", "agent", "responses")
    assert info["default_graph"] == "plain"
    assert info["graphs"][1] == {"name": "team", "description": "Looks things up with others."}


# -- custom inputs ----------------------------------------------------------------------------------------------


async def test_a_graphs_context_that_is_not_filled_is_a_400_that_names_it(service: Service) -> None:
    async with service.client() as client:
        body = {"model": "upstream", "input": "Hi", "custom_inputs": {"node": "sync"}}
        check_error(await client.post("/responses", json=body), 400, "invalid_request", "custom_inputs.upstream")


# -- how many at once -------------------------------------------------------------------------------------------


async def test_one_run_too_many_is_told_when_to_come_back(serve: Callable[..., Any], upstream: Upstream) -> None:
    slow = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}}
    with serve(max_runs=1) as service:
        async with service.client() as client, anyio.create_task_group() as group:
            answers: list[httpx.Response] = []

            async def ask() -> None:
                answers.append(await client.post("/responses", json=slow))

            group.start_soon(ask)
            with anyio.fail_after(20):
                await upstream.asked.wait()
            refused = await client.post("/v1/responses", json=QUESTION)
            check_error(refused, 429, "too_many_runs")
            assert refused.headers["retry-after"] == "2"
            assert refused.json()["error"]["type"] == "rate_limit_error"
            # What is malformed is told so, however busy the service is.
            check_error(await client.post("/responses", json={}), 400, "invalid_request", "input")
            upstream.say("Done.")
            upstream.end()
        assert answers[0].json()["status"] == "completed"
        async with service.client() as client:
            assert (await client.post("/responses", json=QUESTION)).status_code == 200


async def test_as_many_synchronous_nodes_run_at_once_as_runs_may(
    serve: Callable[..., Any], upstreams: Callable[[], Any]
) -> None:
    with serve(max_runs=12) as service:
        async with service.client() as client, anyio.create_task_group() as group:
            servers = [await upstreams() for _ in range(12)]

            async def ask(server: Upstream) -> None:
                inputs = {"upstream": server.url, "node": "blocking"}
                await client.post("/responses", json={"model": "upstream", "input": "Hi", "custom_inputs": inputs})

            for server in servers:
                group.start_soon(ask, server)
            with anyio.fail_after(20):
                for server in servers:
                    await server.asked.wait()
            for server in servers:
                server.end()


# -- streams ----------------------------------------------------------------------------------------------------


async def test_a_stream_is_marked_for_proxies_and_numbered(service: Service) -> None:
    async with service.client() as client:
        answer = await client.post("/responses", json=QUESTION | {"stream": True})
    assert answer.headers["x-request-id"].startswith("resp_")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    *events, done = frames(answer.text)
    assert done == "[DONE]"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["response"]["id"] == answer.headers["x-request-id"]


async def test_the_first_token_arrives_before_the_answer_is_complete(service: Service, upstream: Upstream) -> None:
    body = {"model": "upstream", "input": "Hi", "stream": True, "custom_inputs": {"upstream": upstream.url}}
    async with service.client() as client, client.stream("POST", "/responses", json=body) as answer:
        lines = answer.aiter_lines()
        with anyio.fail_after(20):
            await upstream.asked.wait()
            assert "response.created" in await anext(lines)
            upstream.say("First.")
            async for line in lines:
                if "First." in line:
                    break
            upstream.end()
            rest = [line async for line in lines]
    assert rest[-2:] == ["data: [DONE]", ""]


async def test_a_quiet_stream_is_kept_open_by_comments(serve: Callable[..., Any], upstream: Upstream) -> None:
    body = {"model": "upstream", "input": "Hi", "stream": True, "custom_inputs": {"upstream": upstream.url}}
    with serve(keepalive_seconds=0.05) as service:
        async with service.client() as client, client.stream("POST", "/responses", json=body) as answer:
            lines = answer.aiter_lines()
            comments = 0
            with anyio.fail_after(20):
                async for line in lines:
                    comments += line == ": keep-alive"
                    if comments == 3:
                        upstream.say("There.")
                        upstream.end()
                        break
                rest = [line async for line in lines]
    assert rest[-2:] == ["data: [DONE]", ""]


# -- raw connections --------------------------------------------------------------------------------------------


async def connect(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A plain connection."""
    where = urlsplit(service.url)
    return await asyncio.open_connection(where.hostname, where.port)


async def raw(service: Service, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to these bytes."""
    reader, writer = await connect(service)
    writer.write(request)
    with anyio.fail_after(20):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(100_000)
    writer.close()
    return head, body


async def test_a_graph_named_while_the_service_runs_is_served_where_graphs_are_reloaded(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    manifest = tmp_path / "langgraph.json"

    def name(*graphs: str) -> None:
        paths = {graph: str(GRAPHS.parent / f"{graph}.py:graph") for graph in graphs}
        manifest.write_text(json.dumps({"graphs": paths}))

    name("plain")
    with serve(config=manifest, reload="on") as service:
        async with service.client() as client:
            name("plain", "echo")
            answer = await client.post("/responses", json={"model": "echo", "input": "Hi"})
            assert answer.status_code == 200
            name("echo")
            gone = await client.post("/v1/responses", json={"model": "plain", "input": "Hi"})
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "unknown_graph")
            assert [one["name"] for one in (await client.get("/agent/info")).json()["graphs"]] == ["echo"]
