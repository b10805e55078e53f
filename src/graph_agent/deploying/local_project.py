"""The project on this machine: all that can be told of a deployment without a workspace."""

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
UNCOMMITTED_SHOWN = 5

NOBODY = "YOU"
"""In place of the deployer's name in paths, before anybody has signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProject:
    """What was read; empty where it cannot be used, and its problems are noted."""

    bundle: Bundle
    sources: Sources
    app_file: AppFile
    startable: bool
    """Whether it would be worth while to start the app: nothing it needs for that is known to be missing."""


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
    """Read and check all of it. What is wrong and does not end the look is noted in `problems`. `find` looks up how
    this package is installed.

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
        say(f"warning: not committed: {_some(sources.uncommitted)}; new files are not uploaded")
    startable = bool(sources.files and app_file.command and specs and not absent)
    return LocalProject(bundle=bundle, sources=sources, app_file=app_file, startable=startable)


def _needed(folder: Path, bundle: Bundle, sources: Sources) -> Iterator[DeployRefused]:
    for needed in filter(None, (named_file(folder / bundle.source), LANGGRAPH_JSON)):
        if (Path(bundle.source) / needed).as_posix() not in sources.files:
            yield DeployRefused(f"{needed} is not among the files to upload; commit it, and do not exclude it")


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
            why = f"is left out by sync.exclude of {FILE}"
        elif spec.path.is_file():
            why = f"is not tracked by git, so it is not uploaded; run `git add {path}`"
        yield DeployRefused(f"{path}, which graph {spec.name!r} of {LANGGRAPH_JSON} is in, {why}")


def _some(names: Sequence[str]) -> str:
    more = len(names) - UNCOMMITTED_SHOWN
    return ", ".join(names[:UNCOMMITTED_SHOWN]) + (f" and {more} more" if more > 0 else "")
