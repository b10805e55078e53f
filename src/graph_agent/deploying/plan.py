"""The plan of a deployment: the differences between this machine and the workspace."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graph_agent.deploying.bundle import Bundle
from graph_agent.deploying.declared_checks import contains
from graph_agent.deploying.permissions import Access, described
from graph_agent.deploying.sources import Source, Sources
from graph_agent.deploying.upload_manifest import Manifest
from graph_agent.deploying.waiting import ASLEEP, compute_state
from graph_agent.errors import DeployRefused

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App

MOST_SHOWN = 20
"""Files of one kind that a plan names. The rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that the deployment will do. `fields` are the app's fields that differ from the bundle's."""

    bundle: Bundle
    creates: bool
    upload: Sequence[Source]
    delete: Sequence[str]
    unmanaged: Sequence[str]
    """Files in the folder that no deployment uploaded. They are in `delete` only with `force`."""

    overwrites: Sequence[str]
    """Files to upload that replace a file that no deployment uploaded."""

    unchanged: int
    fields: Sequence[str]
    access: Access
    """How the app's permissions differ from the bundle's."""

    deploys: bool
    """Whether the sources are deployed. False if the same ones already run."""

    starts: bool
    """Whether the app's compute is stopped."""

    started: Mapping[str, Any]
    """`command` and `env_vars` of the deployment itself."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.deploys or self.access.differs)

    def lines(self) -> Iterator[str]:
        """The plan as text for a person."""
        yield f"{'create' if self.creates else 'update'} app {self.bundle.app} (target {self.bundle.target})"
        yield f"  files in {self.bundle.files}"
        yield from _files("upload", [f"{one.path} ({size_of(one.size)})" for one in self.upload])
        yield from _files("delete", list(self.delete))
        yield f"  {self.unchanged} unchanged, {size_of(sum(one.size for one in self.upload))} to upload"
        if self.fields and not self.creates:
            yield f"  change the app's {', '.join(self.fields)}"
        if self.access.differs:
            yield f"  set permissions: {described(self.access.wanted)}"
        for one in self.access.removed:
            yield f"  remove permission: {described([one])}"
        if self.starts:
            yield "  start the app's compute"
        if self.started:
            yield f"  {' and '.join(sorted(self.started))} of the bundle's config override app.yaml"
        yield "  deploy, then ask the app one question" if self.deploys else "  the same files already run"


def make_plan(
    bundle: Bundle,
    sources: Sources,
    *,
    manifest: Manifest,
    listed: Mapping[str, int | None],
    app: "App | None",
    access: Access,
    started: Mapping[str, Any],
    force: bool = False,
) -> Plan:
    """Compare this machine with the workspace. `listed` is the folder's real content: a file that was changed or
    deleted there by hand is uploaded again.

    Raises:
        DeployRefused: the folder has files that no deployment uploaded, and `force` is false.
    """
    upload = [one for one in sources.files.values() if not _there(one, manifest, listed)]
    gone = set(listed) - set(sources.files)
    unmanaged = sorted(gone - manifest.own)
    delete = sorted(gone if force else gone & manifest.own)
    if unmanaged and not force:
        raise DeployRefused(
            f"{bundle.files} has files that no deployment uploaded: {_some(unmanaged)}; move them elsewhere, set"
            " another root_path, or deploy with --force, which deletes them and keeps copies"
        )
    differing = [name for name, value in bundle.declared.items() if not _is(app, name, value)]
    # A stopping app will be stopped by the time of the deployment.
    starts = app is not None and compute_state(app) in (*ASLEEP, "STOPPING")
    return Plan(
        bundle=bundle,
        creates=app is None,
        upload=upload,
        delete=delete,
        unmanaged=unmanaged,
        overwrites=[one.path for one in upload if one.path in listed and one.path not in manifest.own],
        unchanged=len(sources.files) - len(upload),
        fields=differing,
        access=access,
        deploys=bool(force or upload or delete or differing or starts or not _runs(app, manifest, started)),
        starts=starts,
        started=started,
    )


def _there(source: Source, manifest: Manifest, listed: Mapping[str, int | None]) -> bool:
    entry = manifest.files.get(source.path)
    return (
        entry is not None
        and entry.sha256 == source.sha256
        and source.path in listed
        # A change by hand shows in the modification time, so nothing has to be downloaded to find it.
        and entry.modified == listed[source.path]
    )


def digest(started: Mapping[str, Any]) -> str:
    """The digest of a deployment's command and environment, which the manifest stores."""
    return hashlib.sha256(json.dumps(started, sort_keys=True).encode()).hexdigest() if started else ""


def _runs(app: "App | None", manifest: Manifest, started: Mapping[str, Any]) -> bool:
    """Whether the deployment that passed the smoke test still runs now, with the same command and environment."""
    if manifest.started != digest(started):
        return False
    if app is None or app.active_deployment is None or manifest.deployment is None:
        return False
    running = (
        app.app_status is not None and app.app_status.state is not None and app.app_status.state.value == "RUNNING"
    )
    return running and app.active_deployment.deployment_id == manifest.deployment


def _is(app: "App | None", name: str, value: Any) -> bool:
    return app is not None and contains(app.as_dict().get(name), value)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_SHOWN
    return ", ".join(names[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _files(verb: str, names: Sequence[str]) -> Iterator[str]:
    for name in names[:MOST_SHOWN]:
        yield f"  {verb} {name}"
    if len(names) > MOST_SHOWN:
        yield f"  {verb} {len(names) - MOST_SHOWN} more"


def size_of(size: int) -> str:
    """A number of bytes as text for a person."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
