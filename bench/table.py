"""Formats the figures as text."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Plan, Result, excess, median, ratio, tokens
from bench.rows import FLOOR

HEADS = (
    ("", "server"),
    ("token", "events/s"),
    ("x", "floor"),
    ("all", "frames/s"),
    ("CPU µs", "/token"),
    ("x", "floor"),
    ("first", "event ms"),
    ("- floor", "ms"),
    ("first", "token ms"),
    ("- floor", "ms"),
    ("memory", "MB"),
    ("port", "answers s"),
    ("ready", "s"),
    ("traces", "arrived"),
)

PUBLISHED = (FLOOR, "graph-agent", "graph-agent-traced", "agentserver", "agentserver-autolog")
"""The rows that the README shows, the one to compare with first."""


def report(results: Sequence[Result], plan: Plan, *, load: float, taken: float) -> str:
    """Return the table and the goals. `load` is the machine's load average before the benchmark started, and `taken`
    the share of the processor time that its host took away meanwhile."""
    measured = {result.row.name: result for result in results if result.visits and result.broken is None}
    if FLOOR not in measured:
        return "no figures: the floor itself failed"
    rounds = len(measured[FLOOR].visits)
    head = (
        f"One tool call, then 200 tokens, no delay. Token events/s: {plan.streams} streams at once, "
        f"{plan.seconds} s or {plan.least} streams a connection per round.\n"
        f"First event: one stream at a time, {plan.singles} a round. Medians of {rounds} rounds; x and - compare with "
        f"the floor of the same round.\n"
        f"{os.cpu_count()} cores for servers, client and tracking server; load {load:.1f} before; the "
        f"machine's host took {taken:.0%} of the processor time."
    )
    lines = [head, "", table(results, measured[FLOOR]), "", *map(str, goals(measured))]
    return "\n".join([*lines, *_first_events(measured)])


def figures(
    results: Sequence[Result],
    plan: Plan,
    *,
    load: float,
    taken: float,
    paced: Sequence[Mapping[str, Any]] = (),
    starts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the figures of the rows and the conditions, for `--json`. `paced` are those of streams as models write,
    and `starts` those of starts."""
    measured = {result.row.name: result for result in results if result.visits and result.broken is None}
    floor = measured.get(FLOOR)
    return {
        "streams": plan.streams,
        "rounds": max((len(result.visits) for result in measured.values()), default=0),
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "taken_by_host": round(taken, 2),
        "python": platform.python_version(),
        "rows": {} if floor is None else {name: _figures(result, floor) for name, result in measured.items()},
        "paced": list(paced),
        "starts": list(starts),
    }


def _figures(result: Result, floor: Result) -> dict[str, Any]:
    return {
        "label": result.row.label,
        "token_events_per_second": round(median(result, tokens)),
        "token_events_to_floor": round(ratio(result, floor, tokens), 2),
        "cpu_us_per_token": round(median(result, lambda visit: visit.cpu_us_per_token)),
        "cpu_to_floor": round(ratio(result, floor, lambda visit: visit.cpu_us_per_token), 2),
        "first_event_ms": round(median(result, lambda visit: visit.first_event_ms), 1),
        "first_event_after_floor_ms": round(excess(result, floor, lambda visit: visit.first_event_ms), 1),
        "memory_mb": round(result.memory_mb),
        "port_answers_seconds": round(result.answers_seconds, 1),
        "traces": result.traces,
        "streams": result.streams,
    }


def published(found: Mapping[str, Any]) -> str:
    """Return the table that the README and the documentation show, in Markdown, of the figures of `--json`."""
    lines = [
        "| Server | CPU time of a token | Compared with the first row | Memory |",
        "|---|---|---|---|",
    ]
    for name in PUBLISHED:
        row = found["rows"][name]
        lines.append(
            f"| {row['label']} | {row['cpu_us_per_token']} µs | {row['cpu_to_floor']:.2f} x | {row['memory_mb']} MB |"
        )
    lines += [
        "",
        f"One tool call, then 200 tokens without a delay, {found['streams']} streams at once. Medians of "
        f"{found['rounds']} rounds, with Python {found['python']} on {found['cores']} cores that also ran the client; "
        f"their load was {found['load_before']} before. The machine's host took {found['taken_by_host']:.0%} of the "
        "processor time.",
    ]
    return "\n".join(lines)


