"""Streams as models write them: 20 tokens a second each, and many at the same time.

In a burst, tokens are put together and cost little. A token that comes alone wakes tasks and is written by itself. So
these figures say how many streams a core carries, and what becomes of them when there are more.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.client import Stream, Target, singly, together
from bench.line_plot import Line, line_plot
from bench.probe import Probe, nearly_longest
from bench.processes import Server, Servers, cpu_seconds, free_port, memory_mb
from bench.rows import FLOOR, ROWS, Row

PACE = 0.05
"""Seconds before each token."""

COUNTS, QUICK_COUNTS = (1, 10, 100, 300, 1000), (10, 100)
"""How many streams start together."""

WITHIN_SECONDS = 300.0
"""The longest wait for a stream."""

OURS = "graph-agent"
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Paced:
    """One server with one number of streams."""

    row: Row
    streams: int
    tokens_per_second: float
    cpu_us_per_token: float
    first_event_seconds: float
    """From writing the request to the first frame. The median."""

    gap_seconds: float
    """Between two reads with tokens on one connection. 99 of 100 are at most this."""

    health_seconds: float
    """How long `/health` takes to answer meanwhile. 99 of 100 take at most this."""

    kb_per_stream: float
    """How far the memory of the server was, at most, above that at rest behind the first stream of its process. It does
    not count from the memory before these streams: that depends on how much the server gave back after the others."""


@dataclass(frozen=True, slots=True)
class Host:
    """A server that runs, and has had its first stream."""

    row: Row
    server: Server
    rest_mb: float
    """Its memory then."""

    def kb_per_stream(self, most_mb: float, streams: int) -> float:
        """How much memory a stream takes, if the server had at most so much with these."""
        return max(most_mb - self.rest_mb, 0.0) * 1e3 / streams


def measure_paced(running: Servers, *, counts: Sequence[int]) -> list[Paced]:
    """Measure the floor and graph-agent without traces, with each number of streams, in turns.

    Raises:
        ServerBroken: a server ended.
        StreamBroken: a stream was not complete.
    """
    rows = [row for row in ROWS if row.name in (FLOOR, OURS)]
    hosts = [_started(running, row, most=max(counts)) for row in rows]
    return [_measured(host, streams) for streams in counts for host in hosts]


def _started(running: Servers, row: Row, *, most: int) -> Host:
    port = free_port()
    # More connections than streams: that of the probe, and those that are being closed.
    limits = {"GRAPH_AGENT_MAX_RUNS": str(most), "GRAPH_AGENT_MAX_CONNECTIONS": str(2 * most)}
    environ = {**row.environ, "BENCH_PACE": str(PACE), **limits}
    server = running.start(f"paced-{row.name}", [*row.arguments, "--port", str(port)], port=port, environ=environ)
    server.wait_until_it_answers(seconds=60)
    asyncio.run(singly(_target(row, server), streams=1))
    return Host(row, server, memory_mb(server.pid))


def _target(row: Row, server: Server) -> Target:
    return Target(port=server.port, path=row.path, token=row.token)


def _measured(host: Host, streams: int) -> Paced:
    row, server = host.row, host.server
    server.check()
    used, began = cpu_seconds(server.pid), time.perf_counter()
    with Probe(server.port) as probe:
        done, most = asyncio.run(_streamed(row, server, streams))
    seconds = time.perf_counter() - began
    tokens = sum(one.tokens for one in done)
    return Paced(
        row=row,
        streams=streams,
        tokens_per_second=tokens / seconds,
        cpu_us_per_token=(cpu_seconds(server.pid) - used) / tokens * 1e6,
        first_event_seconds=statistics.median(one.first_frame for one in done),
        gap_seconds=nearly_longest([gap for one in done for gap in one.gaps]),
        health_seconds=nearly_longest(probe.seconds),
        kb_per_stream=host.kb_per_stream(most, streams),
    )


async def _streamed(row: Row, server: Server, streams: int) -> tuple[Sequence[Stream], float]:
    """Returns the streams, and the most memory of the server meanwhile, in MB."""
    running = asyncio.create_task(together(_target(row, server), streams=streams, within=WITHIN_SECONDS))
    most = memory_mb(server.pid)
    while not running.done():
        await asyncio.wait([running], timeout=SAMPLE_SECONDS)
        most = max(most, memory_mb(server.pid))
    return await running, most


def paced_report(found: Sequence[Paced]) -> str:
    """Return the table."""
    lines = [
        f"Streams that start together, each with 200 tokens at {1 / PACE:.0f} a second. One process each.",
        "",
        f"{'streams':>7}  {'server':<34}  {'tokens/s':>8}  {'x floor':>7}  {'CPU µs/token':>12}  "
        f"{'first event s':>13}  {'gap p99 ms':>10}  {'/health p99 ms':>14}  {'KB/stream':>9}",
    ]
    for one in found:
        lines.append(
            f"{one.streams:>7,}  {one.row.label:<34}  {one.tokens_per_second:>8,.0f}  {to_floor(one, found):>7.2f}  "
            f"{one.cpu_us_per_token:>12,.0f}  {one.first_event_seconds:>13.2f}  {one.gap_seconds * 1e3:>10,.0f}  "
            f"{one.health_seconds * 1e3:>14,.0f}  {one.kb_per_stream:>9,.0f}"
        )
    return "\n".join(lines)


def to_floor(one: Paced, found: Sequence[Paced]) -> float:
    """Its tokens a second, compared with those of the floor with as many streams."""
    floor = next(other for other in found if other.row.name == FLOOR and other.streams == one.streams)
    return one.tokens_per_second / floor.tokens_per_second


def paced_figures(found: Sequence[Paced]) -> list[dict[str, Any]]:
    """Return the figures for `--json`."""
    return [
        {
            "row": one.row.name,
            "streams": one.streams,
            "tokens_per_second": round(one.tokens_per_second),
            "tokens_to_floor": round(to_floor(one, found), 2),
            "cpu_us_per_token": round(one.cpu_us_per_token),
            "first_event_seconds": round(one.first_event_seconds, 2),
            "gap_p99_ms": round(one.gap_seconds * 1e3),
            "health_p99_ms": round(one.health_seconds * 1e3),
            "kb_per_stream": round(one.kb_per_stream),
        }
        for one in found
    ]


def published_paced(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the table that the documentation shows, in Markdown, of the figures of `--json`."""
    heads = ["Streams", "Server", "Tokens a second", "Compared", "CPU of a token", "First event", "Gap, p99"]
    heads += ["`/health`, p99", "Memory a stream"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for one in figures:
        cells = (
            f"{one['streams']:,}",
            LABELS[one["row"]],
            f"{one['tokens_per_second']:,}",
            f"{one['tokens_to_floor']:.2f} x",
            f"{one['cpu_us_per_token']} µs",
            f"{one['first_event_seconds']:.2f} s",
            f"{one['gap_p99_ms']:,} ms",
            f"{one['health_p99_ms']:,} ms",
            f"{one['kb_per_stream']:,} KB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


LABELS = {FLOOR: "LangGraph on Starlette", OURS: "graph-agent"}
COLORS = {FLOOR: "#8a8f98", OURS: "#2f6fde"}


def plot(figures: Sequence[Mapping[str, Any]]) -> str:
    """Draw tokens a second over the number of streams, as SVG."""
    return line_plot(
        title=f"Tokens a second, with streams of {1 / PACE:.0f} tokens a second each",
        over="tokens a second, one process",
        along="streams that start together",
        counts=sorted({one["streams"] for one in figures}),
        lines=[
            Line(LABELS[name], color, [one["tokens_per_second"] for one in figures if one["row"] == name])
            for name, color in COLORS.items()
        ],
    )
