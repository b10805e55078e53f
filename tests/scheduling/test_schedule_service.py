"""`graph-agent serve` with schedules: several processes, one run; and who reads the file at all."""

import signal
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from tests.durable.conftest import Tables, own_postgres, postgres, sqlite  # noqa: F401
from tests.serving.conftest import GRAPHS, serving
from tests.serving.test_process import Process, address, graph_agent
from tests.webhooks.test_service import failed_start

from graph_agent.settings import Settings

SECONDS = 120
"""How long anything may take on a machine with other work."""

EVERY_MINUTE = """
[schedules.minutely]
cron = "* * * * *"
owner = "local"
overlap = "allow"
request = { model = "team", input = "Weather?" }
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def begun(stack: AsyncExitStack, *arguments: str, **environ: str) -> Process:
    """A process that has begun to serve, and perhaps not yet loaded its graphs."""
    process = await stack.enter_async_context(graph_agent("--config", str(GRAPHS), *arguments, **environ))
    with anyio.fail_after(SECONDS):
        process.url = address(await process.logged("running on http"))
    return process


async def seen(tables: Tables, statement: str) -> None:
    """Wait until the statement finds something."""
    with anyio.fail_after(SECONDS):
        while True:
            try:
                if tables.rows(statement):
                    return
            except (sqlite3.Error, psycopg.Error):
                # The tables are being made.
                pass
            await anyio.sleep(0.05)


async def started(process: Process, tables: Tables) -> list[str]:
    """The times for which a run was started, once there is one and all have ended."""
    with anyio.fail_after(SECONDS):
        while not (found := tables.rows("SELECT response FROM runs")) or tables.rows(  # noqa: ASYNC110 - of others
            "SELECT 1 FROM runs WHERE state <> 'ended'"
        ):
            await anyio.sleep(0.05)
    async with process.client() as client:
        answers = [(await client.get(f"/v1/responses/{one}")).json() for (one,) in found]
    assert {one["status"] for one in answers} == {"completed"}
    assert {one["metadata"]["schedule"] for one in answers} == {"minutely"}
    return [one["metadata"]["scheduled_for"] for one in answers]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_two_processes_begin_one_run_for_a_time_that_no_process_saw(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tables: Tables = request.getfixturevalue(kind)
    file = tmp_path / "schedules.toml"
    file.write_text(EVERY_MINUTE)
    environ = {**tables.environ, "GRAPH_AGENT_SCHEDULES": str(file)}
    async with AsyncExitStack() as stack:
        first = await begun(stack, **environ)
        await seen(tables, "SELECT 1 FROM schedules")
        first.process.send_signal(signal.SIGTERM)
        assert await first.ended() == 0
    tables.execute("UPDATE schedules SET tick = tick - 300")
    before = len(tables.rows("SELECT 1 FROM runs"))
    async with AsyncExitStack() as stack:
        if kind == "sqlite":
            # Two processes with one file.
            processes = [await begun(stack, "--workers", "2", **environ)]
        else:
            processes = [await begun(stack, **environ) for _ in range(2)]
        with anyio.fail_after(SECONDS):
            for process in processes:
                await process.logged("ready: serving", times=2 // len(processes))
        await seen(tables, f"SELECT 1 FROM runs LIMIT 1 OFFSET {before}")
        times = await started(processes[0], tables)
        assert len(times) == len(set(times))
        log = "".join(line for process in processes for line in process.log)
        assert log.count("times were missed, from") == 1
        assert log.count(" begins as resp_") == len(times) - before


WRONG = '[schedules.a]\ncron = "* * * *"\n'


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (WRONG, {}, "`schedules.a.cron` must have five fields"),
        (WRONG, {}, "`schedules.a.owner` is missing"),
        (EVERY_MINUTE, {"store": "memory"}, "GRAPH_AGENT_SCHEDULES needs a store that outlives the process"),
        (EVERY_MINUTE, {"authorization": "user-required"}, "does not go with GRAPH_AGENT_AUTHORIZATION=user-required"),
    ],
)
async def test_a_service_that_cannot_begin_its_schedules_does_not_start(
    tmp_path: Path, text: str, settings: dict[str, Any], words: str
) -> None:
    file = tmp_path / "schedules.toml"
    file.write_text(text)
    values = {"store": f"sqlite:{tmp_path / 'store.sqlite'}", **settings}
    error = await failed_start(Settings(config=GRAPHS, tracing="off", schedules=file, **values), runs_schedules=True)
    assert words in error.message
    assert error.param == "GRAPH_AGENT_SCHEDULES"


def test_only_serve_reads_the_schedules(tmp_path: Path) -> None:
    file = tmp_path / "schedules.toml"
    file.write_text(WRONG)
    with serving(schedules=file) as service:
        assert service.url
