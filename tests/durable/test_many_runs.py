"""Many runs in the background over several processes, which come and go."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.durable.conftest import PostgresTables
from tests.durable.machines import NODES, TERMINAL, Client, Machines, told

pytestmark = pytest.mark.anyio

RUNS = 100

LIMITS = {
    "GRAPH_AGENT_MAX_BACKGROUND_RUNS": "12",
    "GRAPH_AGENT_MAX_BACKGROUND_RUNS_PER_OWNER": "100",
    "GRAPH_AGENT_MAX_BACKGROUND_RUNS_IN_ALL": "100",
}

ALL_SECONDS = 180


async def test_a_hundred_runs_finish_once_each_though_processes_and_the_database_go_away(
    postgres: PostgresTables, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        machines = Machines(tmp_path / "machines", {**postgres.environ, **LIMITS}, stack)
        killed, drained, staying = await asyncio.gather(*(machines.start() for _ in range(3)))
        clients = [Client(f"many-{number}", machines, streams=number % 2 == 0) for number in range(RUNS)]
        reading = [asyncio.create_task(one.read(seconds=ALL_SECONDS)) for one in clients]
        async with asyncio.timeout(ALL_SECONDS):
            await asyncio.gather(*(one.started.wait() for one in clients))
            await ended(postgres, RUNS // 10)
            await machines.kill(killed)
            await ended(postgres, RUNS // 4)
            await machines.stop(drained)
            await ended(postgres, RUNS // 3)
            await asyncio.to_thread(postgres.server.stop)
            await asyncio.to_thread(postgres.server.start)
            await asyncio.gather(*reading)

        for one in clients:
            assert [event["sequence_number"] for event in one.events] == list(range(len(one.events)))
            assert [event["type"] for event in one.events if event["type"] in TERMINAL] == ["response.completed"], (
                one.events[-1]["response"]["error"]
            )
            assert [kind for kind, _ in told(one.events)] == ["message", "mcp_call", "message", "message"]
            counts = Counter(effect.node for effect in machines.effects(one.run) if effect.what == "end")
            assert set(counts) == set(NODES)
            # A node may run twice in a run that was taken over; each takeover repeats one node at most.
            [(attempt,)] = postgres.rows("SELECT attempt FROM runs WHERE response = ?", one.response)
            assert sum(counts.values()) - len(NODES) < attempt
        assert postgres.rows("SELECT state, COUNT(*) FROM runs GROUP BY state") == [("ended", RUNS)]
        assert staying.process.returncode is None


async def ended(postgres: PostgresTables, runs: int) -> None:
    """Wait until so many runs have ended."""
    while postgres.rows("SELECT COUNT(*) FROM runs WHERE state = 'ended'")[0][0] < runs:  # noqa: ASYNC110 - in other processes
        await asyncio.sleep(0.05)
