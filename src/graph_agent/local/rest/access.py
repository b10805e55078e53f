"""Controls access to the local workspace, by its token or by tokens minted for its service principal.

Every user and every browser page on the machine can reach loopback, so each run of the workspace has new secrets.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.local.rest.http import ApiError, json_response, short_body
from graph_agent.trusted_hosts import TrustedHosts

TOKEN_SECONDS = 3600
MOST_FORM_BYTES = 16_384
"""Size limit of a sign-in form. Anyone can send one without a token."""

PUBLIC_PATHS = frozenset(
    {"/.well-known/databricks-config", "/oidc/.well-known/oauth-authorization-server", "/oidc/v1/token"}
)
"""The routes of sign-in, which clients call before they have a token."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Accepted credentials: a personal access token, or the id and secret of a service principal."""

    token: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make new random secrets."""
        return cls(secrets.token_urlsafe(32), secrets.token_hex(16), secrets.token_urlsafe(32))


class Access:
    """Checks bearer tokens, and mints a token for a client that authenticates as the service principal."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        users: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        # Digests as keys: a lookup by the token itself could tell by its time how much of a guess is right.
        self._users = {digest(token): user for token, user in (users or {}).items()}
        self._clock = clock
        self._minted: dict[bytes, float] = {}

    def admits(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        if equal(token, self._credentials.token) or digest(token) in self._users:
            return True
        return self._minted.get(digest(token), 0.0) > self._clock()

    def user(self, authorization: str) -> str | None:
        """The user that this token belongs to, or `None` for the workspace's own token."""
        return self._users.get(digest(authorization.partition(" ")[2]))

    def mint(self) -> str:
        now = self._clock()
        # Expired tokens are removed here, so that the table stays small.
        self._minted = {key: ends for key, ends in self._minted.items() if ends > now}
        token = secrets.token_urlsafe(32)
        self._minted[digest(token)] = now + TOKEN_SECONDS
        return token

    def is_principal(self, client_id: str, client_secret: str) -> bool:
        # Both are always compared, so that the time does not reveal whether the id was right.
        known = equal(client_id, self._credentials.client_id), equal(client_secret, self._credentials.client_secret)
        return all(known)

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/databricks-config", self._config),
            Route("/oidc/.well-known/oauth-authorization-server", self._discovery),
            Route("/oidc/v1/token", self._token, methods=["POST"]),
        ]

    async def _config(self, request: Request) -> Response:
        return json_response({"oidc_endpoint": f"{host(request)}/oidc", "workspace_id": "1"})

    async def _discovery(self, request: Request) -> Response:
        oidc = f"{host(request)}/oidc/v1"
        return json_response({"authorization_endpoint": f"{oidc}/authorize", "token_endpoint": f"{oidc}/token"})

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await short_body(request, MOST_FORM_BYTES)).decode("utf-8", "replace"))
        if form.get("grant_type") != ["client_credentials"]:
            return refusal(
                400, "unsupported_grant_type", "Use the grant type client_credentials; others are not supported."
            )
        if not self.is_principal(*presented_credentials(request, form)):
            return refusal(
                401, "invalid_client", "The client id or secret is wrong. Use those of this run of the local workspace."
            )
        return json_response({"access_token": self.mint(), "token_type": "Bearer", "expires_in": TOKEN_SECONDS})


class OwnHosts:
    """ASGI middleware: 403 for requests from web pages, and for requests with a host name that is not this machine's.

    Sign-in needs this protection because it needs no token, and because its answer contains the requested host name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._own = TrustedHosts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._own.refusal(scope["headers"]) if scope["type"] == "http" else None
        if refusal is not None:
            raise ApiError(403, f"The local workspace refused the request: {refusal}.")
        await self._app(scope, receive, send)


class RequireToken:
    """ASGI middleware: 401 for requests without a token that `access` admits. Sign-in needs none."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PUBLIC_PATHS:
            self._check(HTTPConnection(scope).headers.get("authorization", ""))
        await self._app(scope, receive, send)

    def _check(self, authorization: str) -> None:
        if not self._access.admits(authorization):
            raise ApiError(401, "The token is missing, expired, or not one of the local workspace. Sign in again.")


def presented_credentials(request: Request, form: dict[str, list[str]]) -> tuple[str, str]:
    """The id and secret of the client, from HTTP Basic or from the form. OAuth allows both."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
    try:
        client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client_id, client_secret


def refusal(status: int, error: str, description: str) -> Response:
    return json_response({"error": error, "error_description": description}, status=status)


def host(request: HTTPConnection) -> str:
    """The URL of the workspace under the host name that this client uses."""
    return f"{request.url.scheme}://{request.url.netloc}"


def equal(given: str, known: str) -> bool:
    # Takes the same time wherever the texts differ. As bytes, because `compare_digest` rejects text that is not ASCII.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
