"""Processes that serve the graph `counting`, what its nodes have done in them, and clients that come back."""

import asyncio
import itertools
import json
import random
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.serving.test_process import Process, address, graph_agent

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"

NODES = ("plan", "tools", "draft", "check", "answer", "close")

START_SECONDS = 60

END_SECONDS = 120
"""How long a run may take in all, with a takeover."""

POLL_SECONDS = 0.003

TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


@dataclass(frozen=True)
class Effect:
    """One line that a node has noted."""

    at: float
    process: int
    run: str
    node: str
    what: str


class Machines:
    """The processes of one service, which share a store."""

    def __init__(self, folder: Path, environ: Mapping[str, str], stack: AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        for name in ("stops", "held"):
            (folder / name).mkdir(parents=True)
        self._environ = {**environ, "COUNTING_FOLDER": str(folder)}
        self.running: list[Process] = []

    async def start(self) -> Process:
        """Start one more process, and wait until it serves."""
        process = await self._stack.enter_async_context(graph_agent("--config", str(GRAPHS), **self._environ))
        async with asyncio.timeout(START_SECONDS):
            process.url = address(await process.logged("running on http"))
            await process.logged("ready: serving")
        self.running.append(process)
        return process

    async def kill(self, process: Process) -> None:
        """`kill -9`."""
        self.running.remove(process)
        process.process.kill()
        await process.ended()

    async def stop(self, process: Process) -> None:
        """SIGTERM, as a redeploy does."""
        self.running.remove(process)
        process.process.send_signal(signal.SIGTERM)
        await process.ended()

    # -- what the nodes do ------------------------------------------------------------------------------------------

    def stop_at(self, run: str, node: str) -> None:
        """The first process that gets to this node stops in it."""
        (self._folder / "stops" / f"{run}.{node}").touch()

    async def stopped(self, run: str, node: str) -> None:
        """Wait until the run has stopped there."""
        async with asyncio.timeout(END_SECONDS):
            while not (self._folder / "held" / f"{run}.{node}").exists():  # noqa: ASYNC110 - of another process
                await asyncio.sleep(POLL_SECONDS)

    def let_go(self, run: str, node: str) -> None:
        """Let it go on."""
        (self._folder / "held" / f"{run}.{node}").unlink()

    async def noted(self, run: str, node: str, what: str, *, but: int | None = None) -> Effect:
        """Wait until the node has noted it, in another process than `but`."""
        async with asyncio.timeout(END_SECONDS):
            while True:
                for one in self.effects(run):
                    if (one.node, one.what) == (node, what) and one.process != but:
                        return one
                await asyncio.sleep(POLL_SECONDS)

    def effects(self, run: str) -> list[Effect]:
        """What the nodes of a run have done, in order."""
        file = self._folder / "effects"
        lines = file.read_text().splitlines() if file.exists() else []
        parts = [line.split() for line in lines]
        return [Effect(float(at), int(pid), *rest) for at, pid, *rest in parts if rest[0] == run]


@dataclass
class Client:
    """A client that starts a run in the background and reads its events, and comes back whenever its stream breaks."""

    run: str
    machines: Machines
    streams: bool = True
    """Whether it reads the events on the connection of its request. Otherwise it joins the run."""
    events: list[dict[str, Any]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    response: str = ""
    """The id of the response."""

    async def read(self, *, seconds: float = END_SECONDS) -> None:
        """Read to the terminal event."""
        async with asyncio.timeout(seconds):
            body = {"input": self.run, "background": True, "stream": self.streams}
            await self._connected("POST", "/v1/responses", json=body)
            while not self.events or self.events[-1]["type"] not in TERMINAL:
                after = {"starting_after": self.events[-1]["sequence_number"]} if self.events else {}
                await self._connected("GET", f"/v1/responses/{self.response}", params={"stream": "true", **after})
                await asyncio.sleep(0.05)

    async def _connected(self, method: str, address: str, **options: Any) -> None:
        if not self.machines.running:
            return
        # Any process serves any response.
        url = random.choice(self.machines.running).url
        try:
            async with (
                httpx.AsyncClient(base_url=url, timeout=30) as client,
                client.stream(method, address, **options) as answer,
            ):
                await self._read(answer)
        except httpx.TransportError:
            # The process is gone.
            assert self.response, f"{self.run} was not accepted"

    async def _read(self, answer: httpx.Response) -> None:
        if answer.status_code == 503:
            # Its store is away.
            return
        assert answer.status_code == 200, (await answer.aread()).decode()
        if answer.headers["content-type"].startswith("application/json"):
            accepted = json.loads(await answer.aread())
            assert accepted["status"] == "queued"
            self._accepted(accepted)
            return
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if not self.events:
                    self._accepted(event["response"])
                self.events.append(event)

    def _accepted(self, response: Mapping[str, Any]) -> None:
        self.response = response["id"]
        self.started.set()

    async def stored(self) -> dict[str, Any]:
        """The response as a process shows it now."""
        async with httpx.AsyncClient(base_url=self.machines.running[0].url, timeout=30) as client:
            answer = await client.get(f"/v1/responses/{self.response}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def told(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What a client has at the end that puts items together from the events, and drops those that do not count."""
    items: dict[int, tuple[str, str]] = {}
    for event in events:
        index = event.get("output_index", -1)
        match event["type"]:
            case "response.output_item.added":
                assert index not in items, f"two items have the place {index}"
                items[index] = (event["item"]["type"], "")
            case "response.output_text.delta" | "response.function_call_arguments.delta":
                kind, text = items[index]
                items[index] = (kind, text + event["delta"])
            case "response.output_item.done":
                assert event["item"]["type"] != "message" or said(event["item"]) == items[index]
                items[index] = said(event["item"])
            case "graph_agent:items_discarded":
                for gone in event["output_indexes"]:
                    del items[gone]
    return [items[index] for index in sorted(items)]


def said(item: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of an item, and what it says."""
    text = "".join(part["text"] for part in item.get("content") or ())
    return item["type"], text or f"{item.get('arguments')} {item.get('output')}"


def checked(client: Client, *, committed: int, interrupted: bool) -> None:
    """Check that nothing was lost, repeated or told twice. `committed` nodes had ended before the process did."""
    events = client.events
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed", events[-1]
    assert sum(one["type"] in TERMINAL for one in events) == 1
    response = events[-1]["response"]
    assert told(events) == [said(item) for item in response["output"]]
    effects = client.machines.effects(client.run)
    for place, node in enumerate(NODES):
        begins, ends = (sum(one.node == node and one.what == what for one in effects) for what in ("begin", "end"))
        most = 2 if interrupted and place == committed else 1
        assert 1 <= begins <= most, f"{node} began {begins} times, and {committed} nodes were committed"
        assert 1 <= ends <= most, f"{node} ended {ends} times, and {committed} nodes were committed"
    kinds = [kind for kind, _ in told(events)]
    # What a node said before it called a tool, or before another node answered, may be lost with its process.
    assert kinds.count("mcp_call") == 1
    assert kinds[-1] == "message"
    assert told(events)[-1][1].split() == ["answer:", *(f"word{number}" for number in range(40))]
    order = [node for node, _ in itertools.groupby(effects, key=lambda one: one.node)]
    assert order == list(NODES)


def jitter() -> float:
    """Some milliseconds, in which a step is committed or is not."""
    return random.uniform(0, 0.012)
