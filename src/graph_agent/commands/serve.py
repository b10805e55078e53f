"""`graph-agent serve`: serve the graphs of `langgraph.json`; starts no workspace."""

import argparse

from graph_agent.commands.options import add_service_options, settings_from
from graph_agent.processes.shutdown import exit_now

MOST_WORKERS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to serve what, and in how many processes."""
    add_service_options(parser)
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that share the port")


def run(options: argparse.Namespace) -> int:
    """Run the command, and end the process."""
    # Late: the arguments are checked before anything of the service is imported.
    from graph_agent.serving.server import serve

    return exit_now(serve(settings_from(options), workers=options.workers))


def _count(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give one from 1 to {MOST_WORKERS}")
