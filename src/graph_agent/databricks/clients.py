"""The shared Databricks clients: one per process and identity; whose token a call carries is decided per call."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from graph_agent.acting import user_token
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

RETRY_SECONDS = 20
"""Bound on the SDK's own retries; its default of 300 s would block a start on a dead host for minutes."""

Actor = Literal["app", "user"]
"""Whose permissions a call uses."""


@cache
def settings() -> Settings:
    """The settings graph code sees, in the service and in LangGraph Studio alike; read once, on first use."""
    return Settings.from_environment()


def actor(acting_as: Actor | None = None) -> Actor:
    """Who a call acts as: what was asked for, else what `GRAPH_AGENT_AUTHORIZATION` says."""
    if acting_as is not None:
        return acting_as
    return "app" if settings().authorization == "app" else "user"


def client_for(acting_as: Actor | None = None) -> "WorkspaceClient":
    """The shared client of that actor. Its first construction makes calls: do it off the event loop."""
    return workspace_client() if actor(acting_as) == "app" else get_user_workspace_client()


@cache
def workspace_client() -> "WorkspaceClient":
    """The app's own client. Its construction asks the workspace for its configuration: call it off the event loop."""
    # Late: the SDK takes two seconds to import, and a graph file must import nothing heavy.
    from databricks.sdk import WorkspaceClient

    return WorkspaceClient(config=_config())


@cache
def get_user_workspace_client() -> "WorkspaceClient":
    """The client that acts for whoever the current run acts for; for graph authors' own tools.

    One object for all users: each call carries the token of the run it is made in, also from threads that LangGraph
    or `asyncio.to_thread` start. Making it reads the workspace's configuration once, without credentials.

    A call made where there is no user token raises `Unauthenticated`; the app's identity never stands in. Do not give
    this client to `VectorSearchRetrieverTool`, which would replace its identity by the app's in silence; use
    `DocumentSearch`.
    """
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.credentials_provider import CredentialsStrategy

    class PerRequestUser(CredentialsStrategy):
        def auth_type(self) -> str:
            return "graph-agent-user"

        def __call__(self, cfg: "Config") -> Callable[[], dict[str, str]]:
            return user_headers

    app = workspace_client().config
    return WorkspaceClient(config=_config(host=app.host, credentials_strategy=PerRequestUser()))


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


def _config(**kind: Any) -> "Config":
    from databricks.sdk.core import Config

    return Config(http_timeout_seconds=settings().request_seconds, retry_timeout_seconds=RETRY_SECONDS, **kind)
