"""The `graph-agent` command: which commands there are, and how one is run."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from graph_agent.errors import AgentError
from graph_agent.lazy import without_usage_collection
from graph_agent.processes.shutdown import INTERRUPTED, exit_now, watch_signals


class Command(NamedTuple):
    """A module of this room with `add_arguments(parser)` and `run(options)`, and its line of `--help`."""

    module: str
    help: str


COMMANDS = {
    "init": Command("init", "write a small project of your own: a graph, its test, how it is deployed"),
    "serve": Command("serve", "serve the graphs of langgraph.json; starts no workspace"),
    "dev": Command("dev", "local workspace and service, reloading edited graphs"),
    "studio": Command("studio", "LangGraph Studio's server on the same graphs, and the local workspace"),
    "graph": Command("draw", "draw a graph; needs no network"),
    "traces": Command("traces", "look at the local traces in MLflow's own pages"),
    "workspace": Command("workspace", "the local workspace alone, for the environment's credentials"),
    "ask": Command("ask", "ask one question; starts what it needs"),
    "index": Command("index", "index folders or files for the local workspace"),
    "model": Command("model", "fetch and verify the local model's weights"),
    "log-model": Command("log_model", "log the graphs as an MLflow model"),
    "eval": Command("eval", "judge the agent against its baseline; eval --help lists more"),
    "deploy": Command("deploy", "ship the app to Databricks Apps, and roll back if it does not answer"),
    "doctor": Command("doctor", "say what is missing and how to fix it"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status. Ends the process itself after commands that serve."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # What follows `eval` is for the evaluation's own parser; this one would take the flags for its own.
    end = 1 if arguments[:1] == ["eval"] else len(arguments)
    options = _parser(arguments[:1]).parse_args(arguments[:end])
    options.arguments = arguments[end:]
    if argv is None:
        watch_signals()
    without_usage_collection()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status: int = options.run(options)
    except AgentError as error:
        print(f"graph-agent: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if argv is None:
            exit_now(INTERRUPTED)
        return INTERRUPTED
    return status


def _parser(named: Sequence[str]) -> argparse.ArgumentParser:
    """Every command, and the flags of the one that is `named`."""
    parser = argparse.ArgumentParser(prog="graph-agent", description="Serve LangGraph graphs as Responses agents.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.help)
        if name in named:
            # Only this one: `serve` binds its port before anything heavy is loaded, and works without the packages of
            # the local workspace.
            module = import_module(f"graph_agent.commands.{command.module}")
            module.add_arguments(one)
            one.set_defaults(run=module.run)
    return parser
