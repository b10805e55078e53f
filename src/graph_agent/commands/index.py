"""`graph-agent index`: index folders or files for the local workspace."""

import argparse
from collections.abc import Sequence

from graph_agent.commands.options import settings_from
from graph_agent.errors import LocalWorkspaceError
from graph_agent.local.packages import demand_packages
from graph_agent.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Paths, the index, and whether hidden files count."""
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--name", metavar="NAME", help="the index, as catalog.schema.index; made if there is none")
    parser.add_argument("--hidden", action="store_true", help="look into hidden folders and files too")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return index(options.paths, settings=settings_from(options), name=options.name, hidden=options.hidden)


def index(paths: Sequence[str], *, settings: Settings, name: str | None = None, hidden: bool = False) -> int:
    """Index files and folders under a name; the exit status, 1 when nothing could be indexed.

    Raises:
        LocalWorkspaceError: a path or the name is none.
    """
    if not all(paths):
        raise LocalWorkspaceError("an empty path stands for the whole current folder; write . to index that")
    demand_packages()
    from graph_agent.local import preparation
    from graph_agent.local.index.local_indexes import checked_name

    name = checked_name(preparation.own_index(settings) if name is None else name)
    embedder = preparation.embedder(settings)
    report = preparation.index_documents(paths, settings=settings, embedder=embedder, name=name, hidden=hidden)
    if not (report.added or report.changed or report.unchanged or report.removed):
        return 1
    where = "" if name == settings.index else f", or with GRAPH_AGENT_INDEX={name} by every graph that names none"
    preparation.console.print(f'search it with DocumentSearch(index="{name}"){where}', soft_wrap=True)
    return 0
