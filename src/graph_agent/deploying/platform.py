"""The app on the platform: created, changed, started, deployed, each waited for with a line of progress."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from graph_agent.deploying.error_text import safe_line
from graph_agent.deploying.waiting import (
    ASLEEP,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Answer,
    Say,
    call_when_free,
    compute_state,
    pending_work,
    wait_for,
)
from graph_agent.errors import DeployFailed

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.apps import App, AppDeployment

SCOPE_SECONDS = 60
"""For what users' tokens may do to be as the app says, after its start."""

RESTARTED = ("user_api_scopes", "forward_user_access_token")
"""The fields of an app that take effect when its compute is stopped and started."""


class Platform:
    """One app. `wait_seconds` bounds each wait for the platform."""

    def __init__(self, client: "WorkspaceClient", name: str, *, wait_seconds: float, say: Say) -> None:
        self._client = client
        self._name = name
        self._seconds = wait_seconds
        self._say = say

    def get(self) -> "App":
        """The app as it is now."""
        return self._client.apps.get(self._name)

    def settle(self) -> None:
        """Wait until the platform is at nothing: its compute is in no passing state, and no deployment under way.

        Raises:
            DeployFailed: it still is, after the time each step has.
        """
        wait_for(lambda: pending_work(self.get()), seconds=self._seconds, say=self._say)

    def create(self, declared: Mapping[str, Any]) -> "App":
        """Make the app and wait for its compute."""
        from databricks.sdk.service.apps import App

        app = App.from_dict({"name": self._name, **declared})
        self._patiently(lambda: self._client.apps.create(app))
        self.settle()
        return self.get()

    def change(self, fields: Mapping[str, Any]) -> None:
        """Change these fields of the app and no others; one that is `None` is cleared.

        Raises:
            DeployFailed: the platform says that it did not work.
        """
        from databricks.sdk.service.apps import App

        given = {name: value for name, value in fields.items() if value is not None}
        app = App.from_dict({"name": self._name, **given})
        # Not `apps.update`, which clears every field that this SDK does not know.
        update = self._patiently(lambda: self._client.apps.create_update(self._name, ",".join(fields), app=app))
        with self._ending("the change of the app"):
            update.result(timeout=timedelta(seconds=self._seconds))
        if set(fields) & set(RESTARTED):
            self.stop()
            self._say("users must sign in to the app again: the tokens they have keep the scopes of before")

    def stop(self) -> None:
        """Stop the app's compute, where it runs."""
        self.settle()
        if compute_state(self.get()) not in ASLEEP:
            self._say("stopping the app's compute: only so do changed scopes take effect")
            self._patiently(lambda: self._client.apps.stop(self._name))
            self.settle()

    def wake(self) -> None:
        """Start the app's compute where it sleeps, and wait until the platform would take a deployment.

        A start deploys the app's last deployment again. That shows some time later only, so what comes after it may
        be refused all the same.

        Raises:
            DeployFailed: it does not start.
        """
        self.settle()
        if compute_state(self.get()) in ASLEEP:
            self._say("starting the app's compute")
            self._patiently(lambda: self._client.apps.start(self._name))
            self.settle()
        app = self.get()
        if compute_state(app) in ASLEEP:
            said = app.compute_status.message if app.compute_status else None
            raise DeployFailed(f"the app's compute does not start{f': {safe_line(said)}' if said else ''}")

    def deploy(self, deployment: "AppDeployment") -> str:
        """Deploy when the platform is ready for it, and wait; the deployment's id.

        Raises:
            DeployFailed: the platform says so, or does not say anything else in time.
        """
        from databricks.sdk.service.apps import AppDeploymentState

        def once() -> str:
            self.wake()
            return self._client.apps.deploy(self._name, deployment).deployment_id

        begun = self._patiently(once)
        said: list[str] = []
        why: list[str] = []

        def progress(polled: "AppDeployment") -> None:
            state = polled.status.state if polled.status else None
            line = f"deployment {begun}: {state.value.lower().replace('_', ' ') if state else 'no state yet'}"
            if line not in said:
                said.append(line)
                self._say(line)
            why[:] = [polled.status.message] if polled.status and polled.status.message else []
            if state is AppDeploymentState.CANCELLED:
                # The SDK would wait on, to the end of its time.
                raise DeployFailed("the deployment was cancelled")

        with self._ending("the deployment", why):
            self._client.apps.wait_get_deployment_app_succeeded(
                self._name, begun, timeout=timedelta(seconds=self._seconds), callback=progress
            )
        return begun

    def scopes_lacking(self, declared: Collection[str]) -> Collection[str]:
        """Of these scopes, those that users' tokens still do not have after a while."""
        ends, pause = time.monotonic() + min(SCOPE_SECONDS, self._seconds), FIRST_PAUSE
        while lacking := sorted(set(declared) - set(self.get().effective_user_api_scopes or ())):
            if time.monotonic() >= ends:
                break
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return lacking

    def grant(self, permissions: Sequence[Mapping[str, str]], *, deployer: str) -> None:
        """Set the app's permissions, and keep the deployer's own: they replace what was there."""
        from databricks.sdk.service.apps import AppAccessControlRequest, AppPermissionLevel

        requests = [
            AppAccessControlRequest(
                permission_level=AppPermissionLevel(one["level"]),
                user_name=one.get("user_name"),
                group_name=one.get("group_name"),
                service_principal_name=one.get("service_principal_name"),
            )
            for one in permissions
        ]
        # A service principal's user name is its application id.
        own = {"user_name" if "@" in deployer else "service_principal_name": deployer}
        requests.append(AppAccessControlRequest(permission_level=AppPermissionLevel.CAN_MANAGE, **own))
        self._client.apps.set_permissions(self._name, access_control_list=requests)

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        return call_when_free(call, seconds=self._seconds, say=self._say)

    @contextmanager
    def _ending(self, what: str, why: Sequence[str] = ()) -> Iterator[None]:
        """The SDK's two bad ends of a wait, in our words and the platform's."""
        from databricks.sdk.errors import OperationFailed

        try:
            yield
        except OperationFailed:
            said = f": {safe_line(why[0])}" if why else f"; {self._name}'s logs say why"
            raise DeployFailed(f"the platform says that {what} failed{said}") from None
        except TimeoutError:
            raise DeployFailed(f"{what} had not ended after {self._seconds:g} s") from None


def repeat_deployment(deployment: "AppDeployment") -> "AppDeployment":
    """A deployment like one that was made before."""
    from databricks.sdk.service.apps import AppDeployment

    return AppDeployment(
        command=deployment.command,
        env_vars=deployment.env_vars,
        git_source=deployment.git_source,
        mode=deployment.mode,
        source_code_path=deployment.source_code_path,
    )
