"""`graph-agent dev`: run the local workspace and the service, and reload graphs when they change."""

import argparse
import os
import shlex
import sys
import threading
import time
from pathlib import Path

from graph_agent.catalog.manifest import check_graph_name, read_manifest
from graph_agent.commands.options import add_service_options, add_workspace_options, settings_from
from graph_agent.errors import LocalWorkspaceError
from graph_agent.local.model_servers import Place, find_model_servers
from graph_agent.local.ports import answers, require_free_port, responds
from graph_agent.local.workspace_process import LocalWorkspace, with_local_limits
from graph_agent.processes.shutdown import exit_now
from graph_agent.settings import Settings, as_environment

NAMING_SECONDS = 2.0
"""How long a server that has the port of the service may take to say what it is."""

LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""For addresses that mean every address of the machine, the one to ask from the machine itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`, and the choice of workspace."""
    add_service_options(parser)
    add_workspace_options(parser)
    parser.add_argument("--quiet", action="store_true", help="print no greeting and no tracebacks")


def run(options: argparse.Namespace) -> int:
    """Run the command, and end the process."""
    settings = settings_from(options, reload="off" if options.no_reload else "on", **_log_format())
    return exit_now(dev(settings, real_workspace=options.real_workspace, quiet=options.quiet))


def _log_format() -> dict[str, str]:
    """Text, because a person reads the log of `dev`. `GRAPH_AGENT_LOG_FORMAT` wins."""
    return {} if os.environ.get("GRAPH_AGENT_LOG_FORMAT") else {"log_format": "text"}


def dev(settings: Settings, *, real_workspace: bool = False, quiet: bool = False) -> int:
    """Run the local workspace in a child process and the service in this one. Returns the exit status.

    `quiet` leaves out the greeting and the tracebacks. `graph-agent ask` starts it so for one question.
    """
    from graph_agent.serving.logs import configure_logging
    from graph_agent.serving.server import serve

    configure_logging(settings.log_format, tracebacks=not quiet)
    # Checked first, so that a wrong name or a taken port fails before the model is loaded, which can take a minute.
    specs = read_manifest(settings.config)
    if settings.default_graph is not None:
        check_graph_name(settings.default_graph, specs)
    _require_own_port(settings.port)
    if not real_workspace:
        settings = with_local_limits(settings, os.environ)
        if not (os.environ.get("GRAPH_AGENT_LOCAL_MODEL") or settings.model):
            # Before the weights are downloaded, which a server that runs may make needless.
            _name_model_servers()
    os.environ.update(as_environment(settings))
    if real_workspace:
        _greet(settings, quiet=quiet)
        return serve(settings, tracebacks=not quiet)
    # Of all questions, only one is asked, and its graph may need no model.
    with LocalWorkspace(settings, on_demand=quiet) as workspace:
        workspace.enter(os.environ)
        # The first question would otherwise wait seconds for this import. Now the workspace is still loading its
        # model, so the time is free. It runs in this thread and before the server starts: an import in one thread and
        # a lock in another can deadlock (`lazy`).
        import databricks_langchain  # noqa: F401

        workspace.wait()
        _greet(settings, quiet=quiet)
        return serve(settings, tracebacks=not quiet)


def _require_own_port(port: int) -> None:
    """Check that the port of the service is free. The usual one is also that of vLLM.

    Raises:
        LocalWorkspaceError: something listens there. If it is a model server, the message says how to use it.
    """
    place = Place("a model server", port)
    for server in find_model_servers([place], seconds=NAMING_SECONDS) if answers(port) else ():
        raise LocalWorkspaceError(
            f"{server}, and the service needs another port. "
            f"To use it: {server.settings} GRAPH_AGENT_PORT={port + 1} {_command()} dev"
        )
    require_free_port(port, "choose another one with --port or GRAPH_AGENT_PORT")


def _name_model_servers() -> None:
    """Say which model servers run on this machine, and how to use them instead of the built-in model.

    None is used without being asked for: a question must not go to another program only because it runs.
    """
    for server in find_model_servers():
        print(f"{server}. To use it: {server.settings} {_command()} dev", file=sys.stderr, flush=True)


def _greet(settings: Settings, *, quiet: bool) -> None:
    if quiet:
        return
    # Late: a wrong argument must fail before the service's packages are imported.
    from graph_agent.serving.built_folder import is_built
    from graph_agent.serving.page_build import BUILT as PAGE

    has_page = settings.page == "on" and is_built(PAGE)
    threading.Thread(target=_announce, args=(settings, has_page), daemon=True).start()


def _announce(settings: Settings, has_page: bool) -> None:
    address = _address(settings)
    ways = f"Open {address}/ in a browser, or" if has_page else "To ask,"
    # The port answers before the graphs are loaded and the store is open.
    while not responds(f"{address}/ready", settings.bearer_token):
        time.sleep(0.2)
    # The shell that runs the command replaces the variable. The token itself would stay on the screen.
    token = ' -H "authorization: Bearer $GRAPH_AGENT_BEARER_TOKEN"' if settings.bearer_token else ""
    # Another terminal need not have the variables of this one, and would ask whatever runs on the usual port.
    where = "" if address == _address(Settings()) else f" --url {address}"
    print(
        f"\nReady on {address}. {ways} try:\n\n"
        f"  curl -N {address}/invocations -H 'content-type: application/json'{token} "
        '-d \'{"input": "What can you help me with?", "stream": true}\'\n'
        f"  {_command()} ask 'What can you help me with?'{where}\n",
        file=sys.stderr,
        flush=True,
    )


def _address(settings: Settings) -> str:
    """Where a program on this machine reaches the service."""
    host = LOOPBACK_OF.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _command() -> str:
    """The `graph-agent` of this environment, which need not be on the path of another terminal."""
    installed = Path(sys.executable).with_name("graph-agent")
    return shlex.quote(str(installed)) if installed.is_file() else f"{shlex.quote(sys.executable)} -m graph_agent"
