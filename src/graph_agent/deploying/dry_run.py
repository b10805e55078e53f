"""A dry run without a workspace, or without signing in to one: every check that works on this machine alone."""

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
"""Starts the app on this machine, or raises an `AgentError`."""


def has_account() -> bool:
    """Whether the environment or a configuration file names a workspace to sign in to."""
    named = any(os.environ.get(name) for name in ("DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"))
    file = os.environ.get("DATABRICKS_CONFIG_FILE") or Path.home() / ".databrickscfg"
    return named or Path(file).is_file()


def run_here(here: LocalProject, problems: Problems, *, start: Start, say: Say) -> None:
    """List the files, start the app, and list what only a workspace can check.

    Raises:
        AgentError: something must be fixed. One error lists every problem.
    """
    unset = [one for one in problems.found if isinstance(one, UnsetVariable)]
    if not has_account():
        # The values of these variables come from a workspace, so a user without an account cannot set them yet.
        problems.found[:] = [one for one in problems.found if one not in unset]
    say("not signed in to a workspace; running the checks that do not need one")
    files = here.sources.files.values()
    say(f"files to upload: {len(files)}, {size_of(sum(one.size for one in files))}")
    for one in files:
        say(f"  {one.path} ({size_of(one.size)})")
    if here.startable:
        with problems.noting():
            start()
    else:
        say("the app was not started on this machine, because it would fail until the problems below are fixed")
    problems.refuse()
    say("not checked, because it needs a workspace; sign in and run the same command again:")
    for line in _open_questions(here.bundle, unset):
        say(f"  {line}")
    say("dry run: nothing was changed")


def _open_questions(bundle: Bundle, unset: Sequence[AgentError]) -> Iterator[str]:
    yield f"your identity: set DATABRICKS_HOST, and {WAYS}"
    for one in unset:
        yield one.message
    for line in described(bundle):
        yield f"that it exists, and that you may grant it to an app: {line}"
    yield f"that you may manage the app {bundle.app} if it exists, and what would change"
    yield "the upload, the deployment, one question to the app, and its permissions"
