"""The shared Databricks clients, one per app and kind of identity. Each call takes the token of its own run."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from graph_agent.app_context import PerApp, current_app, current_settings
from graph_agent.databricks.cookies import reject_cookies
from graph_agent.databricks.retry_after import long_wait_of
from graph_agent.errors import AgentError, WorkspaceUnavailable
from graph_agent.identity.user_token import user_token
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.threads import run_in_call_thread

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

RETRY_SECONDS = 20
"""Limit for the SDK's own retries of a call. Its default is 300 s."""

MAKING_SECONDS = 10
"""Limit for each call made while a client is created, retries included. By default a dead host blocks it for 300 s.

With this limit creating a client fails after 12 s, whether nothing listens or the host is silent (measured).
"""

NO_WORKSPACE = (
    "the Databricks workspace cannot be reached, or does not accept the app's credentials: check DATABRICKS_HOST, "
    "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET (or DATABRICKS_TOKEN), or sign in with `databricks auth login`"
)

Actor = Literal["app", "user"]
"""Whose permissions a call uses."""


def actor(acting_as: Actor | None = None) -> Actor:
    """The identity of a call: `acting_as` if given, else `GRAPH_AGENT_AUTHORIZATION`."""
    if acting_as is not None:
        return acting_as
    return "app" if current_settings().authorization == "app" else "user"


def client_for(acting_as: Actor | None = None) -> "WorkspaceClient":
    """The shared client of that actor. The first use makes calls: do it off the event loop."""
    return workspace_client() if actor(acting_as) == "app" else get_user_workspace_client()


def workspace_client() -> "WorkspaceClient":
    """The client with the app's own identity, one for each `AppContext`.

    The first use asks the workspace for its configuration: do it off the event loop.

    Raises:
        WorkspaceUnavailable: no workspace is configured, it cannot be reached, or it refuses the credentials.
    """
    return _OF_APP()


def get_user_workspace_client() -> "WorkspaceClient":
    """The client that acts for the user of the current run; for graph authors' own tools.

    One object serves all users of an app: each call carries the token of its run, also from threads that LangGraph or
    `asyncio.to_thread` start. Creating it reads the workspace's configuration once, without credentials.

    A call without a user token raises `Unauthenticated`; the app's identity is never used instead. Do not pass this
    client to `VectorSearchRetrieverTool`, which would silently replace its identity with the app's; use
    `DocumentSearch`.
    """
    return _OF_USERS()


def user_headers() -> dict[str, str]:
    """The authorization header of the current run's user.

    Raises:
        Unauthenticated: there is no token, or it has expired.
    """
    return {"Authorization": f"Bearer {user_token().value}"}


def headers_for(acting_as: Actor | None = None) -> Mapping[str, str]:
    """The authorization header of that actor. For the app it may request a token: call it off the event loop.

    Raises:
        Unauthenticated: acting for a user, and there is no token or it has expired.
    """
    return user_headers() if actor(acting_as) == "user" else workspace_client().config.authenticate()


async def sign_in() -> None:
    """Make sure, off the event loop, that the app has a token for the next call. Requesting one is a blocking call.

    Raises:
        WorkspaceUnavailable: the workspace does not accept the app's credentials, or does not answer.
    """
    client = workspace_client() if _OF_APP.ready else await run_in_call_thread(workspace_client)
    try:
        await run_in_call_thread(client.config.authenticate)
    except Exception as error:
        raise WorkspaceUnavailable(NO_WORKSPACE) from error


async def check_sign_in() -> None:
    """Check that the app still has a token, if it has a client with one. A token that is valid is not requested again.

    Raises:
        WorkspaceUnavailable: the workspace does not accept the app's credentials any more, or does not answer.
    """
    if _OF_APP.ready:
        await sign_in()


def _refuse_long_wait(response: Any, *_: Any, **__: Any) -> None:
    if said := long_wait_of(response):
        # The body was not read, and an open response keeps its connection out of the pool.
        response.close()
        raise WorkspaceUnavailable(f"the Databricks workspace {said}")


def _of_users() -> "WorkspaceClient":
    with IMPORT_LOCK:
        from databricks.sdk.credentials_provider import CredentialsStrategy

    class PerRequestUser(CredentialsStrategy):
        def auth_type(self) -> str:
            return "graph-agent-user"

        def __call__(self, cfg: "Config") -> Callable[[], dict[str, str]]:
            return user_headers

    return _made(host=workspace_client().config.host, credentials_strategy=PerRequestUser())


def _made(**kind: Any) -> "WorkspaceClient":
    # Late: the SDK takes two seconds to import, and importing a graph file must stay cheap.
    with IMPORT_LOCK:
        from databricks.sdk import WorkspaceClient

    silence = current_settings().request_seconds
    try:
        config = _config(
            http_timeout_seconds=min(silence, MAKING_SECONDS), retry_timeout_seconds=MAKING_SECONDS, **kind
        )
        # From here on the limits of ordinary calls.
        config.http_timeout_seconds, config.retry_timeout_seconds = silence, RETRY_SECONDS
        client = WorkspaceClient(config=config)
        # All users share its `requests` session.
        session = client.api_client._api_client._session
        reject_cookies(session.cookies)
        session.hooks["response"].append(_refuse_long_wait)
        return client
    except AgentError:
        raise
    except Exception as error:
        # Without the SDK's message, which lists its configuration.
        raise WorkspaceUnavailable(NO_WORKSPACE) from error


def _config(**given: Any) -> "Config":
    """The workspace and its credentials from the app's environment."""
    environ = current_app().environ
    kind: Callable[..., Config]
    with IMPORT_LOCK:
        if environ is os.environ:
            from databricks.sdk.core import Config as kind
        else:
            from graph_agent.databricks.environ_config import EnvironConfig

            kind = partial(EnvironConfig, environ)
    # Outside of the lock: it asks the workspace, and a dead host must not hold up the imports of others.
    return kind(**given)


def _close(client: "WorkspaceClient") -> None:
    client.api_client._api_client._session.close()


_OF_APP = PerApp(_made, close=_close)
_OF_USERS = PerApp(_of_users, close=_close)
