"""A deployed app as its callers see it: its address, and the only kind of token it takes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from graph_agent.errors import NotReady, Unauthenticated
from graph_agent.identity.user_token import UserToken, unverified_claims

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

WAYS = (
    "as a person run `databricks auth login` and set DATABRICKS_AUTH_TYPE=databricks-cli; as a service principal set"
    " DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, its OAuth secret of Databricks; in GitHub Actions set"
    " DATABRICKS_AUTH_TYPE=github-oidc and DATABRICKS_CLIENT_ID"
)
"""Sign-ins whose tokens Databricks itself issues; only those are taken by Databricks Apps."""

HOW_TO_SIGN_IN = (
    "Databricks Apps takes OAuth tokens only, no personal access tokens; sign in with `databricks auth login`, or set"
    " DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal, and unset DATABRICKS_TOKEN"
)

ELSEWHERE = {
    "azure-cli": "Microsoft Entra ID",
    "azure-client-secret": "Microsoft Entra ID",
    "azure-msi": "Microsoft Entra ID",
    "github-oidc-azure": "Microsoft Entra ID",
    "google-credentials": "Google",
    "google-id": "Google",
}
"""Kinds of sign-in of the SDK whose tokens somebody else issues; the workspace takes them, its apps do not."""

ISSUERS = {
    "sts.windows.net": "Microsoft Entra ID",
    "sts.chinacloudapi.cn": "Microsoft Entra ID",
    "login.microsoftonline.com": "Microsoft Entra ID",
    "login.microsoftonline.us": "Microsoft Entra ID",
    "login.partner.microsoftonline.cn": "Microsoft Entra ID",
    "accounts.google.com": "Google",
}
"""The same, by the host of a token's issuer."""


def check_oauth(client: "WorkspaceClient") -> None:
    """See to it that the client's tokens are of the kind Databricks Apps takes.

    Raises:
        Unauthenticated: they are personal access tokens, or of Microsoft Entra ID or Google.
    """
    kind = client.config.auth_type or ""
    if kind in ELSEWHERE:
        raise Unauthenticated(_not_ours(ELSEWHERE[kind], kind))
    if kind == "basic":
        raise Unauthenticated(f"Databricks Apps takes no user name and password: {WAYS}")
    token = UserToken(client.config.token or "") if kind == "pat" else _token(client)
    # A variable named for personal access tokens may hold another: `databricks auth token` prints one to be put there.
    issuer = unverified_claims(token.value).get("iss")
    if isinstance(issuer, str) and (elsewhere := ISSUERS.get(urlsplit(issuer).hostname or "")):
        raise Unauthenticated(_not_ours(elsewhere, kind))
    if kind == "pat" and not isinstance(issuer, str):
        raise Unauthenticated(HOW_TO_SIGN_IN)
    if token.expired():
        raise Unauthenticated(f"the token has expired: {WAYS}")


def _token(client: "WorkspaceClient") -> UserToken:
    return UserToken(client.config.authenticate().get("Authorization", "").partition(" ")[2])


def _not_ours(issuer: str, kind: str) -> str:
    return f"Databricks Apps takes no tokens of {issuer}, which this sign-in ({kind}) brings: {WAYS}"


def oauth_headers(client: "WorkspaceClient") -> Mapping[str, str]:
    """The authorization header for an app.

    Raises:
        Unauthenticated: its tokens are of a kind that Databricks Apps does not take.
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
