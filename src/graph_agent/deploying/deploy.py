"""`graph-agent deploy`: check the project and the workspace, make a plan, and carry it out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graph_agent.databricks.apps import oauth_headers
from graph_agent.databricks.clients import workspace_client
from graph_agent.deploying.app_log import log_tail
from graph_agent.deploying.bundle import FILE, read_bundle
from graph_agent.deploying.dry_run import has_account, run_here
from graph_agent.deploying.error_text import as_deploy_refused
from graph_agent.deploying.index_requirements import index_warnings
from graph_agent.deploying.local_project import LocalProject, read_project
from graph_agent.deploying.package_dependency import Find
from graph_agent.deploying.package_wheel import Installed
from graph_agent.deploying.permissions import compare
from graph_agent.deploying.plan import make_plan
from graph_agent.deploying.platform import Platform
from graph_agent.deploying.preflight import (
    app_state,
    check_host,
    check_resources,
    deployer_name,
    notices,
    wait_until_settled,
)
from graph_agent.deploying.problems import Problems
from graph_agent.deploying.rehearsal import rehearse
from graph_agent.deploying.release import Release
from graph_agent.deploying.smoke_test import run_smoke_test
from graph_agent.deploying.store_requirements import store_warnings
from graph_agent.deploying.user_tokens import check_user_tokens
from graph_agent.deploying.waiting import Say
from graph_agent.deploying.workspace_folder import WorkspaceFolder
from graph_agent.errors import DeployFailed, DeployRefused

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Rehearse = Callable[..., float]
"""`rehearse`, which starts the app on this machine, or a replacement for it in tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """The time limits of a deployment, in seconds."""

    start: float = 120
    """For the app on this machine to become ready."""

    platform: float = 1200
    """For each step of the platform."""

    ready: float = 120
    """For the deployed app to become ready."""

    answer: float = 180
    """For the answer to the smoke test's question."""


def deploy(
    folder: Path,
    *,
    environ: Mapping[str, str],
    say: Say,
    target: str | None = None,
    app: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    waits: Waits | None = None,
    rehearse: Rehearse = rehearse,
    find: Find = Installed.here,
) -> int:
    """Deploy the bundle in `folder`. Returns the exit status, which is 1 if it failed after something was changed.

    `app` is another name for the app. `dry_run` stops after the plan. `force` deploys even if nothing changed, and
    deletes the files in the workspace folder that no deployment uploaded; it keeps copies of them. `find` looks up how
    this package is installed.

    Raises:
        DeployRefused: something must be fixed first. Nothing was changed.
        BadBundle: `databricks.yml` or `app.yaml` cannot be used.
    """
    order = _Order(folder, environ, target, app, dry_run, force, waits or Waits(), rehearse, say)
    problems = Problems()
    here = read_project(folder, target=target, app=app, environ=environ, problems=problems, say=say, find=find)
    if not dry_run:
        problems.refuse()
    try:
        client = _client()
        user = deployer_name(client)
    except DeployRefused as unknown:
        if not dry_run:
            raise
        # A failed sign-in is a problem only if credentials are configured. Without any, the user just has no account.
        if has_account():
            problems.note(unknown)
        run_here(here, problems, start=lambda: order.start(here), say=say)
        return 0
    problems.refuse()
    say(f"deploying as {user} to {client.config.host}")
    return _deployed(order, here, client, user)


@dataclass(frozen=True, slots=True)
class _Order:
    """The arguments of `deploy`."""

    folder: Path
    environ: Mapping[str, str]
    target: str | None
    app: str | None
    dry_run: bool
    force: bool
    waits: Waits
    rehearse: Rehearse
    say: Say

    def start(self, here: LocalProject) -> None:
        """Start the app on this machine."""
        self.say("starting the app on this machine")
        seconds = self.rehearse(here.sources.files, here.bundle.source, here.app_file, seconds=self.waits.start)
        self.say(f"the app was ready after {seconds:.1f} s")


def _deployed(order: _Order, here: LocalProject, client: "WorkspaceClient", user: str) -> int:
    say = order.say
    # Read it again: paths in the bundle may contain the deployer's name, which is known only now.
    bundle = read_bundle(order.folder / FILE, target=order.target, user=user, environ=order.environ, app=order.app)
    check_host(client, bundle)
    for line in notices(bundle):
        say(line)
    for line in check_resources(client, bundle):
        say(line)
    platform = Platform(client, bundle.app, wait_seconds=order.waits.platform, say=say)
    remote = WorkspaceFolder(client, root=bundle.root)
    with as_deploy_refused(f"the current state of {bundle.app} cannot be read"):
        wait_until_settled(platform, say=say, dry_run=order.dry_run)
        before = app_state(client, bundle.app)
        manifest, listed = remote.manifest(), remote.listed()
    for line in index_warnings(client, bundle, app=before.app, deployer=user):
        say(line)
    for line in check_user_tokens(bundle, here.app_file.environment, before.app):
        say(line)
    for line in store_warnings(bundle, here.app_file):
        say(line)
    plan = make_plan(
        bundle,
        here.sources,
        manifest=manifest,
        listed=listed,
        app=before.app,
        started=here.app_file.deployed,
        access=compare(bundle.permissions, before.permissions, app=before.app, deployer=user),
        force=order.force,
    )
    if plan.empty:
        say(f"nothing to deploy: {bundle.app} already runs with the same files and configuration")
        return 0
    # Before the plan is printed: an app that does not start here would not start there either.
    if plan.deploys:
        order.start(here)
    for line in plan.lines():
        say(line)
    if order.dry_run:
        say("dry run: nothing was changed")
        return 0
    release = Release(
        plan=plan,
        files=here.sources.files,
        before=before,
        manifest=manifest,
        remote=remote,
        platform=platform,
        check=lambda url: _check(client, url, order.waits),
        log=lambda url: log_tail(url, oauth_headers(client), name=bundle.app),
        deployer=user,
        say=say,
    )
    return _carried_out(release, say)


def _carried_out(release: Release, say: Say) -> int:
    try:
        if not release.plan.deploys:
            with as_deploy_refused("the permissions could not be set"):
                release.grant()
            say(f"set the permissions of {release.plan.bundle.app}")
            return 0
        app = release.carry_out()
    except DeployFailed as error:
        say(f"failed: {error.message}")
        return 1
    say(f"deployed: {app.url}")
    return 0


def _check(client: "WorkspaceClient", url: str, waits: Waits) -> str:
    answered = run_smoke_test(url, oauth_headers(client), startup_wait_seconds=waits.ready, answer_seconds=waits.answer)
    return f"the app answers: first word after {answered.first_word:.1f} s, complete after {answered.all:.1f} s"


def _client() -> "WorkspaceClient":
    try:
        return workspace_client()
    except Exception as error:
        # The SDK raises many kinds of errors while it signs in, and their messages quote the configuration it found.
        raise DeployRefused(
            "could not sign in to a workspace: set DATABRICKS_HOST and run `databricks auth login`, or set"
            " DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal"
        ) from error
