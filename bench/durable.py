"""Measures runs that outlive their process: the events that a store commits, how a run starts in the background, how
long it stands still when its process is killed, and what a stream costs that can be resumed."""

import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from bench.client import QUESTION, STORED_BODY, StreamBroken, Target, at_once, singly
from bench.processes import Server, ServerBroken, Servers, cpu_seconds, free_port
from bench.rows import OUTPUT_TEXT_DELTA, SERVE, STORE

if TYPE_CHECKING:
    from graph_agent.stores.store import Store

BATCHES = ((1, 1), (1, 20), (1, 100), (8, 20))
"""How many runs commit together, and how many events of each."""

SCHEMA = "bench_durable"

ITEM_ADDED = b'"response.output_item.added"'
"""What the first event of a graph leads to."""

LEAST_EVENTS = 4_000
MOST_TAKEOVER = 5.0
MOST_RESUMABLE = 1.10

EVENT = json.dumps(
    {
        "type": "response.output_text.delta",
        "item_id": "msg_0123456789abcdef0123456789abcdef",
        "output_index": 3,
        "content_index": 0,
        "delta": "a few words ",
        "sequence_number": 1234,
    }
).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much to measure."""

    seconds: float
    """How long events are committed in each way."""

    starts: int
    """Runs that are started in the background, and as many in the foreground."""

    kills: int
    rounds: int
    """Rounds of streams with and without a key."""


FULL = Amount(seconds=2.0, starts=60, kills=5, rounds=7)
QUICK = Amount(seconds=0.5, starts=20, kills=1, rounds=3)


@dataclass(slots=True)
class Durable:
    """The figures of one store."""

    label: str
    environ: Mapping[str, str]
    store: Callable[[], "Store"]
    shared: bool
    """Whether another process takes over at once. Otherwise the next one does when it starts."""

    rates: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    """Runs and events of each -> events per second, and CPU seconds for each event in this process."""

    background_ms: float = 0.0
    """From the request to the first item of a graph that is run in the background."""

    foreground_ms: float = 0.0
    takeovers: list[float] = field(default_factory=list)
    """Seconds from the kill to the next event."""

    resumable: float = 0.0
    """CPU time of a stream whose events are committed, as a ratio to one whose events are not."""

    broken: str | None = None


def measure_durable(running: Servers, postgres: str | None, *, amount: Amount = FULL) -> list[Durable]:
    """Return the figures of each store."""
    file = running.folder / "durable.sqlite"
    every = [Durable("SQLite", {STORE: f"sqlite:{file}"}, partial(_sqlite, running.folder), shared=False)]
    if postgres is not None:
        environ = {STORE: postgres, "GRAPH_AGENT_STORE_SCHEMA": SCHEMA}
        every.append(Durable("PostgreSQL", environ, partial(_postgres, postgres), shared=True))
    for one in every:
        try:
            for runs, events in BATCHES:
                one.rates[runs, events] = asyncio.run(_rate(one, runs, events, amount.seconds))
            _say(f"{one.label}: {one.rates[BATCHES[1]][0]:,.0f} events/s in batches of {BATCHES[1][1]}")
            _measure(one, running, amount)
        except (ServerBroken, StreamBroken, OSError, httpx.HTTPError) as error:
            one.broken = f"{type(error).__name__}: {error}"
    return every


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


# -- events of a store ----------------------------------------------------------------------------------------------


def _sqlite(folder: Path) -> "Store":
    from graph_agent.stores.sqlite_store import SqliteStore

    return SqliteStore(folder / "events.sqlite")


def _postgres(url: str) -> "Store":
    from graph_agent.stores.postgres_sign_in import UrlSignIn
    from graph_agent.stores.postgres_store import PostgresStore

    return PostgresStore(lambda: UrlSignIn(url, {}), schema=f"{SCHEMA}_events")


async def _rate(one: Durable, runs: int, events: int, seconds: float) -> tuple[float, float]:
    """Commit events of some runs as fast as the store does it, each time with the comparison of their rights."""
    from graph_agent.stores.run_records import EventBatch

    store = one.store()
    await store.open()
    try:
        rights = await _claimed(store, runs, name=f"{runs}-{events}")
        first = dict.fromkeys(rights, 0)
        committed, began, used = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            batches = [EventBatch(right=right, first=first[right], events=(EVENT,) * events) for right in rights]
            if await store.runs.append(batches):
                raise ServerBroken("a run was lost while its events were committed")
            first = {right: number + events for right, number in first.items()}
            committed += runs * events
        return committed / (time.perf_counter() - began), (time.process_time() - used) / committed
    finally:
        await store.aclose()


async def _claimed(store: "Store", runs: int, *, name: str) -> list[Any]:
    from graph_agent.identity.owner import Owner
    from graph_agent.stores.records import Continuation, NewResponse
    from graph_agent.stores.run_records import FOREVER, NewRun, Right, RunLimits

    owner = Owner("bench")
    for number in range(runs):
        id_ = f"resp-{name}-{number}"
        at = Continuation(conversation=f"of-{id_}", thread=f"thread-{id_}", is_new=True)
        new = NewResponse(
            id=id_, continuation=at, graph="scripted", family="databricks", created_at=time.time(), input=(),
            run=NewRun(background=True, process="bench", request="{}", seconds=3600),
        )  # fmt: skip
        await store.responses.begin(owner, new, busy_until=FOREVER)
    limits = RunLimits(here=runs, per_owner=10_000, in_all=10_000)
    claimed = await store.runs.claim("bench", limits=limits, busy_seconds=3600)
    return [Right(owner=one.owner, response=one.response, attempt=one.attempt) for one in claimed]


# -- runs of a service ----------------------------------------------------------------------------------------------


def _measure(one: Durable, running: Servers, amount: Amount) -> None:
    server = _start(one, running, 0)
    for name in ("foreground_ms", "background_ms"):
        body = {**QUESTION, "store": True, "background": name == "background_ms"}
        target = Target(
            port=server.port, path="/responses", token=ITEM_ADDED, tokens=None, body=json.dumps(body).encode()
        )
        streams = asyncio.run(singly(target, streams=amount.starts + 3))[3:]
        setattr(one, name, statistics.median(stream.first_token for stream in streams) * 1e3)
    _say(f"{one.label}: the graph of a run in the background begins after {one.background_ms:.1f} ms")
    if not one.shared:
        one.resumable = statistics.median(_compared(server) for _ in range(amount.rounds))
    for number in range(1, amount.kills + 1):
        seconds, server = asyncio.run(_takeover(one, running, server, number))
        one.takeovers.append(seconds)
        _say(f"{one.label}: a run went on {seconds:.1f} s after the kill")


def _start(one: Durable, running: Servers, number: int) -> Server:
    port = free_port()
    environ = {**one.environ, "GRAPH_AGENT_TRACING": "off"}
    name = f"durable-{one.label.lower()}-{number}"
    server = running.start(name, [*SERVE, "--port", str(port)], port=port, environ=environ)
    server.wait_until_it_answers(seconds=60)
    asyncio.run(singly(Target(port=port, path="/responses", token=OUTPUT_TEXT_DELTA), streams=3))
    return server


def _compared(server: Server) -> float:
    """CPU time of streams that are committed as a ratio to that of streams that are not."""
    used = []
    for keyed in (False, True):
        target = Target(port=server.port, path="/responses", token=OUTPUT_TEXT_DELTA, body=STORED_BODY, keyed=keyed)
        before = cpu_seconds(server.pid)
        load = asyncio.run(at_once(target, streams=8, seconds=0, least=12))
        time.sleep(0.3)
        used.append((cpu_seconds(server.pid) - before) / load.streams)
    return used[1] / used[0]


async def _takeover(one: Durable, running: Servers, server: Server, number: int) -> tuple[float, Server]:
    """Kill the process of a run. Returns how long its stream stands still, and the process that goes on with it."""
    body = {**QUESTION, "model": "slow", "store": True, "background": True}
    id_, last = "", -1
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        async with client.stream("POST", "/responses", json=body) as stream:
            async for event in _events(stream):
                id_, last = id_ or event["response"]["id"], event["sequence_number"]
                if last >= 20:
                    break
        if one.shared:
            # It listens before the kill.
            successor = await asyncio.to_thread(_start, one, running, number)
        killed = time.time()
        os.killpg(server.pid, signal.SIGKILL)
        server.process.wait()
    if not one.shared:
        successor = await asyncio.to_thread(_start, one, running, number)
    # What was committed before the kill is passed over.
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{successor.port}", timeout=60) as client:
        where = f"/responses/{id_}"
        async with client.stream("GET", where, params={"stream": "true", "starting_after": last}) as stream:
            async for event in _events(stream):
                if event["type"] == "graph_agent:items_discarded":
                    went_on = time.time()
                    break
            else:
                raise StreamBroken("the run did not go on")
        await client.post(f"{where}/cancel", json={})
    return went_on - killed, successor


async def _events(stream: httpx.Response) -> "Any":
    if stream.status_code != 200:
        raise StreamBroken(f"not a stream: {stream.status_code} {(await stream.aread())[:300]!r}")
    async for line in stream.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


# -- the report -----------------------------------------------------------------------------------------------------


def durable_report(every: Sequence[Durable], *, amount: Amount = FULL) -> str:
    """Return the table of runs that outlive their process, and its goals."""
    head = (
        "Runs in the background. Events of 180 bytes are committed by one connection, runs x events in a transaction.\n"
        f"First item: medians of {amount.starts} runs, one at a time. Takeover: from the kill to the next event,\n"
        "on SQLite with the start of the next process."
    )
    heads = [f"{runs} x {events}" for runs, events in BATCHES]
    lines = [head, "", f"{'events/s':<12}" + "".join(f"{one:>12}" for one in heads)]
    lines.append("-" * len(lines[-1]))
    for one in every:
        rates = (one.rates.get(batch, (0.0, 0.0))[0] for batch in BATCHES)
        lines.append(f"{one.label:<12}" + "".join(f"{rate:>12,.0f}" for rate in rates))
    lines += ["", f"{'first item':<12}{'background ms':>15}{'foreground ms':>15}{'takeover s':>12}{'at most':>9}"]
    lines.append("-" * len(lines[-1]))
    for one in every:
        took = one.takeovers or [float("nan")]
        lines.append(
            f"{one.label:<12}{one.background_ms:>15.1f}{one.foreground_ms:>15.1f}"
            f"{statistics.median(took):>12.1f}{max(took):>9.1f}"
        )
    lines += [f"{one.label}: no figures: {one.broken}" for one in every if one.broken]
    return "\n".join([*lines, "", *durable_goals(every)])


def durable_goals(every: Sequence[Durable]) -> Iterator[str]:
    """Return the goals of the stores that have all figures."""
    for one in every:
        if one.broken is not None:
            continue
        if not one.shared:
            rate = one.rates[BATCHES[1]][0]
            yield _goal(
                f"{one.label}, events/s in batches of {BATCHES[1][1]} ≥ {LEAST_EVENTS:,}", rate, rate >= LEAST_EVENTS
            )
            met = one.resumable <= MOST_RESUMABLE
            yield _goal(
                f"{one.label}, CPU of a stream with committed events ≤ {MOST_RESUMABLE} x that of a stored one",
                one.resumable, met, " x",
            )  # fmt: skip
        if one.shared:
            most = max(one.takeovers)
            yield _goal(
                f"{one.label}, a run goes on ≤ {MOST_TAKEOVER:.0f} s after the kill", most, most <= MOST_TAKEOVER, " s"
            )


def _goal(says: str, found: float, met: bool, unit: str = "") -> str:
    return f"{'pass' if met else 'FAIL'}  {says}: {found:,.2f}{unit}"
