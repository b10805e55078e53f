"""`graph-agent doctor`: check the setup and print how to fix it."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from graph_agent.app_context import AppContext
from graph_agent.catalog.manifest import read_manifest
from graph_agent.commands.check import Check
from graph_agent.commands.machine_checks import machine
from graph_agent.commands.options import add_config, settings_from
from graph_agent.commands.port_checks import ports
from graph_agent.commands.store_checks import store
from graph_agent.commands.workspace_checks import databricks
from graph_agent.errors import AgentError
from graph_agent.local.packages import INSTALL, knows_other_languages, missing_packages
from graph_agent.settings import Settings

NEEDED_BYTES = 3 * 1024**3
"""Free disk space that the weights and indexes of the local workspace need."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the list of graphs."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return doctor(settings_from(options))


def doctor(settings: Settings) -> int:
    """Run and print every check. The exit status is 1 if something needs fixing."""
    # A deployed app has no local workspace, and Databricks Apps chooses its port.
    looks = EVERYWHERE if os.environ.get("DATABRICKS_APP_NAME") else EVERYWHERE + ON_A_LAPTOP
    with AppContext(settings).entered():
        checks = [check for look in looks for check in look(settings)]
    for check in checks:
        print(f"{'ok  ' if check.ok else 'FIX '} {check.what}")
        if not check.ok:
            print(f"     -> {check.fix}")
    return 0 if all(check.ok for check in checks) else 1


def _python(settings: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(sys.version_info >= (3, 11), f"Python {version}", "install Python 3.11 or later")


def _graphs(settings: Settings) -> Iterator[Check]:
    # Late: imports LangGraph, which takes seconds.
    import asyncio

    from graph_agent.catalog.catalog import Catalog

    try:
        catalog = Catalog(read_manifest(settings.config), default=settings.default_graph)
        asyncio.run(catalog.open())
    except AgentError as error:
        yield Check(False, f"graphs of {settings.config}", error.message)
    else:
        yield Check(True, f"graphs of {settings.config}: {', '.join(catalog.names)}")


def _workspace(settings: Settings) -> Iterator[Check]:
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        yield Check(True, f"Databricks workspace of the environment: {host} (`dev` still uses the local one)")
        return
    missing = missing_packages()
    yield Check(
        not missing,
        f"packages of the local workspace{': missing ' + ', '.join(missing) if missing else ''}",
        INSTALL,
    )


def _weights(settings: Settings) -> Iterator[Check]:
    from graph_agent.local.weights.fetch import is_verified
    from graph_agent.local.weights.known_weights import MINILM, MINILM_TOKENIZER, MULTILINGUAL, WEIGHTS

    known = WEIGHTS.get(settings.local_model)
    if known is None:
        there = settings.local_model.startswith("http") or Path(settings.local_model).expanduser().is_file()
        yield Check(
            there, f"local model {settings.local_model}", "set GRAPH_AGENT_LOCAL_MODEL to a known name, a file or a URL"
        )
        return
    # With a workspace, only `graph-agent dev` needs them, and it downloads them.
    elsewhere = bool(os.environ.get("DATABRICKS_HOST"))
    for asset in (known, MINILM, MINILM_TOKENIZER):
        there = is_verified(settings.cache_dir / asset.file_name, asset)
        yield Check(
            there or elsewhere,
            f"{asset.file_name} is {'' if there else 'not '}downloaded and verified"
            f"{' (only `graph-agent dev` needs it, and downloads it)' if elsewhere and not there else ''}",
            "run `graph-agent model`; `graph-agent dev` downloads it too",
        )
    # Search works without it, and it is of no use without its package.
    if knows_other_languages():
        there = is_verified(settings.cache_dir / MULTILINGUAL.file_name, MULTILINGUAL)
        without = "not downloaded: questions in other languages are searched by their words only"
        yield Check(True, f"{MULTILINGUAL.file_name} is {'downloaded and verified' if there else without}")


def _disk(settings: Settings) -> Iterator[Check]:
    folder = settings.cache_dir
    # The cache folder may not exist yet. Its nearest existing parent is on the same disk.
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Check(
        free > NEEDED_BYTES,
        f"{free / 1024**3:.0f} GB free for {settings.cache_dir}",
        "free 3 GB, or set GRAPH_AGENT_CACHE_DIR to a folder on a larger disk",
    )


EVERYWHERE: tuple[Callable[[Settings], Iterator[Check]], ...] = (_python, _graphs, databricks, store)
ON_A_LAPTOP: tuple[Callable[[Settings], Iterator[Check]], ...] = (_workspace, _weights, machine, ports, _disk)
