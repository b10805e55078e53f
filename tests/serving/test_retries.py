"""What an answer says about sending the same request again, and what unmodified SDKs make of it."""

from collections.abc import Callable
from typing import Any

import anyio
import openai
import pytest
from openai import AsyncOpenAI
from tests.serving.conftest import Service, Upstream

pytestmark = pytest.mark.anyio

EVERY = ["/invocations", "/api/invocations", "/responses", "/api/responses", "/v1/responses"]


@pytest.mark.parametrize("address", EVERY)
async def test_a_run_that_failed_is_not_to_be_sent_again(service: Service, address: str) -> None:
    async with service.client() as client:
        for how in ("before", "after", "tool"):
            body = {"model": "failing", "input": "Hi", "custom_inputs": {"fail": how}}
            answer = await client.post(address, json=body)
            assert answer.status_code >= 500
            assert answer.headers["x-should-retry"] == "false"


async def test_an_sdk_with_retries_runs_a_failing_graph_once(service: Service) -> None:
    service.log.clear()
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=2) as client:
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model="failing", input="Hi", extra_body={"custom_inputs": {"fail": "before"}})
    assert len([line for line in service.log if "graph_failed" in line]) == 1


async def test_a_full_service_says_when_to_come_back_and_is_asked_again(
    serve: Callable[..., Any], upstream: Upstream
) -> None:
    slow = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}}
    with serve(max_runs=1) as service:
        async with service.client() as client, anyio.create_task_group() as group:
            group.start_soon(lambda: client.post("/responses", json=slow))
            with anyio.fail_after(20):
                await upstream.asked.wait()
            for address in EVERY:
                refused = await client.post(address, json={"input": "Hi"})
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
                assert "x-should-retry" not in refused.headers
            upstream.end()


async def test_a_service_that_is_not_ready_says_when_to_come_back_at_every_address(
    serve: Callable[..., Any], unready: Callable[..., Any]
) -> None:
    async with unready() as client:
        answers = [await client.get("/ready"), await client.get("/agent/info")]
        answers += [await client.post(address, json={"input": "Hi"}) for address in EVERY]
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "x-should-retry" not in answer.headers


@pytest.fixture
def unready(tmp_path: Any) -> Callable[..., Any]:
    """A client of an app whose graphs cannot be loaded."""
    from contextlib import asynccontextmanager

    import httpx

    from graph_agent.serving.app import create_app
    from graph_agent.settings import Settings

    @asynccontextmanager
    async def opened() -> Any:
        settings = Settings(config=tmp_path / "langgraph.json", tracing="off", store="memory", startup_wait_seconds=5.0)
        app = create_app(settings, environ={})
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                yield client

    return opened
