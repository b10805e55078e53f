"""`graph-agent serve`: serve the graphs of `langgraph.json`. It starts no local workspace."""

import argparse

from graph_agent.commands.options import add_service_options, settings_from
from graph_agent.processes.shutdown import exit_now

MOST_WORKERS = 64
"""The largest `--workers`. Each process loads every graph."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to serve, where, and in how many processes."""
    add_service_options(parser)
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="number of processes that share the port (default: 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command, and end the process."""
    # Late: a wrong argument must fail before the service and its packages are imported.
    from graph_agent.serving.server import serve

    return exit_now(serve(settings_from(options), workers=options.workers, schedules=True))


def _count(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes; use a number from 1 to {MOST_WORKERS}")
