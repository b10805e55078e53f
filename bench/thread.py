"""Measures one conversation of many turns in each store: what its turns cost as it grows."""

import asyncio
import json
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import psycopg

from bench.client import QUESTION, Stream, StreamBroken, Target, singly
from bench.processes import Server, ServerBroken, Servers, cpu_seconds, free_port
from bench.rows import OUTPUT_TEXT_DELTA, SERVE, STORE

POINTS = (1, 10, 100, 1_000)
QUICK_POINTS = (1, 10, 100)

TENTH = 10

WINDOW = 12
"""Turns that are measured from each point on. One turn varies too much, and the CPU time is counted in ticks."""

MESSAGES = 4
"""Messages of a turn: a question, a call, its result, and the answer."""

HISTORY_TOKENS = 8_000
"""The conversation is trimmed to so many tokens, about 14 turns."""

MOST_BYTES = 20_000
MOST_CPU_US = 25.0
MOST_RATIO = 1.5

SCHEMA = "bench_thread"


@dataclass(slots=True)
class Point:
    """The turns from one point on."""

    turn: int
    milliseconds: float
    """The median time of a turn, from its request to the end of its stream."""

    cpu_milliseconds: float
    """CPU time of a turn in the service, on average."""

    stored: int
    """Bytes of the store after these turns."""

    turns: int
    """Turns of the conversation after these."""

    to_tenth: float = 1.0
    """The time of a turn as a ratio to that of a tenth turn, measured in turns. The median."""

    others: int = 0
    """Turns of other conversations in the store."""


@dataclass(slots=True)
class Conversation:
    """One conversation in one store."""

    label: str
    environ: Mapping[str, str]
    size: Callable[[], int]
    """The bytes of its store now."""

    points: list[Point] = field(default_factory=list)
    empty: int = 0
    turns: int = 0
    others: int = 0
    broken: str | None = None
    server: Server | None = None

    def target(self, name: str = "long") -> Target:
        """Where the turns of a conversation are sent. Every turn is its next one."""
        assert self.server is not None
        body = {**QUESTION, "model": "conversation", "store": True, "custom_inputs": {"thread_id": name}}
        return Target(port=self.server.port, path="/responses", token=OUTPUT_TEXT_DELTA, body=json.dumps(body).encode())

    def bytes_per_turn(self, point: Point) -> float:
        """What a turn stored on average until then."""
        return (point.stored - self.empty) / (point.turns + point.others)

    def cpu_us_per_message(self) -> float:
        """How much CPU time a turn takes for each message that is stored already."""
        first, last = self.points[min(1, len(self.points) - 1)], self.points[-1]
        return (last.cpu_milliseconds - first.cpu_milliseconds) * 1e3 / ((last.turns - first.turns) * MESSAGES)


def measure(running: Servers, postgres: str | None, *, points: Sequence[int] = POINTS) -> list[Conversation]:
    """Let one conversation grow in each store, side by side, and measure the turns from each point on one by one."""
    file = running.folder / "thread.sqlite"
    every = [Conversation("SQLite", {STORE: f"sqlite:{file}"}, lambda: _sqlite_bytes(str(file)))]
    if postgres is not None:
        environ = {STORE: postgres, "GRAPH_AGENT_STORE_SCHEMA": SCHEMA}
        every.append(Conversation("PostgreSQL", environ, lambda: _postgres_bytes(postgres)))
    for one in every:
        _guarded(one, partial(_start, one, running))
    for point in points:
        asyncio.run(_grow(every, until=point - 1))
        for one in every:
            _guarded(one, partial(_measure, one, point))
    return every


def _guarded(one: Conversation, step: Callable[[], None]) -> None:
    if one.broken is None:
        try:
            step()
        except (ServerBroken, StreamBroken, OSError) as error:
            one.broken = f"{type(error).__name__}: {error}"


def _start(one: Conversation, running: Servers) -> None:
    port = free_port()
    environ = {**one.environ, "GRAPH_AGENT_TRACING": "off", "GRAPH_AGENT_HISTORY_TOKENS": str(HISTORY_TOKENS)}
    name = f"thread-{one.label.lower()}"
    one.server = running.start(name, [*SERVE, "--port", str(port)], port=port, environ=environ)
    one.server.wait_until_it_answers(seconds=60)
    # A turn of another conversation: imports and first connections are no part of the first turn.
    warm = Target(port=port, path="/responses", token=OUTPUT_TEXT_DELTA)
    asyncio.run(singly(warm, streams=3))
    one.empty = one.size()


