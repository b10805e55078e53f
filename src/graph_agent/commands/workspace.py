"""`graph-agent workspace`: serve the Databricks REST routes on loopback, with a local model and local indexes."""

import argparse
import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from graph_agent.commands.options import settings_from
from graph_agent.local.packages import demand_packages
from graph_agent.local.ports import require_free_port
from graph_agent.processes.shutdown import exit_now
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.local.rest.access import Credentials


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add when the model is loaded. The settings and credentials come from the environment."""
    parser.add_argument("--on-demand", action="store_true", help="load the model when it is first asked")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return exit_now(run_workspace(settings_from(options), on_demand=options.on_demand))


def run_workspace(settings: Settings, *, on_demand: bool = False) -> int:
    """Download and index what is missing, then serve the Databricks REST routes on loopback until a signal stops it.

    With `on_demand`, the model is loaded when it is first asked.
    """
    demand_packages()
    # Before the model is loaded, which can take a minute.
    require_free_port(settings.workspace_port, "set GRAPH_AGENT_WORKSPACE_PORT")
    import uvicorn

    from graph_agent.local import preparation
    from graph_agent.local.index.local_indexes import LocalIndexes
    from graph_agent.local.rest.access import Credentials
    from graph_agent.local.rest.workspace import create_workspace

    credentials = _credentials(Credentials.generate())
    embedder = preparation.embedder(settings)
    languages = preparation.other_languages(settings, embedder)
    backend = preparation.chat_backend(settings, on_demand=on_demand)
    preparation.index_documentation(settings, embedder, languages)
    project = preparation.project(settings)
    with closing(LocalIndexes(settings.cache_dir, embedder, project=project, languages=languages)) as indexes:
        app = create_workspace(backend, indexes, embedder=embedder, credentials=credentials)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=settings.workspace_port, log_level="warning", timeout_graceful_shutdown=2
        )
        uvicorn.Server(config).run()
    return 0


def _credentials(fresh: "Credentials") -> "Credentials":
    """The credentials of the environment, which a parent process chose. Without them, print fresh ones for the user."""
    client_id, secret = os.environ.get("DATABRICKS_CLIENT_ID"), os.environ.get("DATABRICKS_CLIENT_SECRET")
    if client_id and secret:
        return replace(fresh, client_id=client_id, client_secret=secret)
    print(f"export DATABRICKS_CLIENT_ID={fresh.client_id} DATABRICKS_CLIENT_SECRET={fresh.client_secret}", flush=True)
    return fresh
