"""The event loop that synchronous callers share."""

import asyncio

import pytest

from graph_agent.sync import call


@pytest.mark.parametrize("error", [KeyboardInterrupt("hunter2"), SystemExit(3)])
def test_it_outlives_a_task_that_wants_to_end_the_process(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def left_behind() -> None:
        raise error

    async def leave() -> asyncio.Task[None]:
        return asyncio.create_task(left_behind())

    async def answer() -> str:
        await asyncio.sleep(0)
        return "alive"

    left = call(leave)
    assert call(answer) == "alive"
    assert left.exception() is error
    assert "a graph tried to end the process" in caplog.text
    assert "hunter2" not in caplog.text
