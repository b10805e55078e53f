"""The app on the platform: created, updated, started, deployed, each waited for with a line of progress."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from graph_agent.errors import DeployFailed

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.apps import App, AppDeployment

Say = Callable[[str], None]

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds between two looks at whether a deployment has ended."""

KEPT = (
    "name",
    "description",
    "resources",
    "user_api_scopes",
    "compute_size",
    "budget_policy_id",
    "usage_policy_id",
    "compute_min_instances",
    "compute_max_instances",
    "forward_user_access_token",
    "git_repository",
    "telemetry_export_destinations",
)
"""The fields of an app a caller may write. An update replaces all of them: what is left out is cleared."""


def writable(app: "App") -> dict[str, Any]:
    """What an update must send to leave the app as it is."""
    fields = app.as_dict()
    return {key: fields[key] for key in KEPT if key in fields}


class Platform:
    """One app. `wait_seconds` bounds each wait for the platform."""

    def __init__(self, client: "WorkspaceClient", name: str, *, wait_seconds: float, say: Say) -> None:
        self._client = client
        self._name = name
        self._timeout = timedelta(seconds=wait_seconds)
        self._say = say

    def get(self) -> "App":
        """The app as it is now."""
        return self._client.apps.get(self._name)

    def create(self, declared: Mapping[str, Any]) -> "App":
        """Make the app and wait for its compute."""
        from databricks.sdk.service.apps import App

        created = self._client.apps.create(App.from_dict({"name": self._name, **declared}))
        return self._client.apps.wait_get_app_active(created.name, timeout=self._timeout, callback=self._compute())

    def update(self, before: "App", declared: Mapping[str, Any]) -> None:
        """Change the declared fields and keep all others."""
        self.put({**writable(before), **declared}, size_before=writable(before).get("compute_size"))

    def put(self, fields: Mapping[str, Any], *, size_before: str | None) -> None:
        """Replace every writable field."""
        from databricks.sdk.service.apps import App

        size = fields.get("compute_size")
        # `update` does not change the size; only an update that is waited for does.
        self._client.apps.update(self._name, App.from_dict({**fields, "compute_size": size_before}))
        if size and size != size_before:
            self._say(f"changing the compute size to {size}")
            update = self._client.apps.create_update(
                self._name, "compute_size", app=App.from_dict({"name": self._name, "compute_size": size})
            )
            update.result(timeout=self._timeout)

    def start(self) -> None:
        """Start the app's compute."""
        self._say("starting the app's compute")
        self._client.apps.start(self._name)
        self._client.apps.wait_get_app_active(self._name, timeout=self._timeout, callback=self._compute())

    def deploy(self, deployment: "AppDeployment") -> str:
        """Deploy and wait; the deployment's id.

        Raises:
            DeployFailed: the platform says so, or does not say anything else in time.
        """
        from databricks.sdk.errors import OperationFailed
        from databricks.sdk.service.apps import AppDeploymentState

        begun = self._client.apps.deploy(self._name, deployment).deployment_id
        said: list[str] = []

        def progress(polled: "AppDeployment") -> None:
            state = polled.status.state if polled.status else None
            line = f"deployment {begun}: {state.value.lower().replace('_', ' ') if state else 'no state yet'}"
            if line not in said:
                said.append(line)
                self._say(line)
            if state is AppDeploymentState.CANCELLED:
                # The SDK would wait on, to the end of its time.
                raise DeployFailed("the deployment was cancelled")

        try:
            self._client.apps.wait_get_deployment_app_succeeded(
                self._name, begun, timeout=self._timeout, callback=progress
            )
        except OperationFailed:
            raise DeployFailed(f"the platform could not deploy it; {self._name}'s logs say why") from None
        except TimeoutError:
            raise DeployFailed(f"the deployment had not ended after {self._timeout.total_seconds():g} s") from None
        return begun

    def settle(self) -> None:
        """Wait until no deployment is under way: the platform takes only one at a time.

        Raises:
            DeployFailed: one still is, after the time each step has.
        """
        end, pause = time.monotonic() + self._timeout.total_seconds(), FIRST_PAUSE
        while (pending := self.get().pending_deployment) is not None:
            if pause == FIRST_PAUSE:
                self._say(f"waiting for deployment {pending.deployment_id} to end")
            if time.monotonic() >= end:
                raise DeployFailed(
                    f"deployment {pending.deployment_id} was still under way after another"
                    f" {self._timeout.total_seconds():g} s and may yet go live; once it has ended, deploy again"
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

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

    def _compute(self) -> Callable[["App"], None]:
        said: list[str] = []

        def progress(polled: "App") -> None:
            state = polled.compute_status.state if polled.compute_status else None
            line = f"compute of {self._name}: {state.value.lower() if state else 'no state yet'}"
            if line not in said:
                said.append(line)
                self._say(line)

        return progress


def same_again(deployment: "AppDeployment") -> "AppDeployment":
    """A deployment like one that was made before."""
    from databricks.sdk.service.apps import AppDeployment

    return AppDeployment(
        command=deployment.command,
        env_vars=deployment.env_vars,
        git_source=deployment.git_source,
        mode=deployment.mode,
        source_code_path=deployment.source_code_path,
    )
