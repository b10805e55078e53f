"""The sign-in of the app to a Lakebase database: its host, the app's role there, and short-lived passwords."""

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from graph_agent.app_context import AppContext
from graph_agent.databricks.clients import workspace_client
from graph_agent.errors import AgentError, StoreUnavailable
from graph_agent.threads import run_in_call_thread

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

ENDPOINT = re.compile(r"projects/[^/\s]+/branches/[^/\s]+/endpoints/[^/\s]+")
"""The path of an autoscaling endpoint. `valueFrom` of an app's `postgres` resource yields it."""

DATABASE = "databricks_postgres"
"""The database that every Lakebase branch has."""

PASSWORD_SECONDS = 900.0
"""How long a password is reused. Its life is an hour, but it is checked only when a connection is opened."""

MARGIN_SECONDS = 120.0
"""A password is not used during the last seconds of its life."""

CALL_SECONDS = 15.0
"""The longest wait for an answer of the workspace. The call itself continues, and the next wait joins it."""


def is_endpoint(text: str) -> bool:
    """Whether the text is the path of a Lakebase endpoint."""
    return ENDPOINT.fullmatch(text) is not None


class Lakebase:
    """One endpoint, as the app signs in to it. Calls of the SDK are made in threads, one at a time."""

    def __init__(self, app: AppContext, endpoint: str) -> None:
        self._app = app
        self._endpoint = endpoint
        self._host: str | None = None
        self._user: str | None = None
        self._password: str | None = None
        self._usable_until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def parameters(self) -> dict[str, Any]:
        """The connection parameters, with a password that is valid now.

        The environment wins, because the platform sets `PGHOST` and the others for an app with a `postgres` resource.

        Raises:
            StoreUnavailable: the workspace does not answer or refuses.
        """
        environ = self._app.environ
        self._host = self._host or environ.get("PGHOST")
        self._user = self._user or environ.get("PGUSER")
        if not (self._host and self._user and self._password and time.monotonic() < self._usable_until):
            await self._ask()
        return {
            "host": self._host,
            "port": environ.get("PGPORT") or "5432",
            "dbname": environ.get("PGDATABASE") or DATABASE,
            "user": self._user,
            "password": self._password,
            "sslmode": environ.get("PGSSLMODE") or "require",
        }

    def refused(self) -> None:
        """The database did not accept the password: request another one for the next connection."""
        self._password = None

    async def _ask(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._learn())
        try:
            async with asyncio.timeout(CALL_SECONDS):
                # Shielded: other connections wait for the same call.
                await asyncio.shield(self._asking)
        except TimeoutError:
            raise StoreUnavailable(f"the workspace gave no password for Lakebase within {CALL_SECONDS:g} s") from None

    async def _learn(self) -> None:
        # Connections are opened by tasks of the pool, which belong to no run and so to no app.
        with self._app.entered():
            await run_in_call_thread(self._call)

    def _call(self) -> None:
        """Ask for everything that is missing. Blocks."""
        try:
            client = workspace_client()
            self._host = self._host or self._looked_up(client)
            # On Databricks Apps the role of a service principal is its client id.
            self._user = self._user or client.config.client_id or client.current_user.me().user_name
            asked = time.monotonic()
            credential = client.postgres.generate_database_credential(endpoint=self._endpoint)
        except AgentError as error:
            raise StoreUnavailable(error.message) from None
        except Exception as error:
            # Without the SDK's message, which may quote its configuration.
            raise StoreUnavailable(f"the workspace gave no password for Lakebase: {_reason(error)}") from error
        life = PASSWORD_SECONDS
        if credential.expire_time is not None:
            life = min(life, credential.expire_time.seconds - time.time() - MARGIN_SECONDS)
        self._password, self._usable_until = credential.token, asked + life

    def _looked_up(self, client: "WorkspaceClient") -> str:
        status = client.postgres.get_endpoint(name=self._endpoint).status
        host = status.hosts.host if status is not None and status.hosts is not None else None
        if not host:
            raise StoreUnavailable("the Lakebase endpoint of GRAPH_AGENT_STORE has no host yet")
        return host


def _reason(error: Exception) -> str:
    from databricks.sdk.errors import NotFound, PermissionDenied

    match error:
        case NotFound():
            return "it has no such endpoint; check the path in GRAPH_AGENT_STORE"
        case PermissionDenied():
            return "the app may not use this endpoint; give it the database as a `postgres` resource"
    return type(error).__name__
