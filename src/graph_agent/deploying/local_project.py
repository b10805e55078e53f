"""The project on this machine: every check of a deployment that does not need a workspace."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graph_agent.catalog.manifest import GraphSpec, read_manifest
from graph_agent.deploying.app_file import AppFile, named_file, read_app_file
from graph_agent.deploying.bundle import FILE, Bundle, read_bundle
from graph_agent.deploying.package_dependency import Find, missing_package, with_package
from graph_agent.deploying.package_wheel import Installed
from graph_agent.deploying.problems import Problems
from graph_agent.deploying.sources import Sources, read_sources
from graph_agent.deploying.waiting import Say
from graph_agent.errors import DeployRefused

LANGGRAPH_JSON = "langgraph.json"
MOST_NAMED = 5
"""Files that a warning names. The rest are counted."""

NOBODY = "YOU"
"""A placeholder for the deployer's name in paths, before anyone has signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProject:
    """What was read. A part that cannot be used is empty, and its problems are noted."""

    bundle: Bundle
    sources: Sources
    app_file: AppFile
    startable: bool
    """Whether starting the app makes sense: nothing that it needs for that is known to be missing."""


def read_project(
    folder: Path,
    *,
    target: str | None,
    app: str | None,
    environ: Mapping[str, str],
    problems: Problems,
    say: Say,
    find: Find = Installed.here,
) -> LocalProject:
    """Read and check the whole project. Problems that do not prevent reading the rest are noted in `problems`. `find`
    looks up how this package is installed.

    Raises:
        BadBundle: `databricks.yml` cannot be read at all.
    """
    bundle = read_bundle(folder / FILE, target=target, user=NOBODY, environ=environ, app=app, note=problems.note)
    source = folder / bundle.source
    app_file, sources = AppFile((), {}, ()), Sources({}, ())
    specs: list[GraphSpec] = []
    with problems.noting():
        app_file = read_app_file(source, bundle, note=problems.note)
    with problems.noting():
        specs = read_manifest(source / LANGGRAPH_JSON)
    with problems.noting():
        sources = read_sources(folder, bundle)
    with problems.noting():
        sources = with_package(sources, bundle.source, find=find, say=say)
    absent = [*_needed(folder, bundle, sources), *_graphs(folder, specs, sources)] if sources.files else []
    lacking = missing_package(sources.files, bundle.source, app_file.command)
    for problem in [*sources.problems, *absent, *lacking]:
        problems.note(problem)
    if sources.uncommitted:
        say(f"warning: uncommitted changes are deployed too: {_some(sources.uncommitted)}")
    if sources.untracked:
        say(f"warning: not uploaded, because git does not track them: {_some(sources.untracked)}")
    startable = bool(sources.files and app_file.command and specs and not absent)
    return LocalProject(bundle=bundle, sources=sources, app_file=app_file, startable=startable)


def _needed(folder: Path, bundle: Bundle, sources: Sources) -> Iterator[DeployRefused]:
    for needed in filter(None, (named_file(folder / bundle.source), LANGGRAPH_JSON)):
        if (Path(bundle.source) / needed).as_posix() not in sources.files:
            yield DeployRefused(
                f"{needed} is not among the files to upload; add it to git, and do not list it in sync.exclude"
            )


def _graphs(folder: Path, specs: list[GraphSpec], sources: Sources) -> Iterator[DeployRefused]:
    root = folder.resolve()
    for spec in specs:
        if not spec.path.is_relative_to(root):
            yield DeployRefused(f"graph {spec.name!r} is outside the folder of {FILE}, so it is not uploaded")
            continue
        path = spec.path.relative_to(root).as_posix()
        if path in sources.files:
            continue
        why = "does not exist"
        if path in sources.tracked:
            why = f"is excluded by sync.exclude of {FILE}"
        elif spec.path.is_file():
            why = f"is not tracked by git, so it is not uploaded; run `git add {path}`"
        yield DeployRefused(f"{path}, the file of graph {spec.name!r} in {LANGGRAPH_JSON}, {why}")


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
