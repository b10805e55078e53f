"""The checks before anything is changed: the deployer, the app's resources, and the rights to them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from graph_agent.databricks.apps import check_oauth
from graph_agent.deploying.bundle import Bundle
from graph_agent.deploying.error_text import error_text
from graph_agent.deploying.platform import Platform
from graph_agent.deploying.waiting import Say, pending_work
from graph_agent.errors import DeployFailed, DeployRefused, Unauthenticated

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.apps import App, AppDeployment, AppPermissions

MOST_LOOKED_AT = 50
"""Deployments that are searched for the last one that succeeded."""


@dataclass(frozen=True, slots=True)
class AppState:
    """The app in the workspace before the deployment. Every field is `None` if the app does not exist."""

    app: "App | None"
    permissions: "AppPermissions | None"
    deployment: "AppDeployment | None" = None
    """The deployment to roll back to: the active one, or the last that succeeded if the app is stopped."""


def deployer_name(client: "WorkspaceClient") -> str:
    """The deployer's user name. For a service principal it is the application id.

    Raises:
        DeployRefused: the workspace does not answer or rejects the credentials, or they are a personal access token.
    """
    from databricks.sdk.errors.base import DatabricksError

    try:
        # Checked now, because only the smoke test at the end would fail with a personal access token.
        check_oauth(client)
        user = client.current_user.me().user_name
    except Unauthenticated as error:
        raise DeployRefused(f"the smoke test of the app could not sign in: {error.message}") from None
    except DatabricksError as error:
        raise DeployRefused(f"the workspace rejected the credentials: {error_text(error)}") from error
    except Exception as error:
        # Signing in fails in many ways: no network, no such host, or a command of a credential helper is missing.
        raise DeployRefused(
            f"the workspace at {client.config.host} does not answer ({type(error).__name__})"
        ) from error
    if not user:
        raise DeployRefused("the workspace did not return the deployer's user name; sign in with another account")
    return user


def check_host(client: "WorkspaceClient", bundle: Bundle) -> None:
    """Refuse to deploy to a different workspace than the bundle names.

    Raises:
        DeployRefused: the workspaces differ.
    """
    if bundle.host and bundle.host.rstrip("/") != (client.config.host or "").rstrip("/"):
        raise DeployRefused(f"the bundle is for {bundle.host}, but the credentials are for {client.config.host}")


def notices(bundle: Bundle) -> Iterator[str]:
    """The parts of the bundle that this command does not deploy."""
    if bundle.ignored:
        yield f"warning: this command does not deploy the bundle's {', '.join(bundle.ignored)}; use the Databricks CLI"
    if bundle.permissions is None:
        yield "the bundle does not list permissions, so the app's permissions are not changed"


def check_resources(client: "WorkspaceClient", bundle: Bundle) -> list[str]:
    """Look up every resource of the app. Returns a line about each.

    Raises:
        DeployRefused: some do not exist, or the deployer may not see them. The message names all of them.
    """
    seen: list[str] = []
    missing: list[str] = []
    for name, resource in bundle.resources.items():
        kind = next((key for key in resource if key not in ("name", "description")), "")
        fields = resource.get(kind)
        look = LOOKS.get(kind)
        if look is None or not isinstance(fields, dict):
            seen.append(f"not checked: {name} ({kind or 'no type'})")
            continue
        wrong = _wrong(look, client, fields)
        line = f"{name}: {_described(kind, fields)}"
        (missing if wrong else seen).append(f"{line} {wrong}" if wrong else f"found {line}")
    if missing:
        raise DeployRefused(f"the app needs resources that are not available: {'; '.join(missing)}")
    return seen


def described(bundle: Bundle) -> Iterator[str]:
    """A line about every resource of the app."""
    for name, resource in bundle.resources.items():
        kind, fields = next(((key, one) for key, one in resource.items() if isinstance(one, dict)), ("nothing", {}))
        yield f"{name}: {_described(kind, fields)}".rstrip()


def _described(kind: str, fields: Mapping[str, Any]) -> str:
    return f"{kind.replace('_', ' ')} {_title(fields)}"


def _wrong(look: Callable[..., Any], client: "WorkspaceClient", fields: Mapping[str, Any]) -> str:
    from databricks.sdk.errors import NotFound, PermissionDenied
    from databricks.sdk.errors.base import DatabricksError

    try:
        look(client, fields)
    except NotFound:
        return "does not exist"
    except PermissionDenied:
        return "is not visible to you, so you cannot grant it to an app"
    except KeyError as error:
        return f"has no {error.args[0]}"
    except (DatabricksError, OSError, TimeoutError) as error:
        return f"could not be looked up: {error_text(error)}"
    return ""


def _securable(client: "WorkspaceClient", fields: Mapping[str, Any]) -> Any:
    name = fields["securable_full_name"]
    match fields["securable_type"]:
        case "TABLE":
            return client.tables.get(name)
        case "FUNCTION":
            return client.functions.get(name)
        case "VOLUME":
            return client.volumes.read(name)
        case "CONNECTION":
            return client.connections.get(name)
    return None


LOOKS: Mapping[str, Callable[["WorkspaceClient", Mapping[str, Any]], Any]] = {
    "serving_endpoint": lambda client, fields: client.serving_endpoints.get(fields["name"]),
    "uc_securable": _securable,
    "experiment": lambda client, fields: client.experiments.get_experiment(str(fields["experiment_id"])),
    "genie_space": lambda client, fields: client.genie.get_space(fields["space_id"]),
    "sql_warehouse": lambda client, fields: client.warehouses.get(fields["id"]),
    "database": lambda client, fields: client.database.get_database_instance(fields["instance_name"]),
    # The path of a database begins with that of its branch.
    "postgres": lambda client, fields: client.postgres.get_database(fields["database"]),
}


def _title(fields: Mapping[str, Any]) -> str:
    keys = ("securable_full_name", "experiment_id", "instance_name", "space_id", "id", "name", "database", "branch")
    return next((str(fields[key]) for key in keys if key in fields), "")


def wait_until_settled(platform: Platform, *, say: Say, dry_run: bool) -> None:
    """Wait until the platform has no work pending for the app: a start, a stop, a deletion or another deployment.

    Raises:
        DeployRefused: work is still pending after the time limit of a step.
    """
    from databricks.sdk.errors import NotFound, PermissionDenied

    try:
        if not dry_run:
            platform.settle()
        elif (at := pending_work(platform.get())) is not None:
            say(f"a deployment would first wait for {at.what}")
    except DeployFailed as error:
        raise DeployRefused(error.message) from None
    except (NotFound, PermissionDenied):
        # The app does not exist, or was deleted just now. `app_state` reports one that the deployer may not see.
        return


def app_state(client: "WorkspaceClient", name: str) -> AppState:
    """The app as it is now.

    Raises:
        DeployRefused: the deployer may not manage it.
    """
    from databricks.sdk.errors import NotFound, PermissionDenied

    try:
        app = client.apps.get(name)
        permissions = client.apps.get_permissions(name)
        deployment = app.active_deployment or _last(client, name)
    except NotFound:
        return AppState(None, None)
    except PermissionDenied:
        raise DeployRefused(f"you may not manage the app {name!r}; ask its owner for CAN_MANAGE") from None
    return AppState(app, permissions, deployment)


def _last(client: "WorkspaceClient", name: str) -> "AppDeployment | None":
    """The last deployment that succeeded. A stopped app may have no active deployment."""
    # The API lists the newest first.
    for one in islice(client.apps.list_deployments(name), MOST_LOOKED_AT):
        if one.status is not None and one.status.state is not None and one.status.state.value == "SUCCEEDED":
            return one
    return None
