"""`graph-agent dev`: the local workspace and the service, which reloads edited graphs."""

import argparse
import os
import sys
import threading
import time
from pathlib import Path

from graph_agent.catalog.manifest import check_graph_name, read_manifest
from graph_agent.commands.options import add_service_options, settings_from
from graph_agent.local.ports import answers, require_free_port
from graph_agent.local.workspace_process import LocalWorkspace, with_local_limits
from graph_agent.processes.shutdown import exit_now
from graph_agent.settings import Settings, as_environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `serve`, and which workspace is used."""
    add_service_options(parser)
    parser.add_argument("--no-reload", action="store_true", help="keep the graphs as they were at start")
    parser.add_argument(
        "--real-workspace", action="store_true", help="use the Databricks workspace of the environment instead"
    )
    parser.add_argument("--quiet", action="store_true", help="no greeting and no tracebacks; what `ask` starts")


def run(options: argparse.Namespace) -> int:
    """Run the command, and end the process."""
    settings = settings_from(options, reload="off" if options.no_reload else "on", **_log_format())
    return exit_now(dev(settings, real_workspace=options.real_workspace, quiet=options.quiet))


def _log_format() -> dict[str, str]:
    """A person reads the log of `dev`, unless they ask for the other one."""
    return {} if os.environ.get("GRAPH_AGENT_LOG_FORMAT") else {"log_format": "text"}


def dev(settings: Settings, *, real_workspace: bool = False, quiet: bool = False) -> int:
    """The local workspace in a process of its own, and the service in this one; the exit status.

    `quiet` is for whoever started it to ask one question: no greeting, and no tracebacks in its log.
    """
    from graph_agent.serving.logs import configure_logging
    from graph_agent.serving.server import serve

    configure_logging(settings.log_format, tracebacks=not quiet)
    # Before the minute that loading a model can take.
    specs = read_manifest(settings.config)
    if settings.default_graph is not None:
        check_graph_name(settings.default_graph, specs)
    require_free_port(settings.port, "set GRAPH_AGENT_PORT")
    if not real_workspace:
        settings = with_local_limits(settings, os.environ)
    os.environ.update(as_environment(settings))
    if real_workspace:
        return serve(settings, tracebacks=not quiet)
    with LocalWorkspace(settings) as workspace:
        workspace.enter(os.environ)
        # What the first question would wait ten seconds for, while the workspace loads its model. In this thread, and
        # before the server: a thread that imports beside one that locks may stop both for good (`lazy`).
        import databricks_langchain  # noqa: F401

        workspace.wait()
        if not quiet:
            threading.Thread(target=_announce, args=(settings,), daemon=True).start()
        return serve(settings, tracebacks=not quiet)


def _announce(settings: Settings) -> None:
    address = f"http://{settings.host}:{settings.port}"
    while not answers(settings.port):
        time.sleep(0.1)
    print(
        f"\nReady on {address}. Try:\n\n"
        f"  curl -N {address}/invocations -H 'content-type: application/json' "
        '-d \'{"input": "What can you help me with?", "stream": true}\'\n'
        f"  {Path(sys.executable).parent}/graph-agent ask 'What can you help me with?'\n",
        file=sys.stderr,
        flush=True,
    )
