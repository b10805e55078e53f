"""A deployed app as its callers see it: its address, and the only kind of token it takes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graph_agent.errors import NotReady, Unauthenticated

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

HOW_TO_SIGN_IN = (
    "Databricks Apps takes OAuth tokens only, no personal access tokens; sign in with `databricks auth login`, or set"
    " DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal, and unset DATABRICKS_TOKEN"
)


def check_oauth(client: "WorkspaceClient") -> None:
    """See to it that the client's tokens are of the kind Databricks Apps takes.

    Raises:
        Unauthenticated: it holds a personal access token.
    """
    if client.config.auth_type == "pat":
        raise Unauthenticated(HOW_TO_SIGN_IN)


def oauth_headers(client: "WorkspaceClient") -> Mapping[str, str]:
    """The authorization header for an app.

    Raises:
        Unauthenticated: it holds a personal access token.
    """
    check_oauth(client)
    return client.config.authenticate()


def app_url(client: "WorkspaceClient", name: str) -> str:
    """The base URL of a deployed app.

    Raises:
        NotReady: there is no such app, or it was never deployed, or this caller may not see it.
    """
    from databricks.sdk.errors import NotFound, PermissionDenied
    from databricks.sdk.errors.base import DatabricksError

    try:
        app = client.apps.get(name)
    except NotFound:
        raise NotReady(f"the workspace has no app {name!r}; graph-agent deploy makes it") from None
    except PermissionDenied:
        raise NotReady(f"you may not see the app {name!r}; its owner can give you CAN_USE") from None
    except DatabricksError as error:
        raise NotReady(f"the workspace did not say where {name!r} is ({type(error).__name__})") from error
    if not app.url:
        raise NotReady(f"the app {name!r} has no address yet; deploy it first")
    return app.url.rstrip("/")
