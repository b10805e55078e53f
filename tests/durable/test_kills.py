"""`kill -9` inside every node and at the end of every super-step. `make kills` does it 200 times."""

import asyncio
import os
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.durable.conftest import PostgresTables, SqliteTables, Tables
from tests.durable.machines import NODES, Client, Machines, checked, jitter

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("KILLS", "12"))
"""Processes that are killed in all."""

SERIES = max(KILLS // (2 * len(NODES)), 1)

MOST_SECONDS = 15.0
"""How long a run waits for a process that is ready, on a machine that runs other tests too. Otherwise it takes 5 s."""


class Killing:
    """Kills the process of two runs at a time: one is inside of a node, and the other one has just ended it."""

    def __init__(self, machines: Machines, tables: Tables, *, successor_is_ready: bool) -> None:
        self.machines, self.tables = machines, tables
        self._ready = successor_is_ready
        self.takeovers: list[float] = []

    async def kill_at(self, node: str, series: int) -> None:
        machines, tables = self.machines, self.tables
        inside, after = f"inside-{node}-{series}", f"after-{node}-{series}"
        for run in (inside, after):
            machines.stop_at(run, node)
        clients = [Client(inside, machines), Client(after, machines, streams=False)]
        reading = [asyncio.create_task(one.read()) for one in clients]
        for run in (inside, after):
            await machines.stopped(run, node)
        [first] = machines.running
        if self._ready:
            await machines.start()
        machines.let_go(after, node)
        await machines.noted(after, node, "end")
        await asyncio.sleep(jitter())
        killed = time.time()
        await machines.kill(first)
        committed = [tables.committed(one.response) for one in clients]
        if not self._ready:
            await machines.start()
        ready = killed if self._ready else time.time()
        again = await machines.noted(inside, node, "begin", but=first.process.pid)
        self.takeovers.append(max(again.at - ready, 0.0))
        await asyncio.gather(*reading)
        assert committed[0] == NODES.index(node)
        for client, nodes in zip(clients, committed, strict=True):
            checked(client, committed=nodes, interrupted=True)
            stored = await client.stored()
            assert stored["status"] == "completed"
            assert stored["output"] == client.events[-1]["response"]["output"]


@pytest.mark.parametrize("series", range(SERIES))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_killed_process_loses_no_run_and_repeats_no_committed_node(
    kind: str, series: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tables: SqliteTables | PostgresTables = request.getfixturevalue(kind)
    async with AsyncExitStack() as stack:
        machines = Machines(tmp_path / "machines", tables.environ, stack)
        killing = Killing(machines, tables, successor_is_ready=kind == "postgres")
        await machines.start()
        for node in NODES:
            await killing.kill_at(node, series)
        # Nothing is left to take over.
        assert tables.rows("SELECT response FROM runs WHERE state <> 'ended'") == []
    took = sorted(killing.takeovers)
    since = "the kill" if kind == "postgres" else "the start of the next process"
    says = f"{kind}: runs went on {statistics.median(took):.1f} s after {since} (median), at most {took[-1]:.1f} s"
    print(says)  # noqa: T201 - for `make kills`
    assert took[-1] < MOST_SECONDS
