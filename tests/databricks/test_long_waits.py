"""A workspace that asks clients to wait long is reported immediately, and holds no thread meanwhile."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.standin.genie import GENIE, SPACE, genie_routes, text
from tests.standin.server import StandIn, stand_in

from graph_agent.databricks.api_calls import MOST_BACKGROUND, ApiCalls
from graph_agent.databricks.genie import genie
from graph_agent.errors import ToolFailed

pytestmark = pytest.mark.anyio


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    with stand_in(tmp_path / "workspace", more=genie_routes([text("Four.")], looks=0)) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", ["45", "3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_a_tool_tells_how_long_its_workspace_wants_to_be_left_alone(
    workspace: StandIn, status: int, wait: str
) -> None:
    tool = genie(SPACE)
    workspace.fail(GENIE, status, times=40, headers={"retry-after": wait})
    with anyio.fail_after(40):
        # More at once than there are threads: none is slept in.
        told = await asyncio.gather(*(tool.ainvoke({"question": "?"}) for _ in range(40)), return_exceptions=True)
    assert {type(one) for one in told} == {ToolFailed}
    assert all("asks clients to wait " in str(one) and f"({status})" in str(one) for one in told)
    assert len(workspace.calls(GENIE)) == 40
    assert await tool.ainvoke({"question": "?"}) == "Four."


async def test_a_short_wait_is_waited(workspace: StandIn) -> None:
    workspace.fail(GENIE, 429, headers={"retry-after": "1"})
    assert await genie(SPACE).ainvoke({"question": "?"}) == "Four."


async def test_calls_that_nobody_waits_for_hold_a_bounded_number_of_threads(
    workspace: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    calls, hold = ApiCalls("Genie", grant="none", acting_as="app"), threading.Event()
    begun = threading.Semaphore(0)

    def stuck(client: Any) -> None:
        begun.release()
        hold.wait(30)

    before = threading.active_count()
    try:
        for _ in range(3 * MOST_BACKGROUND):
            calls.leave(stuck)
        assert threading.active_count() - before <= MOST_BACKGROUND
        assert caplog.text.count("was not made") == 2 * MOST_BACKGROUND
    finally:
        hold.set()
    # Asked and not waited for in a thread, which would be one more.
    with anyio.fail_after(20):
        for _ in range(MOST_BACKGROUND):
            while not begun.acquire(blocking=False):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        # They give their places back.
        while threading.active_count() > before + 1:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    caplog.clear()
    calls.leave(lambda client: None)
    assert "was not made" not in caplog.text
