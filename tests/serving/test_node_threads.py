"""Synchronous nodes that never return hold their own threads, and nothing else."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.serving.conftest import GRAPHS

from graph_agent.errors import NoThreadFree
from graph_agent.run_lifetime import RunLifetime, within_lifetime
from graph_agent.threads import NodeThreads

pytestmark = pytest.mark.anyio

UNRULY = GRAPHS.parent / "unruly" / "langgraph.json"


def holding(until: Path) -> dict[str, Any]:
    return {"model": "held", "input": "Hold.", "custom_inputs": {"until": str(until)}}


async def test_two_hundred_of_them_leave_everything_else_alive(serve: Callable[..., Any], tmp_path: Path) -> None:
    until = tmp_path / "now"
    with serve(config=UNRULY, max_runs=50, max_seconds=1.0) as service:
        async with service.client() as client:
            client.timeout = 60
            try:
                with anyio.fail_after(120):
                    while (ready := await client.get("/ready")).status_code == 200:
                        held = await asyncio.gather(
                            *(client.post("/responses", json=holding(until)) for _ in range(50))
                        )
                        assert {answer.json()["metadata"]["budget"] for answer in held} == {"seconds"}
                    assert ready.status_code == 503
                    assert "200 of 200 are in use, 200 of them by nodes whose run has ended" in ready.json()["detail"]
                    # The graph that has nothing but an asynchronous node, with a body that is parsed in a thread.
                    large = {"model": "calm", "input": [{"role": "user", "content": "x" * 200_000}]}
                    calm = await client.post("/responses", json=large)
                    assert calm.json()["output"][0]["content"][0]["text"].startswith("Calm at ")
                    assert (await client.get("/health")).status_code == 200
                    # At once, and not after the time that a run may take.
                    refused = await client.post("/responses", json=holding(until))
                    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
            finally:
                until.touch()
            with anyio.fail_after(30):
                while (await client.get("/ready")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert (await client.post("/responses", json=holding(until))).status_code == 200


def test_a_node_waits_for_threads_that_runs_under_way_hold() -> None:
    until, threads = threading.Event(), NodeThreads(2)
    with within_lifetime(RunLifetime()):
        held = [threads.submit(until.wait) for _ in range(2)]
        waiting = threads.submit(lambda: "ran")
    assert (threads.held, threads.stuck) == (2, 0)
    until.set()
    assert waiting.result(10) == "ran"
    assert [one.result(10) for one in held] == [True, True]
    assert threads.held == 0


def test_a_node_does_not_wait_for_threads_that_may_never_come_back() -> None:
    until, threads, over = threading.Event(), NodeThreads(2), RunLifetime()
    with within_lifetime(over):
        held = [threads.submit(until.wait) for _ in range(2)]
    over.end()
    assert threads.stuck == 2
    with pytest.raises(NoThreadFree, match="2 of 2 are in use, 2 of them by nodes whose run has ended"):
        threads.submit(lambda: "ran")
    until.set()
    assert [one.result(10) for one in held] == [True, True]
    assert threads.submit(lambda: "ran").result(10) == "ran"
