"""`graph-agent index`: index folders or files for the local workspace."""

import argparse
from collections.abc import Sequence

from graph_agent.commands.options import settings_from
from graph_agent.errors import LocalWorkspaceError
from graph_agent.local.packages import demand_packages
from graph_agent.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the paths, the index, and whether to include hidden files."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder to index")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="index to write, as catalog.schema.index; created if it does not exist (default: one for this project)",
    )
    parser.add_argument("--hidden", action="store_true", help="include hidden files and folders")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return index(options.paths, settings=settings_from(options), name=options.name, hidden=options.hidden)


def index(paths: Sequence[str], *, settings: Settings, name: str | None = None, hidden: bool = False) -> int:
    """Index files and folders under a name. Returns the exit status, which is 1 if nothing could be indexed.

    Raises:
        LocalWorkspaceError: a path does not exist or is empty, or the name is not an index name.
    """
    # `graph-agent index "$UNSET"` would index the whole current folder without anyone asking for it.
    if not all(paths):
        raise LocalWorkspaceError("a path is empty; to index the current folder, write .")
    demand_packages()
    from graph_agent.local import preparation
    from graph_agent.local.index.local_indexes import checked_name

    name = checked_name(preparation.own_index(settings) if name is None else name)
    embedder = preparation.embedder(settings)
    languages = preparation.other_languages(settings, embedder)
    report = preparation.index_documents(
        paths, settings=settings, embedder=embedder, name=name, hidden=hidden, languages=languages
    )
    if not (report.added or report.changed or report.unchanged or report.removed):
        return 1
    where = "" if name == settings.index else f", or set GRAPH_AGENT_INDEX={name} for every graph that names no index"
    preparation.console.print(f'search it with DocumentSearch(index="{name}"){where}', soft_wrap=True)
    return 0
