"""Which identity an MCP server is called with: the key of its sessions, and the headers of a session's requests."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from graph_agent.app_context import current_app
from graph_agent.databricks.clients import actor, headers_for
from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.errors import Unauthenticated
from graph_agent.identity.user_token import EXPIRED, user_token
from graph_agent.threads import run_in_call_thread


def identity(server: McpServer) -> str:
    """The key of the session and the list of tools: a hash of the user's token, `app`, or `nobody`.

    Raises:
        Unauthenticated: the server acts for the user, and there is no token or it has expired.
    """
    if server.acting_as == "nobody":
        return "nobody"
    return user_token().key if actor(server.acting_as) == "user" else "app"


def session_headers(server: McpServer, key: str) -> Callable[[], Awaitable[Mapping[str, str]]]:
    """A function that returns the headers for each request of a session."""
    # A session's task has its own context, without the run that opened it and without the run's app.
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
        # In a thread, as getting a new token for the app is a blocking call.
        return partial(run_in_call_thread, headers_for, "app")
    # Read now: the session belongs to this token, and no later user's token may be sent in it.
    token = user_token()

    async def of_user() -> Mapping[str, str]:
        if token.expired():
            raise Unauthenticated(EXPIRED)
        return {"Authorization": f"Bearer {token.value}"}

    return of_user


async def _none() -> Mapping[str, str]:
    return {}
