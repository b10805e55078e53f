"""Finds out who is calling, and for which user the service calls Databricks."""

import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers

from graph_agent.errors import Unauthenticated
from graph_agent.identity.caller import Caller, Kind
from graph_agent.identity.user_token import EXPIRED, NO_USER, UserToken
from graph_agent.serving.chat_tickets import ChatTickets, is_ticket
from graph_agent.settings import Settings
from graph_agent.trusted_hosts import is_loopback

TokenUser = Callable[[UserToken], Awaitable[Caller]]
"""Asks the workspace whose token a token is."""

TOKEN = "X-Forwarded-Access-Token"
"""The header with the user's own token, or with a ticket in its place."""

LONGEST_USER = 256
"""Characters of a user's id in a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Decides who is calling from a request's headers, never from its body.

    The Apps proxy sets the forwarded headers from a token that it has checked. Anywhere else a caller could set them,
    so they are trusted only on Apps, where the platform sets `DATABRICKS_APP_NAME`. Elsewhere a front end that has the
    bearer token may name its user in one header.
    """

    behind_apps_proxy: bool
    local_user: str
    authorization: Literal["app", "user", "user-required"] = "app"
    user_header: str | None = None
    """The header in which a front end with the bearer token names its user."""

    user_of: TokenUser | None = None
    """Identifies a request on Apps that carries only a user's token, as the second hop of a chat page does."""

    tickets: ChatTickets | None = None
    """For a chat app behind this service, which asks for users whose token it does not get."""

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        local_user: str,
        authorization: Literal["app", "user", "user-required"] = "app",
        user_header: str | None = None,
        user_of: TokenUser | None = None,
        tickets: ChatTickets | None = None,
    ) -> "Identity":
        """Make it for this environment: on Databricks Apps if `DATABRICKS_APP_NAME` is set."""
        return cls(
            behind_apps_proxy=on_apps(environ),
            local_user=local_user,
            authorization=authorization,
            user_header=user_header,
            user_of=user_of,
            tickets=tickets,
        )

    @property
    def kind(self) -> Kind:
        """Who vouches for the callers."""
        if self.behind_apps_proxy:
            return "apps"
        return "local" if self.user_header is None else "front_end"

    async def caller(self, headers: Headers) -> Caller:
        """Who is calling.

        Raises:
            Unauthenticated: the request names no caller, or two. On Apps, it did not come through the proxy and has no
                token of a user. Elsewhere, the header of the front end is missing.
            WorkspaceUnavailable: the workspace did not say whose token the request carries.
        """
        if self.behind_apps_proxy:
            return await self._of_apps(headers)
        if self.user_header is not None:
            return self._of_front_end(headers, self.user_header)
        return Caller(self.local_user)

    async def _of_apps(self, headers: Headers) -> Caller:
        if (named := _named_by_proxy(headers)) is not None:
            return named
        value = (single_header(headers, TOKEN) or "").strip()
        if self.tickets is not None and is_ticket(value):
            return self.tickets.read(value)
        if not value or self.user_of is None:
            raise Unauthenticated("no X-Forwarded-User header: call the app through its Databricks Apps address")
        token = UserToken(value)
        if token.expired():
            raise Unauthenticated(EXPIRED)
        return await self.user_of(token)

    def _of_front_end(self, headers: Headers, name: str) -> Caller:
        user = (single_header(headers, name) or "").strip()
        if not user:
            raise Unauthenticated(f"no {name} header: the front end must name its user there")
        if len(user) > LONGEST_USER or not user.isprintable():
            raise Unauthenticated(f"the {name} header must hold at most {LONGEST_USER} printable characters")
        return Caller(user, kind="front_end")

    def token(self, headers: Headers) -> UserToken | None:
        """The token for calls on behalf of this user, or `None` when the app calls for itself or none was forwarded.

        Raises:
            Unauthenticated: the token has expired, there are two, or a user is required and there is no token.
        """
        if self.authorization == "app":
            return None
        value = (single_header(headers, TOKEN) or "").strip() if self.behind_apps_proxy else ""
        if not value or is_ticket(value):
            if self.authorization == "user-required":
                raise Unauthenticated(NO_USER)
            return None
        token = UserToken(value)
        if token.expired():
            raise Unauthenticated(EXPIRED)
        return token

    def ticket(self, headers: Headers) -> str | None:
        """What a request to the chat app carries in place of the token of the user whom the proxy names.

        `None`: the request has such a token, or nobody has named its user.

        Raises:
            Unauthenticated: the request names two users, or has two tokens.
        """
        if self.tickets is None or not self.behind_apps_proxy:
            return None
        token, user = (single_header(headers, TOKEN) or "").strip(), _named_by_proxy(headers)
        if user is None or (token and not is_ticket(token)):
            return None
        return self.tickets.write(user)


def _named_by_proxy(headers: Headers) -> Caller | None:
    user = single_header(headers, "X-Forwarded-User")
    return Caller(user, single_header(headers, "X-Forwarded-Email"), "apps") if user else None


def single_header(headers: Headers, name: str) -> str | None:
    """The value of a header that says who is calling, or `None`.

    Raises:
        Unauthenticated: the header occurs with two different values, so the caller may have added one of them.
    """
    values = set(headers.getlist(name))
    if len(values) > 1:
        raise Unauthenticated(f"the request has two {name} headers that differ: send one")
    return values.pop() if values else None


def on_apps(environ: Mapping[str, str]) -> bool:
    """Whether the platform is Databricks Apps, where every request passes a proxy."""
    return bool(environ.get("DATABRICKS_APP_NAME"))


def has_bearer_token(authorization: str, bearer_token: str) -> bool:
    """Whether an `Authorization` header holds that token."""
    scheme, _, given = authorization.partition(" ")
    # In constant time: the duration of an ordinary comparison reveals how much of a guess was right.
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), bearer_token.encode())
    return scheme.lower() == "bearer" and same


def startup_warnings(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Warnings for the operator about who may use the service, logged when it starts."""
    limits = settings.limits
    if (limits.of_requests or limits.of_tokens) and settings.store == "memory":
        yield (
            "GRAPH_AGENT_LIMIT_… are counted in memory, because GRAPH_AGENT_STORE is memory: each process counts for "
            "itself, and a new one begins at 0"
        )
    per_user = (limits.user_requests_per_minute, limits.user_requests_per_day, limits.user_tokens_per_day)
    if any(per_user) and settings.user_header is None and not on_apps(environ):
        yield (
            "GRAPH_AGENT_LIMIT_USER_… count all callers as one user here, because the service does not know who is "
            "calling: set GRAPH_AGENT_USER_HEADER behind a front end that signs users in"
        )
    if on_apps(environ):
        if settings.bearer_token is not None:
            yield "GRAPH_AGENT_BEARER_TOKEN has no effect on Databricks Apps: its proxy signs callers in"
        if settings.user_header is not None:
            yield "GRAPH_AGENT_USER_HEADER has no effect on Databricks Apps: its proxy says who is calling"
        return
    if settings.bearer_token is None and not is_loopback(settings.host):
        yield (
            f"everyone who can reach {settings.host} can use this service with the app's permissions: "
            "set GRAPH_AGENT_BEARER_TOKEN, or bind 127.0.0.1"
        )
    if settings.authorization == "user-required":
        yield (
            "GRAPH_AGENT_AUTHORIZATION=user-required refuses every request here, because only the proxy of Databricks "
            "Apps forwards users' tokens: deploy the app, or use another value"
        )
