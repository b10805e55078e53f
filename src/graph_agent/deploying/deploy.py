"""`graph-agent deploy`: look, plan, and carry the plan out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graph_agent.catalog import read_manifest
from graph_agent.databricks.apps import oauth_headers
from graph_agent.databricks.clients import workspace_client
from graph_agent.deploying.app_file import AppFile, named_file, read_app_file
from graph_agent.deploying.app_log import log_tail
from graph_agent.deploying.bundle import FILE, Bundle, read_bundle
from graph_agent.deploying.permissions import compare
from graph_agent.deploying.plan import make_plan
from graph_agent.deploying.platform import Platform
from graph_agent.deploying.preflight import check_host, check_resources, settled, standing_app, who_deploys
from graph_agent.deploying.rehearsal import rehearse
from graph_agent.deploying.release import Release
from graph_agent.deploying.remote import Remote
from graph_agent.deploying.smoke import ask_once
from graph_agent.deploying.sources import Sources, read_sources
from graph_agent.deploying.telling import refusing
from graph_agent.deploying.user_tokens import check_user_tokens
from graph_agent.deploying.waiting import Say
from graph_agent.errors import DeployFailed, DeployRefused

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

LANGGRAPH_JSON = "langgraph.json"
UNCOMMITTED_SHOWN = 5

Rehearse = Callable[..., float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a deployment waits for what, in seconds."""

    start: float = 120
    """For the app on this machine to be ready."""

    platform: float = 1200
    """For each step of the platform."""

    ready: float = 120
    """For the deployed app to be ready."""

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
) -> int:
    """Deploy the bundle in `folder`; the exit status, 1 when it failed after something was changed.

    `app` is another name for the app, `dry_run` stops after the plan, `force` deploys although nothing changed and
    clears the folder of files that no deployment put there, of which copies are kept.

    Raises:
        DeployRefused: something must be mended first; nothing was changed.
        BadBundle: `databricks.yml` or `app.yaml` cannot be used.
    """
    waits = waits or Waits()
    # Once without a name, so that a broken bundle is told before anything is called.
    read_bundle(folder / FILE, target=target, user="nobody", environ=environ, app=app)
    client = _client()
    user = who_deploys(client)
    say(f"deploying as {user} to {client.config.host}")
    bundle = read_bundle(folder / FILE, target=target, user=user, environ=environ, app=app)
    check_host(client, bundle)
    if bundle.ignored:
        say(f"warning: {', '.join(bundle.ignored)} of the bundle are not deployed by this, but by the Databricks CLI")
    if bundle.permissions is None:
        say("the bundle names no permissions, so those of the app are left alone")
    sources, app_file = _local(folder, bundle, say)
    for line in check_resources(client, bundle):
        say(f"found {line}")
    remote = Remote(client, root=bundle.root)
    platform = Platform(client, bundle.app, wait_seconds=waits.platform, say=say)
    with refusing(f"what {bundle.app} is like now cannot be read"):
        settled(platform, say=say, dry_run=dry_run)
        standing = standing_app(client, bundle.app)
        manifest, listed = remote.manifest(), remote.listed()
    for line in check_user_tokens(bundle, app_file.environment, standing.app):
        say(line)
    plan = make_plan(
        bundle,
        sources,
        manifest=manifest,
        listed=listed,
        app=standing.app,
        started=app_file.deployed,
        access=compare(bundle.permissions, standing.permissions, app=standing.app, deployer=user),
        force=force,
    )
    if plan.empty:
        say(f"nothing to deploy: {bundle.app} runs with the same files and the same configuration")
        return 0
    if plan.deploys:
        say("starting the app on this machine")
        seconds = rehearse(sources.files, bundle.source, app_file, seconds=waits.start)
        say(f"it was ready after {seconds:.1f} s")
    for line in plan.lines():
        say(line)
    if dry_run:
        say("dry run: nothing was changed")
        return 0
    release = Release(
        plan=plan,
        files=sources.files,
        before=standing,
        manifest=manifest,
        remote=remote,
        platform=platform,
        check=lambda url: _check(client, url, waits),
        log=lambda url: log_tail(url, oauth_headers(client), name=bundle.app),
        deployer=user,
        say=say,
    )
    return _carried_out(release, say)


def _carried_out(release: Release, say: Say) -> int:
    try:
        if not release.plan.deploys:
            with refusing("the permissions were not set"):
                release.grant()
            say(f"permissions of {release.plan.bundle.app} are set")
            return 0
        app = release.carry_out()
    except DeployFailed as error:
        say(f"failed: {error.message}")
        return 1
    say(f"deployed: {app.url}")
    return 0


def _check(client: "WorkspaceClient", url: str, waits: Waits) -> str:
    answered = ask_once(url, oauth_headers(client), ready_seconds=waits.ready, answer_seconds=waits.answer)
    return f"the app answers: first word after {answered.first_word:.1f} s, all after {answered.all:.1f} s"


def _client() -> "WorkspaceClient":
    try:
        return workspace_client()
    except Exception as error:
        # The SDK's message quotes the configuration it found.
        raise DeployRefused(
            "no workspace could be signed in to: set DATABRICKS_HOST and run `databricks auth login`, or set"
            " DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal"
        ) from error


def _local(folder: Path, bundle: Bundle, say: Say) -> tuple[Sources, AppFile]:
    """What can be checked without a workspace."""
    source = folder / bundle.source
    app_file = read_app_file(source, bundle)
    read_manifest(source / LANGGRAPH_JSON)
    sources = read_sources(folder, bundle)
    for needed in filter(None, (named_file(source), LANGGRAPH_JSON)):
        if (Path(bundle.source) / needed).as_posix() not in sources.files:
            raise DeployRefused(f"{needed} is not among the files to upload; commit it, and do not exclude it")
    if sources.uncommitted:
        shown = ", ".join(sources.uncommitted[:UNCOMMITTED_SHOWN])
        more = len(sources.uncommitted) - UNCOMMITTED_SHOWN
        say(f"warning: not committed: {shown}{f' and {more} more' if more > 0 else ''}; new files are not uploaded")
    return sources, app_file
