"""`kill -9` inside every node and at the end of every super-step. `make kills` does it with 200 runs."""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.durable.conftest import PostgresTables, SqliteTables, Tables
from tests.durable.machines import NODES, Client, Machines, checked, jitter

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("KILLS", "12"))
"""Runs whose process is killed in the middle of them, on each kind of store."""

SERIES = -(-KILLS // (2 * len(NODES)))

AT_ONCE = (("plan", "check"), ("tools", "answer"), ("draft", "close"))
"""The nodes of the runs of one process that is killed."""

MOST_SECONDS = 30.0
"""How long a run waits for a process that is ready, on a machine that runs other tests too. Otherwise it takes 5 s."""


class Killing:
    """Kills the process of four runs: two are inside of a node, and two have just ended one."""

    def __init__(self, machines: Machines, tables: Tables, *, successor_is_ready: bool) -> None:
        self.machines, self.tables = machines, tables
        self._ready = successor_is_ready
        self.takeovers: list[float] = []

    async def kill_at(self, nodes: Sequence[str], series: int) -> None:
        machines, tables = self.machines, self.tables
        inside = [(f"inside-{node}-{series}", node) for node in nodes]
        after = [(f"after-{node}-{series}", node) for node in nodes]
        for run, node in inside + after:
            machines.stop_at(run, node)
        clients = [Client(run, machines, streams=(run, node) in inside) for run, node in inside + after]
        reading = [asyncio.create_task(one.read()) for one in clients]
        for run, node in inside + after:
            await machines.stopped(run, node)
        [first] = machines.running
        if self._ready:
            await machines.start()
        for run, node in after:
            machines.let_go(run, node)
        await asyncio.gather(*(machines.noted(run, node, "end") for run, node in after))
        await asyncio.sleep(jitter())
        killed = time.time()
        await machines.kill(first)
        committed = [tables.committed(one.response) for one in clients]
        if not self._ready:
            await machines.start()
        ready = killed if self._ready else time.time()
        # After their process was killed, runs begin one after another.
        again = [asyncio.create_task(machines.noted(*one, "begin", but=first.process.pid)) for one in inside]
        begun, _ = await asyncio.wait(again, return_when=asyncio.FIRST_COMPLETED)
        self.takeovers.append(max(min(one.result().at for one in begun) - ready, 0.0))
        await asyncio.gather(*again, *reading)
        assert committed[: len(nodes)] == [NODES.index(node) for node in nodes]
        for client, steps in zip(clients, committed, strict=True):
            checked(client, committed=steps, interrupted=True)
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
        for nodes in AT_ONCE:
            await killing.kill_at(nodes, series)
        # Nothing is left to take over.
        assert tables.rows("SELECT response FROM runs WHERE state <> 'ended'") == []
    took = sorted(killing.takeovers)
    since = "the kill" if kind == "postgres" else "the start of the next process"
    says = f"{kind}: runs went on {statistics.median(took):.1f} s after {since} (median), at most {took[-1]:.1f} s"
    print(says)  # noqa: T201 - for `make kills`
    assert took[-1] < MOST_SECONDS
