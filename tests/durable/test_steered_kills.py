"""`kill -9` while messages wait for a run, and again in the response that goes on with them. `make kills` does it with
more runs."""

import asyncio
import itertools
import os
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.durable.conftest import PostgresTables, SqliteTables, Tables
from tests.durable.machines import END_SECONDS, NODES, Machines, jitter

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("KILLS", "0"))
"""Runs that are steered and killed twice, on each kind of store. Without it, there is one series on SQLite."""

SERIES = max(-(-KILLS // len(NODES)), 1)

KINDS = ("sqlite", "postgres") if KILLS else ("sqlite",)

AT_ONCE = {"GRAPH_AGENT_MAX_BACKGROUND_RUNS": "12", "GRAPH_AGENT_MAX_BACKGROUND_RUNS_PER_OWNER": "12"}
"""All runs of a series are in progress when their process is killed."""

GOES_ON: Mapping[str, str] = {
    # Not between a call and its result.
    "plan": "draft",
    "tools": "draft",
    "draft": "check",
    "check": "answer",
    "answer": "close",
    # Its last step: the message begins the next turn.
    "close": "plan",
}
"""The node in which a run is steered -> the first node of the response that goes on."""


class Steered:
    """A run that is steered in one of its nodes."""

    def __init__(self, machines: Machines, node: str, series: int) -> None:
        self.machines, self.node, self.name = machines, node, f"steered-{node}-{series}"
        self.response = ""

    async def ask(self, method: str, address: str, **options: Any) -> Any:
        """What any process answers."""
        url = random.choice(self.machines.running).url
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            answer = await client.request(method, f"/v1/responses{address}", **options)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    async def begin(self) -> None:
        """Begin the run, which stops in its node, and steer it there."""
        self.machines.stop_at(self.name, self.node)
        queued = await self.ask("POST", "", json={"input": self.name, "background": True})
        self.response = queued["id"]
        await self.machines.stopped(self.name, self.node)
        for text in ("first", "second"):
            accepted = await self.ask("POST", f"/{self.response}/steer", json={"input": f"{self.name} {text}"})
            assert accepted["status"] == "queued"
        # The response that goes on stops, too.
        self.machines.stop_at(self.name, GOES_ON[self.node])

    async def ended(self, response: str) -> Any:
        """A response that has ended."""
        async with asyncio.timeout(END_SECONDS):
            while True:
                found = await self.ask("GET", f"/{response}")
                if found["status"] not in ("queued", "in_progress"):
                    return found
                await asyncio.sleep(0.05)

    async def check(self) -> None:
        """Check that the messages are in one response, in their order, and that no node that had ended ran again."""
        first = await self.ended(self.response)
        second = await self.ended(first["metadata"]["successor_id"])
        in_last_step = self.node == "close"
        assert (first["status"], second["status"]) == ("completed" if in_last_step else "incomplete", "completed")
        assert "successor_id" not in second["metadata"]
        items = (await self.ask("GET", f"/{second['id']}/input_items", params={"order": "asc"}))["data"]
        assert [one["content"][0]["text"] for one in items] == [f"{self.name} first", f"{self.name} second"]
        steers = (await self.ask("GET", f"/{self.response}/steer"))["data"]
        assert [(one["status"], one["successor_id"]) for one in steers] == [("taken", second["id"])] * 2
        effects = self.machines.effects(self.name)
        order = [node for node, _ in itertools.groupby(effects, key=lambda one: one.node)]
        assert order == [*NODES, *(NODES if in_last_step else ())]
        # Two processes were killed in the middle of a node, which is interrupted and begins again.
        for node in NODES:
            ends = sum((one.node, one.what) == (node, "end") for one in effects)
            begins = sum((one.node, one.what) == (node, "begin") for one in effects)
            times = 2 if in_last_step else 1
            assert ends == times, f"{node} ended {ends} times"
            assert begins <= times + (node in (self.node, GOES_ON[self.node]))
        said = [item["content"][0]["text"] for item in second["output"] if item["type"] == "message"]
        # That of the first response otherwise.
        assert self.node == "answer" or said[-1].startswith("answer:")


@pytest.mark.parametrize("series", range(SERIES))
@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_process_loses_no_message_and_repeats_none(
    kind: str, series: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tables: SqliteTables | PostgresTables = request.getfixturevalue(kind)
    async with AsyncExitStack() as stack:
        machines = Machines(tmp_path / "machines", {**tables.environ, **AT_ONCE}, stack)
        await machines.start()
        runs = [Steered(machines, node, series) for node in NODES]
        await asyncio.gather(*(one.begin() for one in runs))
        await _kill(machines)
        # In the responses that go on.
        await asyncio.gather(*(machines.stopped(one.name, GOES_ON[one.node]) for one in runs))
        await _kill(machines)
        await asyncio.gather(*(one.check() for one in runs))
        await _nothing_is_left(tables)


async def _kill(machines: Machines) -> None:
    """Kill the process, and start another one."""
    [process] = machines.running
    await asyncio.sleep(jitter())
    await machines.kill(process)
    await machines.start()


async def _nothing_is_left(tables: Tables) -> None:
    assert tables.rows("SELECT response FROM runs WHERE state <> 'ended'") == []
    assert tables.rows("SELECT id FROM steers WHERE successor IS NULL") == []
