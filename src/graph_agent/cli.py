"""The `graph-agent` command."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_agent.errors import AgentError
from graph_agent.late import without_usage_collection
from graph_agent.packaging.command import add_log_model
from graph_agent.settings import Settings
from graph_agent.stopping import INTERRUPTED, keep_watch, leave

MOST_WORKERS = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status. Ends the process itself after commands that serve."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # What follows `eval` is for the evaluation's own parser; this one would take the flags for its own.
    end = 1 if arguments[:1] == ["eval"] else len(arguments)
    options = _parser().parse_args(arguments[:end])
    options.arguments = arguments[end:]
    if argv is None:
        keep_watch()
    without_usage_collection()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status: int = options.run(options)
    except AgentError as error:
        print(f"graph-agent: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if argv is None:
            leave(INTERRUPTED)
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graph-agent", description="Serve LangGraph graphs as Responses agents.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="write a small project of your own: a graph, its test, how it is deployed")
    init.add_argument("folder", nargs="?", type=Path, default=Path("."), metavar="FOLDER", help="default: this one")
    init.set_defaults(run=_init)

    serve = commands.add_parser("serve", help="serve the graphs of langgraph.json; starts no workspace")
    _service_options(serve)
    serve.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that share the port")
    serve.set_defaults(run=_serve)

    dev = commands.add_parser("dev", help="local workspace and service, reloading edited graphs")
    _service_options(dev)
    dev.add_argument("--no-reload", action="store_true", help="keep the graphs as they were at start")
    dev.add_argument(
        "--real-workspace", action="store_true", help="use the Databricks workspace of the environment instead"
    )
    dev.add_argument("--quiet", action="store_true", help="no greeting and no tracebacks; what `ask` starts")
    dev.set_defaults(run=_dev)

    studio = commands.add_parser("studio", help="LangGraph Studio's server on the same graphs, and the local workspace")
    studio.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")
    studio.add_argument("--port", type=_port, default=2024, dest="studio_port", metavar="P", help="default: 2024")
    studio.add_argument("--no-reload", action="store_true", help="keep the graphs as they were at start")
    studio.add_argument(
        "--real-workspace", action="store_true", help="use the Databricks workspace of the environment instead"
    )
    studio.set_defaults(run=_studio)

    graph = commands.add_parser("graph", help="draw a graph; needs no network")
    graph.add_argument("name", metavar="NAME", help="a graph of langgraph.json")
    graph.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")
    graph.add_argument("--format", choices=("mermaid", "ascii", "png"), default="mermaid")
    graph.add_argument("--output", type=Path, metavar="FILE", help="where it is written; the terminal if not given")
    graph.add_argument("--xray", action="store_true", help="with what is inside of subgraphs")
    graph.set_defaults(run=_graph)

    traces = commands.add_parser("traces", help="look at the local traces in MLflow's own pages")
    traces.add_argument("--port", type=_port, default=5000, dest="traces_port", metavar="P", help="default: 5000")
    traces.set_defaults(run=_traces)

    workspace = commands.add_parser("workspace", help="the local workspace alone, for the environment's credentials")
    workspace.set_defaults(run=_workspace)

    ask = commands.add_parser("ask", help="ask one question; starts what it needs")
    ask.add_argument("question")
    ask.add_argument("--graph", metavar="NAME", help="a graph of langgraph.json; the first one if not given")
    where = ask.add_mutually_exclusive_group()
    where.add_argument("--url", help="base URL of a service that runs already")
    where.add_argument("--app", metavar="NAME", help="a deployed app, asked with OAuth")
    ask.set_defaults(run=_ask)

    index = commands.add_parser("index", help="index folders or files for the local workspace")
    index.add_argument("paths", nargs="+", metavar="PATH")
    index.add_argument("--name", metavar="NAME", help="the index, as catalog.schema.index; made if there is none")
    index.add_argument("--hidden", action="store_true", help="look into hidden folders and files too")
    index.set_defaults(run=_index)

    model = commands.add_parser("model", help="fetch and verify the local model's weights")
    model.set_defaults(run=_model)

    add_log_model(commands)

    evaluation = commands.add_parser("eval", help="judge the agent against its baseline; eval --help lists more")
    evaluation.set_defaults(run=_eval)

    deploy = commands.add_parser("deploy", help="ship the app to Databricks Apps, and roll back if it does not answer")
    deploy.add_argument("--target", metavar="NAME", help="a target of databricks.yml; its default one if not given")
    deploy.add_argument("--app", metavar="NAME", help="another name for the app, with a folder of its own")
    deploy.add_argument("--dry-run", action="store_true", help="check everything, print the plan, change nothing")
    deploy.add_argument(
        "--force",
        action="store_true",
        help="deploy although nothing changed; clear the folder of what is not the app's",
    )
    deploy.set_defaults(run=_deploy)

    doctor = commands.add_parser("doctor", help="say what is missing and how to mend it")
    doctor.add_argument("--config", type=Path, metavar="FILE")
    doctor.set_defaults(run=_doctor)
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1 to 65535")


def _count(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; give one from 1 to {MOST_WORKERS}")


def _service_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")
    parser.add_argument("--graph", metavar="NAME", help="the graph that answers when a request names none")
    parser.add_argument("--host", metavar="H", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="P", help="port to bind (default: 8000)")


def _settings(options: argparse.Namespace, **overrides: str) -> Settings:
    flags: dict[str, Any] = {name: getattr(options, name, None) for name in ("config", "graph", "host", "port")}
    return Settings.from_environment(None, **flags, **overrides)


# Each command imports what it needs when it runs: `serve` binds its port before anything heavy is loaded, and
# works without the packages of the local workspace.


def _init(options: argparse.Namespace) -> int:
    from graph_agent.commands.init import init

    for line in init(options.folder):
        print(line)
    return 0


def _serve(options: argparse.Namespace) -> int:
    from graph_agent.serving.server import serve

    status = serve(_settings(options), workers=options.workers)
    return leave(status)


def _dev(options: argparse.Namespace) -> int:
    from graph_agent.local.dev import dev

    settings = _settings(options, reload="off" if options.no_reload else "on", **_log_format())
    return leave(dev(settings, real_workspace=options.real_workspace, quiet=options.quiet))


def _log_format() -> dict[str, str]:
    """A person reads the log of `dev`, unless they ask for the other one."""
    return {} if os.environ.get("GRAPH_AGENT_LOG_FORMAT") else {"log_format": "text"}


def _studio(options: argparse.Namespace) -> int:
    from graph_agent.local.studio import studio

    return studio(
        _settings(options),
        port=options.studio_port,
        reload=not options.no_reload,
        real_workspace=options.real_workspace,
    )


def _graph(options: argparse.Namespace) -> int:
    from graph_agent.drawing import draw

    return draw(_settings(options), options.name, form=options.format, output=options.output, xray=options.xray)


def _traces(options: argparse.Namespace) -> int:
    from graph_agent.local.traces import show

    return show(_settings(options), port=options.traces_port)


def _workspace(options: argparse.Namespace) -> int:
    from graph_agent.local.dev import run_workspace

    return leave(run_workspace(_settings(options)))


def _ask(options: argparse.Namespace) -> int:
    from graph_agent.ask import ask

    return ask(options.question, graph=options.graph, url=options.url, app=options.app, settings=_settings(options))


def _index(options: argparse.Namespace) -> int:
    from graph_agent.local.dev import index

    return index(options.paths, settings=_settings(options), name=options.name, hidden=options.hidden)


def _model(options: argparse.Namespace) -> int:
    from graph_agent.local.dev import fetch

    return fetch(_settings(options))


def _eval(options: argparse.Namespace) -> int:
    from graph_agent.evaluating.command import run_and_leave

    run_and_leave(options.arguments)


def _deploy(options: argparse.Namespace) -> int:
    from graph_agent.deploying.deploy import deploy

    return deploy(
        Path.cwd(),
        environ=os.environ,
        say=lambda line: print(line, flush=True),
        target=options.target,
        app=options.app,
        dry_run=options.dry_run,
        force=options.force,
    )


def _doctor(options: argparse.Namespace) -> int:
    from graph_agent.doctor import doctor

    return doctor(_settings(options))
