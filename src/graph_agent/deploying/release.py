"""One deployment, from the first upload to the answer of the deployed app, and the way back when it fails."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from graph_agent.deploying.error_text import error_text
from graph_agent.deploying.index_requirements import indexes_of
from graph_agent.deploying.permissions import described
from graph_agent.deploying.plan import Plan, digest
from graph_agent.deploying.platform import Platform, repeat_deployment
from graph_agent.deploying.preflight import Standing
from graph_agent.deploying.sources import Source
from graph_agent.deploying.upload_manifest import UNKNOWN, UNKNOWN_START, Entry, Manifest, Undo
from graph_agent.deploying.waiting import Say
from graph_agent.deploying.workspace_folder import WorkspaceFolder
from graph_agent.errors import DeployFailed

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App, AppDeployment

Check = Callable[[str], str]
"""The smoke test: given the app's URL it returns a line for the log, or raises `DeployFailed`."""

Log = Callable[[str], Iterable[str]]
"""Given the app's URL, the lines that tell the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a deployment needs: the plan, the state before, and the doors to the workspace."""

    plan: Plan
    files: Mapping[str, Source]
    before: Standing
    manifest: Manifest
    remote: WorkspaceFolder
    platform: Platform
    check: Check
    log: Log
    deployer: str
    say: Say

    def carry_out(self) -> "App":
        """Upload, configure, deploy, ask, and then set permissions; the app as it is afterwards.

        Raises:
            DeployFailed: something failed; the message says what, and what runs now.
        """
        try:
            undo = self._upload()
        except (Exception, KeyboardInterrupt) as error:
            raise DeployFailed(
                f"{error_text(error)}; the app was not touched, and the next deploy uploads the rest"
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
                f"the app is deployed and answers, but afterwards {error_text(error)}; deploy again"
            ) from error
        return app

    def grant(self) -> None:
        """Set the permissions the bundle declares, where they differ: only once the app is seen to work."""
        access = self.plan.access
        if access.differs:
            self.say(f"setting permissions; taken away: {described(access.removed)}")
            self.platform.grant(access.wanted, deployer=self.deployer)

    def _upload(self) -> Undo | None:
        """Bring the folder up to date. The contents it replaces are kept aside in the workspace, so that a later
        process can still go back when this one dies half-way."""
        upload = {one.path: one.content for one in self.plan.upload}
        touched = {*upload, *self.plan.delete}
        self.remote.make_root()
        undo = self._keep(touched)
        self._keep_strangers()
        ahead = {**self.manifest.files, **dict.fromkeys(touched, UNKNOWN)}
        self.remote.write_manifest(Manifest(ahead, None, undo))
        done: list[str] = []

        def progress(path: str) -> None:
            done.append(path)
            self.say(f"uploaded {path} ({len(done)} of {len(upload)})")

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
            # The folder is as the active deployment found it.
            last = Undo(active.deployment_id)
        fresh = set(touched) - last.existed - last.added
        contents = self.remote.contents(fresh)
        if contents:
            self.remote.write(contents, place="before")
        return Undo(last.deployment, last.existed | set(contents), last.added | (fresh - set(contents)))

    def _keep_strangers(self) -> None:
        """For good, and under the time: nobody but their owners can bring these back."""
        found = self.remote.contents([*self.plan.strangers, *self.plan.overwrites])
        lost = {path: content for path, content in found.items() if not self._same(path, content)}
        if lost:
            place = f"removed/{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            self.remote.write(lost, place=place)
            self.say(f"copies of what no deployment put there, {len(lost)} files: {self.plan.bundle.root}/{place}")

    def _same(self, path: str, content: bytes) -> bool:
        return path in self.files and self.files[path].content == content

    def _entries(self) -> dict[str, Entry]:
        modified = self.remote.listed()
        return {path: Entry(one.sha256, one.size, modified.get(path)) for path, one in self.files.items()}

    def _configure(self) -> None:
        if self.before.app is None:
            self.say(f"creating app {self.plan.bundle.app}")
            app = self.platform.create(self.plan.bundle.declared)
            self.say(f"its address is {app.url}; its service principal is {app.service_principal_client_id}")
            for line in grants_to_run(app, self.plan):
                self.say(line)
            return
        if self.plan.fields:
            self.say(f"changing the app's {', '.join(self.plan.fields)}")
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
            self._say_log()
            raise
        return deployment, app

    def _say_log(self) -> None:
        try:
            for line in self.log(_address(self.platform.get())):
                self.say(line)
        except Exception as error:
            self.say(f"the app's log was not looked at: {error_text(error)}")

    def _compare_scopes(self) -> None:
        if "user_api_scopes" not in self.plan.fields:
            return
        lacking = self.platform.scopes_lacking(self.plan.bundle.declared["user_api_scopes"] or ())
        if lacking:
            self.say(f"warning: the platform says that users' tokens still lack {', '.join(lacking)}")

    def _roll_back(self, undo: Undo | None) -> str:
        """Bring back what ran before; what to say of it."""
        before, active = self.before.app, self.before.deployment
        if before is None or active is None or undo is None:
            return "there is no deployment before it to roll back to, so the app is left as it is"
        self.say(f"rolling back to deployment {undo.deployment}")
        try:
            self._restore(before, active, undo)
        except (Exception, KeyboardInterrupt) as error:
            return f"rolling back to deployment {undo.deployment} failed too ({error_text(error)}); look at the app now"
        configuration = " and the app's configuration" if self.plan.fields else ""
        return f"rolled back to deployment {undo.deployment}: its files{configuration} are restored, and it runs again"

    def _restore(self, before: "App", active: "AppDeployment", undo: Undo) -> None:
        # One that was interrupted goes on, and would go live after all, with the files and fields restored below it.
        self.platform.settle()
        contents = self.remote.contents(undo.existed, place="before")
        if len(contents) < len(undo.existed):
            raise DeployFailed("files kept aside are gone")
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
            if path not in self.plan.strangers
        }
        self.remote.write_manifest(Manifest(settled | restored, deployment, started=self._started_before(undo)))
        self.remote.forget_before()

    def _started_before(self, undo: Undo) -> str:
        """How the deployment that was restored is started, as the manifest keeps it; unknown after a broken-off one."""
        return self.manifest.started if self.manifest.deployment == undo.deployment else UNKNOWN_START


def _address(app: "App") -> str:
    return (app.url or "").rstrip("/")


def grants_to_run(app: "App", plan: Plan) -> list[str]:
    """The Unity Catalog grants the service principal needs where the deployer could not give them."""
    principal = app.service_principal_client_id
    tables = indexes_of(plan.bundle)
    if not tables:
        return []
    lines = ["unless you may MANAGE the index, its schema and its catalog, have their owners run:"]
    for table in tables:
        catalog, schema, _ = table.split(".", 2)
        lines += [
            f"  GRANT USE CATALOG ON CATALOG `{catalog}` TO `{principal}`;",
            f"  GRANT USE SCHEMA ON SCHEMA `{catalog}`.`{schema}` TO `{principal}`;",
            f"  GRANT SELECT ON TABLE {table} TO `{principal}`;",
        ]
    return lines
