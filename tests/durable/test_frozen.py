"""A process that is stopped for so long that another one takes its runs over, and then goes on."""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.durable.conftest import PostgresTables
from tests.durable.machines import NODES, Client, Machines, told

pytestmark = pytest.mark.anyio

FROZEN_SECONDS = 40.0
"""How long after it stopped another process goes on with its runs, on a busy machine. Otherwise it takes 10 s."""

WATCHED_SECONDS = 4.0
"""How long the process that goes on is watched. It renews its leases, and commits events, several times."""

TABLES = {
    "runs": "owner, response, state, process, attempt, crashes, cancelled, events",
    "events": "owner, response, first, body",
    "responses": "owner, id, status, checkpoint, response",
    "items": "owner, response, side, place, id, body",
    "conversations": "owner, id, head, running, updated_at",
    "checkpoints": "thread_id, checkpoint_ns, checkpoint_id, metadata::text",
    "checkpoint_blobs": "thread_id, checkpoint_ns, channel, version",
    "checkpoint_writes": "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, blob",
}
"""Everything that a run writes, without the leases, which the other process renews meanwhile."""


def written(tables: PostgresTables) -> dict[str, list[tuple[Any, ...]]]:
    return {table: sorted(tables.rows(f"SELECT {columns} FROM {table}"), key=repr) for table, columns in TABLES.items()}


async def settled(tables: PostgresTables) -> dict[str, list[tuple[Any, ...]]]:
    """What is written, once the last events of the node that has stopped are committed."""
    last, now = None, written(tables)
    while last != now:
        await asyncio.sleep(0.5)
        last, now = now, written(tables)
    return now


@pytest.mark.parametrize("node", ["draft", "tools"])
async def test_a_process_that_was_stopped_writes_nothing_after_it_has_lost_its_run(
    node: str, postgres: PostgresTables, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        machines = Machines(tmp_path / "machines", postgres.environ, stack)
        frozen = await machines.start()
        client, following = Client("frozen", machines), NODES[NODES.index(node) + 1]
        machines.stop_at("frozen", node)
        reading = asyncio.create_task(client.read())
        await machines.stopped("frozen", node)
        await machines.start()
        # The other process must not read from the one that hangs.
        machines.running.remove(frozen)
        machines.stop_at("frozen", following)
        os.kill(frozen.process.pid, signal.SIGSTOP)
        stopped = time.time()
        await machines.stopped("frozen", following)
        again = await machines.noted("frozen", node, "begin", but=frozen.process.pid)
        assert again.at - stopped < FROZEN_SECONDS

        before = await settled(postgres)
        # The node of the stopped process goes on at once, and wants to write what it found.
        machines.let_go("frozen", node)
        os.kill(frozen.process.pid, signal.SIGCONT)
        await asyncio.sleep(WATCHED_SECONDS)
        assert written(postgres) == before

        machines.let_go("frozen", following)
        # It serves again, and whoever reads from it gets the same events.
        machines.running.append(frozen)
        await reading
        assert [one["sequence_number"] for one in client.events] == list(range(len(client.events)))
        assert client.events[-1]["type"] == "response.completed"
        assert [kind for kind, _ in told(client.events)] == ["message", "mcp_call", "message", "message"]
        there = [one for one in machines.effects("frozen") if one.process == frozen.process.pid]
        # After the node in which it was, it began no other.
        assert there[-1].node == node
        [(state, attempt)] = postgres.rows("SELECT state, attempt FROM runs")
        assert (state, attempt) == ("ended", 2)
        for process in (frozen, machines.running[0]):
            assert process.process.returncode is None
