"""As whom an MCP server is called: whose session a request belongs to, and the headers of that session."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from graph_agent.app_context import current_app
from graph_agent.databricks.clients import actor, headers_for
from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.errors import Unauthenticated
from graph_agent.identity.user_token import EXPIRED, user_token
from graph_agent.threads import run_in_call_thread


def identity(server: McpServer) -> str:
    """Whose session and list it is: a user's token, named without telling it, or the one identity of everybody else.

    Raises:
        Unauthenticated: it acts for the user, and there is no token or it has expired.
    """
    if server.acting_as == "nobody":
        return "nobody"
    return user_token().key if actor(server.acting_as) == "user" else "app"


def session_headers(server: McpServer, key: str) -> Callable[[], Awaitable[Mapping[str, str]]]:
    """The headers of a session's requests, for as long as it lives."""
    # The session has a context of its own, and knows neither the run that opened it nor the run's app.
    app = current_app()
    credentials = _credentials(server, key)

    async def headers() -> Mapping[str, str]:
        with app.entered():
            return {**await credentials(), **await server.extra_headers()}

    return headers


def _credentials(server: McpServer, key: str) -> Callable[[], Awaitable[Mapping[str, str]]]:
    if server.acting_as == "nobody":
        return _none
    if key == "app":
        # In a thread: the app's token may have to be minted.
        return partial(run_in_call_thread, headers_for, "app")
    # The session is this token's, and no other's can be sent in it.
    token = user_token()

    async def of_user() -> Mapping[str, str]:
        if token.expired():
            raise Unauthenticated(EXPIRED)
        return {"Authorization": f"Bearer {token.value}"}

    return of_user


async def _none() -> Mapping[str, str]:
    return {}
