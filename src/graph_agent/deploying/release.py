"""One deployment, from the first upload to the smoke test of the deployed app, and the rollback if it fails."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from graph_agent.deploying.error_text import error_text
from graph_agent.deploying.index_requirements import indexes_of
from graph_agent.deploying.permissions import described
from graph_agent.deploying.plan import Plan, digest
from graph_agent.deploying.platform import Platform, repeat_deployment
from graph_agent.deploying.preflight import AppState
from graph_agent.deploying.sources import Source
from graph_agent.deploying.upload_manifest import UNKNOWN, UNKNOWN_START, Entry, Manifest, Undo
from graph_agent.deploying.waiting import Say
from graph_agent.deploying.workspace_folder import WorkspaceFolder
from graph_agent.errors import DeployFailed

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App, AppDeployment

Check = Callable[[str], str]
"""The smoke test. It takes the app's URL, and returns a line for the log or raises `DeployFailed`."""

Log = Callable[[str], Iterable[str]]
"""Takes the app's URL and returns the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Everything a deployment needs: the plan, the state before it, and access to the workspace."""

    plan: Plan
    files: Mapping[str, Source]
    before: AppState
    manifest: Manifest
    remote: WorkspaceFolder
    platform: Platform
    check: Check
    log: Log
    deployer: str
    say: Say

    def carry_out(self) -> "App":
        """Upload, configure, deploy, run the smoke test, and then set permissions. Returns the app afterwards.

        Raises:
            DeployFailed: a step failed. The message says which, and what runs now.
        """
        # Ctrl-C counts as a failure here, so that it leaves the app as described and not half-way.
        try:
            undo = self._upload()
        except (Exception, KeyboardInterrupt) as error:
            raise DeployFailed(
                f"{error_text(error)}; the app was not changed, and the next deployment uploads the rest"
            ) from error
        try:
            self._configure()
            deployment, app = self._put_live()
        except (Exception, KeyboardInterrupt) as error:
            raise DeployFailed(f"{error_text(error)}; {self._roll_back(undo)}") from error
        try:
            self.remote.write_manifest(Manifest(self._entries(), deployment, started=digest(self.plan.started)))
            self.remote.forget_before()
            self.grant()
        except Exception as error:
            raise DeployFailed(
                f"the app is deployed and answers, but a later step failed: {error_text(error)}; deploy again"
            ) from error
        return app

    def grant(self) -> None:
        """Set the permissions that the bundle declares, if they differ.

        It comes last: nobody new gets access to an app before it passed the smoke test.
        """
        access = self.plan.access
        if access.differs:
            self.say(f"setting permissions; removed: {described(access.removed)}")
            self.platform.grant(access.wanted, deployer=self.deployer)

    def _upload(self) -> Undo | None:
        """Bring the folder up to date. Copies of the replaced files are kept in the workspace, so that a later process
        can still roll back if this one dies half-way."""
        upload = {one.path: one.content for one in self.plan.upload}
        touched = {*upload, *self.plan.delete}
        self.remote.make_root()
        undo = self._keep(touched)
        self._keep_unmanaged()
        # Write the manifest before the files. If the upload breaks off, the next deployment knows that these files
        # are not up to date and that a deployment uploaded them.
        ahead = {**self.manifest.files, **dict.fromkeys(touched, UNKNOWN)}
        self.remote.write_manifest(Manifest(ahead, None, undo))
        numbers = count(1)

        def progress(path: str) -> None:
            self.say(f"uploaded {path} ({next(numbers)} of {len(upload)})")

        self.remote.write(upload, done=progress)
        self.remote.delete(self.plan.delete)
        if touched:
            self.remote.write_manifest(Manifest(self._entries(), None, undo))
        return undo

    def _keep(self, touched: Iterable[str]) -> Undo | None:
        active = self.before.deployment
        if active is None or active.deployment_id is None:
            return None
        last = self.manifest.undo
        if last is None or last.deployment != active.deployment_id:
            # The folder has not changed since the active deployment.
            last = Undo(active.deployment_id)
        # A file that an earlier, broken-off upload replaced already has its copy. Another would copy the new content.
        fresh = set(touched) - last.existed - last.added
        contents = self.remote.contents(fresh)
        if contents:
            self.remote.write(contents, place="before")
        return Undo(last.deployment, last.existed | set(contents), last.added | (fresh - set(contents)))

    def _keep_unmanaged(self) -> None:
        """Keep permanent copies of files that no deployment uploaded, in a folder named after the time. This project
        has no other copy of them."""
        found = self.remote.contents([*self.plan.unmanaged, *self.plan.overwrites])
        lost = {path: content for path, content in found.items() if not self._same(path, content)}
        if lost:
            place = f"removed/{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            self.remote.write(lost, place=place)
            self.say(f"copied {len(lost)} files that no deployment uploaded to {self.plan.bundle.root}/{place}")

    def _same(self, path: str, content: bytes) -> bool:
        return path in self.files and self.files[path].content == content

    def _entries(self) -> dict[str, Entry]:
        modified = self.remote.listed()
        return {path: Entry(one.sha256, one.size, modified.get(path)) for path, one in self.files.items()}

    def _configure(self) -> None:
        if self.before.app is None:
            self.say(f"creating app {self.plan.bundle.app}")
            app = self.platform.create(self.plan.bundle.declared)
            self.say(f"the app's address is {app.url}, its service principal is {app.service_principal_client_id}")
            for line in grants_to_run(app, self.plan):
                self.say(line)
            return
        if self.plan.fields:
            self.say(f"changing {', '.join(self.plan.fields)} of the app")
            self.platform.change({name: self.plan.bundle.declared[name] for name in self.plan.fields})

    def _deploy(self) -> str:
        from databricks.sdk.service.apps import AppDeployment, AppDeploymentMode

        return self.platform.deploy(
            AppDeployment.from_dict(
                {
                    "source_code_path": self.plan.bundle.source_path,
                    "mode": AppDeploymentMode.SNAPSHOT.value,
                    **self.plan.started,
                }
            )
        )

    def _put_live(self) -> tuple[str, "App"]:
        try:
            deployment = self._deploy()
            self._compare_scopes()
            app = self.platform.get()
            self.say(self.check(_address(app)))
        except Exception:
            # Before the rollback, which restarts the app and so replaces its log.
            self._say_log()
            raise
        return deployment, app

    def _say_log(self) -> None:
        try:
            for line in self.log(_address(self.platform.get())):
                self.say(line)
        except Exception as error:  # noqa: BLE001 - the log is an extra: its errors must not replace the deployment's
            self.say(f"could not read the app's log: {error_text(error)}")

    def _compare_scopes(self) -> None:
        if "user_api_scopes" not in self.plan.fields:
            return
        lacking = self.platform.scopes_lacking(self.plan.bundle.declared["user_api_scopes"] or ())
        if lacking:
            self.say(f"warning: the platform reports that users' tokens still lack {', '.join(lacking)}")

    def _roll_back(self, undo: Undo | None) -> str:
        """Restore what ran before. Returns what to report about it."""
        before, active = self.before.app, self.before.deployment
        if before is None or active is None or undo is None:
            return "there is no earlier deployment to roll back to, so the app stays as it is"
        self.say(f"rolling back to deployment {undo.deployment}")
        try:
            self._restore(before, active, undo)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - becomes part of the failure that is reported
            return f"the rollback to deployment {undo.deployment} failed too ({error_text(error)}); check the app now"
        configuration = " and the app's configuration" if self.plan.fields else ""
        return f"rolled back to deployment {undo.deployment}: its files{configuration} are restored, and it runs again"

    def _restore(self, before: "App", active: "AppDeployment", undo: Undo) -> None:
        # An interrupted deployment continues on the platform. If it went live after the restore below, it would run
        # with the restored files.
        self.platform.settle()
        contents = self.remote.contents(undo.existed, place="before")
        if len(contents) < len(undo.existed):
            raise DeployFailed("some copies of the replaced files are missing")
        changed = undo.existed | undo.added
        settled = {path: entry for path, entry in self._entries().items() if path not in changed}
        self.remote.write_manifest(Manifest(settled, None, undo))
        self.remote.write(contents)
        self.remote.delete(sorted(undo.added))
        if self.plan.fields:
            fields = before.as_dict()
            self.platform.change({name: fields.get(name) for name in self.plan.fields})
        deployment = self.platform.deploy(repeat_deployment(active))
        modified = self.remote.listed()
        restored = {
            path: Entry.of(content, modified.get(path))
            for path, content in contents.items()
            if path not in self.plan.unmanaged
        }
        self.remote.write_manifest(Manifest(settled | restored, deployment, started=self._started_before(undo)))
        self.remote.forget_before()

    def _started_before(self, undo: Undo) -> str:
        """The manifest's digest of the restored deployment's command and environment. Unknown after a broken-off
        deployment."""
        return self.manifest.started if self.manifest.deployment == undo.deployment else UNKNOWN_START


def _address(app: "App") -> str:
    return (app.url or "").rstrip("/")


def grants_to_run(app: "App", plan: Plan) -> list[str]:
    """The Unity Catalog grants that the service principal needs if the deployer could not give them."""
    principal = app.service_principal_client_id
    tables = indexes_of(plan.bundle)
    if not tables:
        return []
    lines = ["if you do not have MANAGE on the index, its schema and its catalog, ask their owners to run:"]
    for table in tables:
        catalog, schema, _ = table.split(".", 2)
        lines += [
            f"  GRANT USE CATALOG ON CATALOG `{catalog}` TO `{principal}`;",
            f"  GRANT USE SCHEMA ON SCHEMA `{catalog}`.`{schema}` TO `{principal}`;",
            f"  GRANT SELECT ON TABLE {table} TO `{principal}`;",
        ]
    return lines
