"""Who is calling, and on whose behalf calls to Databricks go out."""

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers

from graph_agent.errors import Unauthenticated
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import EXPIRED, NO_USER, UserToken
from graph_agent.settings import Settings
from graph_agent.trusted_hosts import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Decides the caller from a request's headers, never from its body.

    The Apps proxy sets the forwarded headers from a token it has checked. Anywhere else a caller could write them
    too, so they are believed only on Apps, where the platform sets `DATABRICKS_APP_NAME`.
    """

    behind_apps_proxy: bool
    local_user: str
    authorization: Literal["app", "user", "user-required"] = "app"

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        local_user: str,
        authorization: Literal["app", "user", "user-required"] = "app",
    ) -> "Identity":
        """On Databricks Apps if the platform says so."""
        return cls(
            behind_apps_proxy=on_apps(environ),
            local_user=local_user,
            authorization=authorization,
        )

    def caller(self, headers: Headers) -> Caller:
        """Who is calling.

        Raises:
            Unauthenticated: on Apps, but the request did not come through the proxy, or names two callers.
        """
        if not self.behind_apps_proxy:
            return Caller(self.local_user)
        user = single_header(headers, "X-Forwarded-User")
        if not user:
            raise Unauthenticated("no X-Forwarded-User header: call the app through its Databricks Apps address")
        return Caller(user, single_header(headers, "X-Forwarded-Email"))

    def token(self, headers: Headers) -> UserToken | None:
        """The token calls for this user carry; none where calls are the app's, or where none was forwarded.

        Raises:
            Unauthenticated: it has expired, there are two, or users are required and there is none.
        """
        if self.authorization == "app":
            return None
        value = (single_header(headers, "X-Forwarded-Access-Token") or "").strip() if self.behind_apps_proxy else ""
        if not value:
            if self.authorization == "user-required":
                raise Unauthenticated(NO_USER)
            return None
        token = UserToken(value)
        if token.expired():
            raise Unauthenticated(EXPIRED)
        return token


def single_header(headers: Headers, name: str) -> str | None:
    """The value of a header that says who is calling: of two, one may be the caller's own invention.

    Raises:
        Unauthenticated: it is there twice and says two things.
    """
    values = set(headers.getlist(name))
    if len(values) > 1:
        raise Unauthenticated(f"two {name} headers that differ: send one")
    return values.pop() if values else None


def on_apps(environ: Mapping[str, str]) -> bool:
    """Whether the platform is Databricks Apps, where a proxy stands before every request."""
    return bool(environ.get("DATABRICKS_APP_NAME"))


def has_bearer_token(authorization: str, bearer_token: str) -> bool:
    """Whether an `Authorization` header holds that token; the time it takes does not tell how much of it was right."""
    scheme, _, given = authorization.partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), bearer_token.encode())
    return scheme.lower() == "bearer" and same


def startup_warnings(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """What an operator should know about who may use the service, at its start."""
    if on_apps(environ):
        if settings.bearer_token is not None:
            yield "GRAPH_AGENT_BEARER_TOKEN has no effect on Databricks Apps: its proxy signs callers in"
        return
    if settings.bearer_token is None and not is_loopback(settings.host):
        yield (
            f"anybody who can reach {settings.host} may use this service with the app's permissions: "
            "set GRAPH_AGENT_BEARER_TOKEN, or bind 127.0.0.1"
        )
    if settings.authorization == "user-required":
        yield (
            "GRAPH_AGENT_AUTHORIZATION=user-required refuses every request here: users' tokens come from the proxy of "
            "Databricks Apps"
        )
