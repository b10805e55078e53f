"""`graph-agent usage`: who has used how many tokens, from the store of the service."""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from datetime import date

from graph_agent.app_context import AppContext, current_app
from graph_agent.commands.options import add_config, settings_from
from graph_agent.errors import BadSetting
from graph_agent.printable import one_line
from graph_agent.settings import Settings
from graph_agent.stores.opening import named_store
from graph_agent.stores.sqlite_store import SqliteStore
from graph_agent.stores.usage_records import USAGE_KEYS, UsageKey, UsageRow, day_of, days_before

DAYS = 30
"""How many days are shown without `--since`, with today."""

FIGURES = ("calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "lost_tokens", "total_tokens")

HEADINGS = ("CALLS", "INPUT", "CACHED", "OUTPUT", "REASONING", "LOST", "TOTAL")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is shown, and how."""
    add_config(parser)
    parser.add_argument("--since", type=_day, metavar="DAY", help=f"first day, as 2026-11-30 (default: {DAYS} days)")
    parser.add_argument("--until", type=_day, metavar="DAY", help="last day (default: today)")
    parser.add_argument("--user", metavar="USER", help="only this user")
    parser.add_argument(
        "--by",
        type=_keys,
        metavar="KEYS",
        default=("user", "graph", "model"),
        help=f"sum by these, separated by commas: {', '.join(USAGE_KEYS)} (default: user,graph,model)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    settings = settings_from(options)
    now = time.time()
    since, until = options.since or days_before(now, DAYS - 1), options.until or day_of(now)
    with AppContext(settings).entered():
        rows = asyncio.run(_read(settings, since=since, until=until, user=options.user, by=options.by))
    if options.json:
        print(json.dumps([_plain(row, options.by) for row in rows], indent=2))
    elif rows:
        print(_table(options.by, rows))
    else:
        print(f"nothing was used from {since} to {until}")
    return 0


async def _read(
    settings: Settings, *, since: str, until: str, user: str | None, by: Sequence[UsageKey]
) -> Sequence[UsageRow]:
    store = named_store(settings, current_app())
    if isinstance(store, SqliteStore):
        if store.path is None:
            raise BadSetting(
                "the store is memory, which only the service can read: set GRAPH_AGENT_STORE to a file or a database",
                param="GRAPH_AGENT_STORE",
            )
        if not store.path.exists():
            # Opening it would make one.
            return []
    try:
        await store.open()
        return await store.usage.usage(since=since, until=until, owner=user, by=by)
    finally:
        await store.aclose()


def _plain(row: UsageRow, by: Sequence[UsageKey]) -> dict[str, str | int]:
    return {name: getattr(row, name) for name in (*by, *FIGURES)}


def _table(by: Sequence[UsageKey], rows: Sequence[UsageRow]) -> str:
    figures = [[getattr(row, name) for name in FIGURES] for row in rows]
    total = [sum(column) for column in zip(*figures, strict=True)]
    lines = [
        (*(name.upper() for name in by), *HEADINGS),
        *(
            (*(one_line(getattr(row, name)) for name in by), *_shown(some))
            for row, some in zip(rows, figures, strict=True)
        ),
        *([("total", *[""] * (len(by) - 1), *_shown(total))] if len(rows) > 1 else []),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # Names to the left, figures to the right.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < len(by) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _shown(figures: Sequence[int]) -> list[str]:
    return [f"{one:,}" for one in figures]


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write it as 2026-11-30") from None


def _keys(text: str) -> tuple[UsageKey, ...]:
    named = dict.fromkeys(one.strip() for one in text.split(","))
    if unknown := [one for one in named if one not in USAGE_KEYS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(USAGE_KEYS)}")
    return tuple(one for name in named for one in USAGE_KEYS if one == name)
