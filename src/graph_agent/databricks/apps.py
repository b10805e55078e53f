"""A deployed app as its callers see it: its address, and the kind of token that it accepts."""

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
"""Ways to sign in that give tokens issued by Databricks. Databricks Apps accepts no others."""

HOW_TO_SIGN_IN = (
    "Databricks Apps accepts OAuth tokens only, not personal access tokens; sign in with `databricks auth login`, or"
    " set DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal, and unset DATABRICKS_TOKEN"
)

OTHER_ISSUERS = {
    "azure-cli": "Microsoft Entra ID",
    "azure-client-secret": "Microsoft Entra ID",
    "azure-msi": "Microsoft Entra ID",
    "github-oidc-azure": "Microsoft Entra ID",
    "google-credentials": "Google",
    "google-id": "Google",
}
"""Credential types of the SDK with tokens from other issuers. The workspace accepts those, but its apps do not."""

ISSUERS = {
    "sts.windows.net": "Microsoft Entra ID",
    "sts.chinacloudapi.cn": "Microsoft Entra ID",
    "login.microsoftonline.com": "Microsoft Entra ID",
    "login.microsoftonline.us": "Microsoft Entra ID",
    "login.partner.microsoftonline.cn": "Microsoft Entra ID",
    "accounts.google.com": "Google",
}
"""The other issuers by the host in a token's `iss` claim."""


def check_oauth(client: "WorkspaceClient") -> None:
    """Check that Databricks Apps accepts the client's kind of token.

    Raises:
        Unauthenticated: it is a personal access token, a token of Microsoft Entra ID or Google, or it has expired.
    """
    kind = client.config.auth_type or ""
    if kind in OTHER_ISSUERS:
        raise Unauthenticated(_other_issuer(OTHER_ISSUERS[kind], kind))
    if kind == "basic":
        raise Unauthenticated(f"Databricks Apps does not accept a user name and password: {WAYS}")
    token = UserToken(client.config.token or "") if kind == "pat" else _token(client)
    # DATABRICKS_TOKEN is for personal access tokens, but may hold an OAuth token from `databricks auth token`.
    issuer = unverified_claims(token.value).get("iss")
    if isinstance(issuer, str) and (elsewhere := ISSUERS.get(urlsplit(issuer).hostname or "")):
        raise Unauthenticated(_other_issuer(elsewhere, kind))
    if kind == "pat" and not isinstance(issuer, str):
        raise Unauthenticated(HOW_TO_SIGN_IN)
    if token.expired():
        raise Unauthenticated(f"the token has expired: {WAYS}")


def _token(client: "WorkspaceClient") -> UserToken:
    return UserToken(client.config.authenticate().get("Authorization", "").partition(" ")[2])


def _other_issuer(issuer: str, kind: str) -> str:
    return f"Databricks Apps does not accept tokens from {issuer}, which this sign-in ({kind}) provides: {WAYS}"


def oauth_headers(client: "WorkspaceClient") -> Mapping[str, str]:
    """The authorization header for an app.

    Raises:
        Unauthenticated: Databricks Apps does not accept the client's kind of token.
    """
    check_oauth(client)
    return client.config.authenticate()


def app_url(client: "WorkspaceClient", name: str) -> str:
    """The base URL of a deployed app.

    Raises:
        NotReady: the app does not exist, was never deployed, or this caller may not see it.
    """
    from databricks.sdk.errors import NotFound, PermissionDenied
    from databricks.sdk.errors.base import DatabricksError

    try:
        app = client.apps.get(name)
    except NotFound:
        raise NotReady(f"the workspace has no app {name!r}; create it with `graph-agent deploy`") from None
    except PermissionDenied:
        raise NotReady(f"you may not see the app {name!r}; ask its owner for CAN_USE") from None
    except DatabricksError as error:
        raise NotReady(f"the workspace did not return the address of {name!r} ({type(error).__name__})") from error
    if not app.url:
        raise NotReady(f"the app {name!r} has no address yet; deploy it first")
    return app.url.rstrip("/")
