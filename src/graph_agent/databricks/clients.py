"""The shared Databricks clients: one per app and identity; whose token a call carries is decided per call."""

import os
from collections.abc import Callable, Mapping
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
"""Bound on the SDK's own retries of a call; its default is 300 s."""

MAKING_SECONDS = 10
"""Bound on each call that making a client takes, retries included; by default a dead host holds it up for 300 s.

Making one then gives up after 12 s, whether nothing listens or the host is silent (measured).
"""

NO_WORKSPACE = (
    "the Databricks workspace cannot be reached, or does not accept the app's credentials: check DATABRICKS_HOST, "
    "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET (or DATABRICKS_TOKEN)"
)

Actor = Literal["app", "user"]
"""Whose permissions a call uses."""


def actor(acting_as: Actor | None = None) -> Actor:
    """Who a call acts as: what was asked for, else what `GRAPH_AGENT_AUTHORIZATION` says."""
    if acting_as is not None:
        return acting_as
    return "app" if current_settings().authorization == "app" else "user"


def client_for(acting_as: Actor | None = None) -> "WorkspaceClient":
    """The shared client of that actor. Its first construction makes calls: do it off the event loop."""
    return workspace_client() if actor(acting_as) == "app" else get_user_workspace_client()


def workspace_client() -> "WorkspaceClient":
    """The app's own client, one for each `AppContext`.

    Making it asks the workspace for its configuration: call it off the event loop.

    Raises:
        WorkspaceUnavailable: nothing says which workspace, it cannot be reached, or it refuses the credentials.
    """
    return _OF_APP()


def get_user_workspace_client() -> "WorkspaceClient":
    """The client that acts for whoever the current run acts for; for graph authors' own tools.

    One object for all users of an app: each call carries the token of the run it is made in, also from threads that
    LangGraph or `asyncio.to_thread` start. Making it reads the workspace's configuration once, without credentials.

    A call made where there is no user token raises `Unauthenticated`; the app's identity never stands in. Do not give
    this client to `VectorSearchRetrieverTool`, which would replace its identity by the app's in silence; use
    `DocumentSearch`.
    """
    return _OF_USERS()


def user_headers() -> dict[str, str]:
    """The authorization header of the user the current run acts for.

    Raises:
        Unauthenticated: there is no token, or it has expired.
    """
    return {"Authorization": f"Bearer {user_token().value}"}


def headers_for(acting_as: Actor | None = None) -> Mapping[str, str]:
    """The authorization header of that actor; for the app it may mint a token: call it off the event loop.

    Raises:
        Unauthenticated: acting for a user, and there is no token or it has expired.
    """
    return user_headers() if actor(acting_as) == "user" else workspace_client().config.authenticate()


async def sign_in() -> None:
    """Makes sure, off the event loop, that the app has a token for the next call: minting one is a blocking call.

    Raises:
        WorkspaceUnavailable: the workspace does not accept the app's credentials, or does not answer.
    """
    client = workspace_client() if _OF_APP.ready else await run_in_call_thread(workspace_client)
    try:
        await run_in_call_thread(client.config.authenticate)
    except Exception as error:
        raise WorkspaceUnavailable(NO_WORKSPACE) from error


def _refuse_long_wait(response: Any, *_: Any, **__: Any) -> None:
    if said := long_wait_of(response):
        # It has not been read, and would keep its connection.
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
    # Late: the SDK takes two seconds to import, and a graph file must import nothing heavy.
    with IMPORT_LOCK:
        from databricks.sdk import WorkspaceClient

    silence = current_settings().request_seconds
    try:
        config = _config(
            http_timeout_seconds=min(silence, MAKING_SECONDS), retry_timeout_seconds=MAKING_SECONDS, **kind
        )
        config.http_timeout_seconds, config.retry_timeout_seconds = silence, RETRY_SECONDS
        client = WorkspaceClient(config=config)
        # Its `requests` session is shared by all users.
        session = client.api_client._api_client._session
        reject_cookies(session.cookies)
        session.hooks["response"].append(_refuse_long_wait)
        return client
    except AgentError:
        raise
    except Exception as error:
        # The SDK's exceptions list its configuration.
        raise WorkspaceUnavailable(NO_WORKSPACE) from error


def _config(**given: Any) -> "Config":
    """What the app's environment says of the workspace and of the credentials for it."""
    environ = current_app().environ
    with IMPORT_LOCK:
        if environ is os.environ:
            from databricks.sdk.core import Config

            return Config(**given)
        from graph_agent.databricks.environ_config import EnvironConfig

    return EnvironConfig(environ, **given)


def _close(client: "WorkspaceClient") -> None:
    client.api_client._api_client._session.close()


_OF_APP = PerApp(_made, close=_close)
_OF_USERS = PerApp(_of_users, close=_close)
