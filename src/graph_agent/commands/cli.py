"""The `graph-agent` command: the table of commands, and the code that runs one."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from graph_agent.commands.closed_output import outlive_readers
from graph_agent.errors import AgentError
from graph_agent.lazy import collect_garbage_less_often, keep_mlflow_offline
from graph_agent.processes.shutdown import INTERRUPTED, exit_now, watch_signals


class Command(NamedTuple):
    """The module of a command, with `add_arguments(parser)` and `run(options)`, and its line in `--help`."""

    module: str
    help: str


COMMANDS = {
    "init": Command("init", "create a new project: a graph, its test, and its deployment files"),
    "dev": Command("dev", "run the service with a local model; reload edited graphs"),
    "ask": Command("ask", "ask one question; starts the service if it is not running"),
    "serve": Command("serve", "run the service only, as in production"),
    "studio": Command("studio", "run LangGraph Studio's server on the same graphs"),
    "graph": Command("draw", "draw a graph as text or as a picture"),
    "traces": Command("traces", "show the local traces in MLflow's web pages"),
    "index": Command("index", "index your own files for the local workspace"),
    "model": Command("model", "download and verify the local model"),
    "workspace": Command("workspace", "run the local workspace only, without the service"),
    "eval": Command("eval", "score the agent and compare it with its baseline"),
    "load": Command("load", "measure how a served agent bears many users at a time"),
    "log-model": Command("log_model", "log the graphs as an MLflow model"),
    "schedule": Command("schedule", "check the file of schedules and list their next times"),
    "usage": Command("usage", "show who has used how many tokens, by graph and model"),
    "deploy": Command("deploy", "deploy to Databricks Apps; roll back if the app does not answer"),
    "discover": Command("discover", "list what of the workspace an agent could use"),
    "grant-store": Command("grant_store", "grant a deployed app what it needs in the store's database"),
    "doctor": Command("doctor", "check the setup and print how to fix it"),
}
"""In the order of `--help`: first what a new user needs, last what a release needs."""

WRONG_USAGE = 2
"""The exit status of argparse for wrong usage. Errors that the user can fix have it too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status. Commands that serve end the process themselves.

    Without arguments it prints the list of commands.
    """
    if argv is None:
        # First, because the parser imports the command. The process of a caller that passes `argv` is not ours.
        collect_garbage_less_often()
        outlive_readers()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        _parser(()).print_help(sys.stderr)
        return WRONG_USAGE
    # Arguments after `eval` go to the evaluation's own parser. This parser would reject flags that it does not know.
    end = 1 if arguments[:1] == ["eval"] else len(arguments)
    options = _parser(arguments[:1]).parse_args(arguments[:end])
    options.arguments = arguments[end:]
    # A caller that passes `argv`, such as a test, keeps its own signal handlers.
    if argv is None:
        watch_signals()
    keep_mlflow_offline()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status: int = options.run(options)
    except AgentError as error:
        print(f"graph-agent: {error.message}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        if argv is None:
            exit_now(INTERRUPTED)
        return INTERRUPTED
    return status


class Version(argparse.Action):
    """Prints the version. argparse's own action gets it as a text, which every command would look up."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *given: object) -> NoReturn:
        """Print it and exit."""
        # Late: only here is it needed.
        from importlib.metadata import version

        print(f"graph-agent {version('graph-agent')}")
        parser.exit()


def _parser(named: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with every command, and with the flags of the command that is `named`."""
    parser = argparse.ArgumentParser(
        prog="graph-agent",
        # Not argparse's own list of commands, which breaks lines after long names.
        description="\n".join(["Serve LangGraph graphs as Responses agents.", "", "commands:", *_listed()]),
        epilog="Run graph-agent COMMAND --help for the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help="one of the commands above")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, description=f"{command.help[0].upper()}{command.help[1:]}.")
        if name in named:
            # Import only the named command. `serve` must bind its port before anything heavy is loaded, and must work
            # without the packages of the local workspace.
            module = import_module(f"graph_agent.commands.{command.module}")
            module.add_arguments(one)
            one.set_defaults(run=module.run)
    return parser


def _listed() -> Iterator[str]:
    width = max(map(len, COMMANDS))
    for name, command in COMMANDS.items():
        yield f"  {name:<{width}}  {command.help}"
