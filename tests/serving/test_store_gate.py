"""A database that is down when the service starts, and apps that each have a store of their own."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.serving.conftest import GRAPHS
from tests.serving.test_requests import check_error

from graph_agent import host_lifespan
from graph_agent.errors import LifespanNotRun, ServiceStopping, StoreUnavailable
from graph_agent.serving.app import create_app
from graph_agent.serving.store_gate import StoreGate
from graph_agent.settings import Settings

pytestmark = pytest.mark.anyio

NOWHERE = "postgresql://nobody:secret-word@127.0.0.1:1/nothing?connect_timeout=2"


async def test_a_service_whose_database_is_down_answers_what_it_need_not_store(serve: Callable[..., Any]) -> None:
    with serve(store=NOWHERE) as service:
        async with service.client() as client:
            for address in ("/responses", "/v1/responses", "/invocations"):
                body = {"model": "plain", "input": "Hi"}
                assert (await client.post(address, json=body | {"store": False})).status_code == 200
                down = await client.post(address, json=body | {"store": True, "stream": True})
                check_error(down, 503, "store_unavailable")
                assert down.headers["retry-after"]
                named = await client.post(address, json=body | {"store": False, "previous_response_id": "resp_1"})
                check_error(named, 503, "store_unavailable")
            for line in ("GET /v1/responses/resp_1", "GET /conversations", "DELETE /api/conversations/conv_1"):
                check_error(await client.request(*line.split()), 503, "store_unavailable")
            assert (await client.post("/invocations", json={"model": "plain", "input": "Hi"})).status_code == 200
            # The front end may have another instance, which can store.
            ready = await client.get("/ready")
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
            assert "GRAPH_AGENT_STORE" in ready.json()["error"]["message"]
            assert (await client.get("/health")).status_code == 200
        assert "secret-word" not in "".join(service.log)


class Flaky:
    """A store whose database does not answer until it is well."""

    def __init__(self) -> None:
        self.is_well = False
        self.opened = self.closed = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.responses: Any = None

    async def open(self) -> None:
        self.opened += 1
        await self.may_answer.wait()
        if not self.is_well:
            raise StoreUnavailable("down")

    def checkpointer(self) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed += 1


async def test_the_store_is_opened_as_soon_as_its_database_is_back() -> None:
    store = Flaky()
    gate = StoreGate(lambda: store)
    gate.begin()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await gate.passed()
    store.is_well = True
    assert await gate.passed() is store
    opened = store.opened
    assert await gate.passed() is store
    assert store.opened == opened
    await gate.aclose()
    assert store.closed == 1


async def test_one_opening_serves_all_requests_that_wait_also_after_one_has_left() -> None:
    store = Flaky()
    store.is_well = True
    store.may_answer.clear()
    gate = StoreGate(lambda: store)
    gate.begin()
    waiting = [asyncio.ensure_future(gate.passed()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    store.may_answer.set()
    assert await asyncio.gather(*waiting[1:]) == [store] * 4
    assert store.opened == 1
    await gate.aclose()


async def test_before_and_after_the_lifespan_there_is_no_store() -> None:
    gate = StoreGate(Flaky)
    with pytest.raises(LifespanNotRun):
        await gate.passed()
    gate.begin()
    await gate.aclose()
    with pytest.raises(ServiceStopping):
        await gate.passed()


async def test_two_apps_in_one_process_each_have_a_store_of_their_own(tmp_path: Path) -> None:
    stores = ["memory", "memory", f"sqlite:{tmp_path / 'one.sqlite'}", f"sqlite:{tmp_path / 'two.sqlite'}"]
    apps = [create_app(Settings(config=GRAPHS, tracing="off", store=store), environ={}) for store in stores]
    mounts = [Mount(f"/{number}", app) for number, app in enumerate(apps)]
    host = Starlette(routes=mounts, lifespan=host_lifespan(*apps))
    for times in (1, 2):
        # A lifespan may run again. What was kept in memory is gone then.
        async with (
            host.router.lifespan_context(host),
            httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://localhost", timeout=30) as client,
        ):
            for number in range(len(apps)):
                body = {"model": "echo", "input": f"{number}", "context": {"conversation_id": "same"}}
                answer = await client.post(f"/{number}/responses", json=body)
                text = answer.json()["output"][0]["content"][0]["text"]
                turns = times if number >= 2 else 1
                assert text.count('"human"') == turns
                listed = (await client.get(f"/{number}/v1/conversations")).json()["data"]
                assert [one["title"] for one in listed] == [f"{number}"]
                response = await client.get(f"/{number}/responses/{answer.json()['id']}")
                assert response.status_code == 200
                conflict = await client.get(f"/{number}/v1/responses/{answer.json()['id']}")
                assert f"/{number}/responses/" in conflict.json()["detail"]