async def _grow(every: Sequence[Conversation], *, until: int) -> None:
    async def grow(one: Conversation) -> None:
        if one.broken is None and one.turns < until:
            try:
                await singly(one.target(), streams=until - one.turns)
                one.turns = until
            except (StreamBroken, OSError) as error:
                one.broken = f"{type(error).__name__}: {error}"

    await asyncio.gather(*map(grow, every))


def _measure(one: Conversation, point: int) -> None:
    assert one.server is not None
    count = 1 if point == 1 else WINDOW
    before = cpu_seconds(one.server.pid)
    streams: list[Stream] = asyncio.run(singly(one.target(), streams=count))
    used = cpu_seconds(one.server.pid) - before
    one.turns += count
    stored, turns, others = one.size(), one.turns, one.others
    ratio = asyncio.run(_compared(one, f"short-{point}")) if point > TENTH else 1.0
    one.points.append(
        Point(
            turn=point,
            milliseconds=statistics.median(stream.seconds for stream in streams) * 1e3,
            cpu_milliseconds=used / count * 1e3,
            stored=stored,
            turns=turns,
            to_tenth=ratio,
            others=others,
        )
    )
    print(f"turn {point:,} in {one.label}: {one.points[-1].milliseconds:.1f} ms", file=sys.stderr, flush=True)


async def _compared(one: Conversation, name: str) -> float:
    """The time of the next turns as a ratio to that of the turns from the tenth on of another conversation.

    They take turns, because the speed of a shared machine changes over time.
    """
    await singly(one.target(name), streams=TENTH - 1)
    ratios = []
    for _ in range(WINDOW):
        (long,), (short,) = await singly(one.target(), streams=1), await singly(one.target(name), streams=1)
        ratios.append(long.seconds / short.seconds)
    one.turns += WINDOW
    one.others += TENTH - 1 + WINDOW
    return statistics.median(ratios)


def _sqlite_bytes(file: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        (pages,), (size,), (free,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size", "freelist_count")
        )
    return int((pages - free) * size)


def _postgres_bytes(url: str) -> int:
    sizes = (
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = to_regnamespace(%s)"
    )
    with psycopg.connect(url) as connection:
        row = connection.execute(sizes, [SCHEMA]).fetchone()
    return int(row[0]) if row is not None else 0


# -- the report ---------------------------------------------------------------------------------------------------


def thread_report(every: Sequence[Conversation], *, postgres: bool) -> str:
    """Return the table of turns and its goals."""
    head = (
        f"One conversation, a tool call and 200 tokens each turn. Its model sees about {HISTORY_TOKENS:,} tokens.\n"
        f"Medians of {WINDOW} turns from each point on, one at a time; x is the ratio to a tenth turn at the same time."
    )
    lines = [head, "", f"{'store':<12}{'turn':>7}{'ms':>9}{'x':>7}{'CPU ms':>9}{'KB a turn':>11}"]
    lines.append("-" * len(lines[-1]))
    for one in every:
        lines += [_line(one, point) for point in one.points]
    lines += [f"{one.label}: no figures: {one.broken}" for one in every if one.broken]
    if not postgres:
        lines.append("PostgreSQL: skipped, as this machine has none (Debian: apt install postgresql)")
    return "\n".join([*lines, "", *thread_goals(every)])


def _line(one: Conversation, point: Point) -> str:
    return (
        f"{one.label:<12}{point.turn:>7,}{point.milliseconds:>9.1f}{point.to_tenth:>7.2f}"
        f"{point.cpu_milliseconds:>9.1f}{one.bytes_per_turn(point) / 1e3:>11.1f}"
    )


def thread_goals(every: Sequence[Conversation]) -> Iterator[str]:
    """Return the goals of the conversations that have all figures."""
    for one in every:
        if one.broken is not None or len(one.points) < 3:
            continue
        last = one.points[-1]
        figures = (
            ("stored a turn on average ≤ 20 KB", one.bytes_per_turn(last) / 1e3, MOST_BYTES / 1e3, " KB"),
            ("CPU for each stored message ≤ 25 µs", one.cpu_us_per_message(), MOST_CPU_US, " µs"),
            (f"turn {last.turn:,} ≤ 1.5 x the tenth, with trimming", last.to_tenth, MOST_RATIO, " x"),
        )
        for says, found, most, unit in figures:
            yield f"{'pass' if found <= most else 'FAIL'}  {one.label}, {says}: {found:.2f}{unit}"