def _first_events(results: Mapping[str, Result]) -> Iterator[str]:
    """How much later the first event of a stored turn comes."""
    free = results.get("graph-agent")
    for stored in results.values():
        if stored.row.stores and free is not None:
            found = ratio(stored, free, lambda visit: visit.first_event_ms)
            yield f"      {stored.row.label}, first event: {found:.2f} x that of a turn that is not"


def table(results: Sequence[Result], floor: Result) -> str:
    """Return one aligned line for each server."""
    lines = [[head[0] for head in HEADS], [head[1] for head in HEADS]]
    lines += [_cells(result, floor) for result in results if result.broken is None]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    rows = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    rows.insert(2, "-" * max(map(len, rows)))
    rows += [f"{result.row.label}: no figures: {result.broken}" for result in results if result.broken]
    return "\n".join(rows)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield line[0].ljust(widths[0])
    for cell, width in zip(line[1:], widths[1:], strict=True):
        yield cell.rjust(width)


def _cells(result: Result, floor: Result) -> list[str]:
    return [
        result.row.label,
        f"{median(result, tokens):,.0f}",
        f"{ratio(result, floor, tokens):.2f}",
        f"{median(result, lambda visit: visit.frames_per_second):,.0f}",
        f"{median(result, lambda visit: visit.cpu_us_per_token):,.0f}",
        f"{ratio(result, floor, lambda visit: visit.cpu_us_per_token):.2f}",
        f"{median(result, lambda visit: visit.first_event_ms):.1f}",
        f"{excess(result, floor, lambda visit: visit.first_event_ms):+.1f}",
        f"{median(result, lambda visit: visit.first_token_ms):.1f}",
        f"{excess(result, floor, lambda visit: visit.first_token_ms):+.1f}",
        f"{result.memory_mb:,.0f}",
        f"{result.answers_seconds:.1f}",
        f"{result.ready_seconds:.1f}",
        "" if result.traces is None else f"{result.traces}/{result.streams}",
    ]


@dataclass(frozen=True, slots=True)
class Goal:
    """A speed that this project promises, and whether it was met."""

    says: str
    found: float
    met: bool
    unit: str = ""

    def __str__(self) -> str:
        return f"{'pass' if self.met else 'FAIL'}  {self.says}: {self.found:.2f}{self.unit}"


def goals(results: Mapping[str, Result]) -> list[Goal]:
    """Return the goals whose rows have figures."""
    return [*_speed(results), *_promptness(results), *_storing(results)]


def _storing(results: Mapping[str, Result]) -> Iterator[Goal]:
    # Compared with turns that are not stored, a store would look slower whenever these become faster.
    for name, least, label in (("sqlite", 1.3, "SQLite"), ("postgres", 1.0, "PostgreSQL")):
        ours, floor = results.get(f"graph-agent-{name}"), results.get(f"floor-{name}")
        if ours is not None and floor is not None:
            found = ratio(ours, floor, tokens)
            yield Goal(
                f"stored in {label}, token events/s ≥ {least} x those of the floor with LangGraph's saver",
                found,
                found >= least,
                " x",
            )


def _speed(results: Mapping[str, Result]) -> Iterator[Goal]:
    wanted = (
        ("graph-agent", FLOOR, 0.8, "tracing off, token events/s ≥ 0.8 x the floor"),
        ("graph-agent-websocket", "graph-agent-memory", 0.9, "over WebSocket, token events/s ≥ 0.9 x those over HTTP"),
        ("graph-agent-traced", FLOOR, 0.5, "tracing on, token events/s ≥ 0.5 x the floor"),
        ("graph-agent-traced", "agentserver-autolog", 5.0, "tracing on, token events/s ≥ 5 x AgentServer with autolog"),
    )
    for ours, other, least, says in wanted:
        if ours in results and other in results:
            found = ratio(results[ours], results[other], tokens)
            yield Goal(says, found, found >= least, " x")


def _promptness(results: Mapping[str, Result]) -> Iterator[Goal]:
    for name, mode in (("graph-agent", "tracing off"), ("graph-agent-traced", "tracing on")):
        if name not in results:
            continue
        late = excess(results[name], results[FLOOR], lambda visit: visit.first_event_ms)
        yield Goal(f"{mode}, first event ≤ the floor's + 3 ms", late, late <= 3.0, " ms")
        answers = results[name].answers_seconds
        yield Goal(f"{mode}, the port answers ≤ 2 s after start", answers, answers <= 2.0, " s")
        traces = results[name].traces
        if traces is not None:
            arrived = traces / results[name].streams
            yield Goal(f"{mode}, traces arrived of streams", arrived * 100, arrived == 1.0, " %")
