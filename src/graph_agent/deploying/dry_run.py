"""A dry run of somebody who has no workspace, or is not signed in to it: all that needs none, and what does."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from graph_agent.databricks.apps import WAYS
from graph_agent.deploying.bundle import Bundle
from graph_agent.deploying.local_project import LocalProject
from graph_agent.deploying.plan import size_of
from graph_agent.deploying.preflight import described
from graph_agent.deploying.problems import Problems
from graph_agent.deploying.waiting import Say
from graph_agent.errors import AgentError, UnsetVariable

Start = Callable[[], object]
"""Starts the app on this machine."""


def has_account() -> bool:
    """Whether anything on this machine says which workspace to sign in to."""
    named = any(os.environ.get(name) for name in ("DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"))
    file = os.environ.get("DATABRICKS_CONFIG_FILE") or Path.home() / ".databrickscfg"
    return named or Path(file).is_file()


def run_here(here: LocalProject, problems: Problems, *, start: Start, say: Say) -> None:
    """List the files, start the app, and say what only a workspace can tell.

    Raises:
        AgentError: something must be mended; everything is told at once.
    """
    unset = [one for one in problems.found if isinstance(one, UnsetVariable)]
    if not has_account():
        # Their values are things of the workspace.
        problems.found[:] = [one for one in problems.found if one not in unset]
    say("not signed in to a workspace; this is what can be told without one")
    files = here.sources.files.values()
    say(f"files to upload: {len(files)}, {size_of(sum(one.size for one in files))}")
    for one in files:
        say(f"  {one.path} ({size_of(one.size)})")
    if here.startable:
        with problems.noting():
            start()
    else:
        say("the app was not started on this machine: that would fail before the rest is mended")
    problems.refuse()
    say("what only a workspace can tell; the same command does once you are signed in:")
    for line in _open_questions(here.bundle, unset):
        say(f"  {line}")
    say("dry run: nothing was changed")


def _open_questions(bundle: Bundle, unset: Sequence[AgentError]) -> Iterator[str]:
    yield f"who deploys: set DATABRICKS_HOST, and {WAYS}"
    for one in unset:
        yield one.message
    for line in described(bundle):
        yield f"whether it is there, and yours to give to an app: {line}"
    yield f"whether the app {bundle.app} exists and you may manage it, and what of it would change"
    yield "then: uploading, deploying, one question to the app, and its permissions"
