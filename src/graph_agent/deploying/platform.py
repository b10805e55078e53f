"""The app on the platform. It creates, changes, starts and deploys the app, and waits for each with progress lines."""

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
"""How long to wait after a start until users' tokens have the scopes that the app declares."""

RESTARTED = ("user_api_scopes", "forward_user_access_token")
"""The fields of an app that take effect only when its compute is stopped and started."""


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
        """Wait until the platform has no work pending for the app: no compute transition, and no deployment.

        Raises:
            DeployFailed: work is still pending after the time limit of a step.
        """
        wait_for(lambda: pending_work(self.get()), seconds=self._seconds, say=self._say)

    def create(self, declared: Mapping[str, Any]) -> "App":
        """Create the app and wait for its compute."""
        from databricks.sdk.service.apps import App

        app = App.from_dict({"name": self._name, **declared})
        self._patiently(lambda: self._client.apps.create(app))
        self.settle()
        return self.get()

    def change(self, fields: Mapping[str, Any]) -> None:
        """Change these fields of the app and no others. A field that is `None` is cleared.

        Raises:
            DeployFailed: the platform reports a failure.
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
            self._say("users must sign in to the app again, because their current tokens keep the old scopes")

    def stop(self) -> None:
        """Stop the app's compute if it runs."""
        self.settle()
        if compute_state(self.get()) not in ASLEEP:
            self._say("stopping the app's compute, because changed scopes take effect only after a restart")
            self._patiently(lambda: self._client.apps.stop(self._name))
            self.settle()

    def wake(self) -> None:
        """Start the app's compute if it is stopped, and wait until the platform accepts a deployment.

        A start deploys the app's last deployment again. That shows only some time later, so a call after this one may
        still be refused.

        Raises:
            DeployFailed: the compute does not start.
        """
        self.settle()
        if compute_state(self.get()) in ASLEEP:
            self._say("starting the app's compute")
            self._patiently(lambda: self._client.apps.start(self._name))
            self.settle()
        app = self.get()
        if compute_state(app) in ASLEEP:
            message = app.compute_status.message if app.compute_status else None
            raise DeployFailed(f"the app's compute does not start{f': {safe_line(message)}' if message else ''}")

    def deploy(self, deployment: "AppDeployment") -> str:
        """Deploy as soon as the platform accepts it, and wait. Returns the deployment's id.

        Raises:
            DeployFailed: the deployment failed, or did not end within the time limit.
        """
        from databricks.sdk.service.apps import AppDeploymentState

        def once() -> str:
            # Part of every try: after a refusal, the compute may be in another state than before.
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
                # The SDK does not treat this state as an end, and would wait until its timeout.
                raise DeployFailed("the deployment was cancelled")

        with self._ending("the deployment", why):
            self._client.apps.wait_get_deployment_app_succeeded(
                self._name, begun, timeout=timedelta(seconds=self._seconds), callback=progress
            )
        return begun

    def scopes_lacking(self, declared: Collection[str]) -> Collection[str]:
        """The declared scopes that users' tokens still lack after `SCOPE_SECONDS`."""
        ends, pause = time.monotonic() + min(SCOPE_SECONDS, self._seconds), FIRST_PAUSE
        while lacking := sorted(set(declared) - set(self.get().effective_user_api_scopes or ())):
            if time.monotonic() >= ends:
                break
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return lacking

    def grant(self, permissions: Sequence[Mapping[str, str]], *, deployer: str) -> None:
        """Replace the app's permissions. The deployer keeps CAN_MANAGE."""
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
        """Turn the SDK's two errors of a wait into `DeployFailed`, with the platform's message."""
        from databricks.sdk.errors import OperationFailed

        try:
            yield
        except OperationFailed:
            reason = f": {safe_line(why[0])}" if why else f"; see the logs of {self._name}"
            raise DeployFailed(f"{what} failed on the platform{reason}") from None
        except TimeoutError:
            raise DeployFailed(f"{what} did not end within {self._seconds:g} s") from None


def repeat_deployment(deployment: "AppDeployment") -> "AppDeployment":
    """A new deployment with the settings of an earlier one."""
    from databricks.sdk.service.apps import AppDeployment

    return AppDeployment(
        command=deployment.command,
        env_vars=deployment.env_vars,
        git_source=deployment.git_source,
        mode=deployment.mode,
        source_code_path=deployment.source_code_path,
    )
