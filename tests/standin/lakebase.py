"""The Lakebase API of a stand-in workspace, in front of a real PostgreSQL server."""

import secrets
import time
from dataclasses import dataclass, field

from psycopg.sql import SQL, Identifier
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.standin.apps import error
from tests.stores.postgres_server import PostgresServer

ENDPOINT = "projects/shop/branches/main/endpoints/primary"
DATABASE = "databricks_postgres"


@dataclass
class LakebaseApi:
    """One endpoint. Each credential becomes the only password of the role, as if the earlier ones had expired."""

    server: PostgresServer
    role: str = ""
    """The client id of the app's service principal."""

    life_seconds: float = 3600.0
    passwords: list[str] = field(default_factory=list)

    def routes(self) -> list[Route]:
        """Return all routes for `stand_in(more=…)`."""
        return [
            Route("/api/2.0/postgres/credentials", self._credential, methods=["POST"]),
            Route("/api/2.0/postgres/{path:path}", self._endpoint),
        ]

    def create_role(self, role: str) -> None:
        """Give the service principal a role that may create schemas, as the app's resource does."""
        self.role = role
        if not self.server.execute("SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
            self.server.execute(f"CREATE DATABASE {DATABASE}")
        name = Identifier(role)
        self.server.execute(SQL("CREATE ROLE {} LOGIN").format(name))
        self.server.execute(SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(Identifier(DATABASE), name))

    def change_password(self) -> str:
        """Give the role a new password. Open connections stay."""
        password = secrets.token_urlsafe(16)
        self.server.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(self.role), password))
        return password

    async def _credential(self, request: Request) -> Response:
        if (await request.json()).get("endpoint") != ENDPOINT:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        self.passwords.append(await run_in_threadpool(self.change_password))
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.life_seconds))
        return JSONResponse({"token": self.passwords[-1], "expire_time": ends})

    async def _endpoint(self, request: Request) -> Response:
        if request.path_params["path"] != ENDPOINT:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        status = {"endpoint_type": "ENDPOINT_TYPE_READ_WRITE", "current_state": "ACTIVE"}
        return JSONResponse({"name": ENDPOINT, "uid": "ep-1", "status": {**status, "hosts": {"host": "127.0.0.1"}}})
