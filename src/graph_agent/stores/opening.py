"""Makes the store that the settings name."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from graph_agent.app_context import AppContext
from graph_agent.databricks.lakebase import Lakebase, is_endpoint
from graph_agent.errors import BadSetting
from graph_agent.settings import Settings
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.retention import ExpiringStore
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore
from graph_agent.stores.store import Store

if TYPE_CHECKING:
    from graph_agent.stores.postgres_connection import SignIn

logger = logging.getLogger(__name__)

FILE = "conversations.sqlite"
"""The file in the cache folder."""

SQLITE = "sqlite:"
POSTGRESQL = ("postgresql://", "postgres://")


def open_store(settings: Settings, app: AppContext) -> Store:
    """The store of `GRAPH_AGENT_STORE`. Its `open` connects, and begins to expire idle conversations if the settings
    say so.

    Raises:
        BadSetting: the setting names no kind of store.
    """
    store = named_store(settings, app)
    return ExpiringStore(store, days=settings.retention_days) if settings.retention_days else store


def named_store(settings: Settings, app: AppContext) -> SqliteStore | PostgresStore:
    """The same without expiry.

    Raises:
        BadSetting: the setting names no kind of store.
    """
    named = settings.store
    if named == "memory":
        logger.info("responses and conversations are kept in memory, and are lost when the service stops")
        return MemoryStore()
    if named is None or named.startswith(SQLITE):
        path = settings.cache_dir / FILE if named is None else _path(named)
        if app.environ.get("DATABRICKS_APP_NAME"):
            lost = "which is lost with this instance of the app; set GRAPH_AGENT_STORE to Lakebase to keep them"
            logger.warning("responses and conversations are kept in %s, %s", path, lost)
        else:
            logger.info("responses and conversations are kept in %s", path)
        return SqliteStore(path)
    if is_endpoint(named):
        logger.info("responses and conversations are kept in Lakebase, in the schema %s", settings.store_schema)
        return PostgresStore(lambda: Lakebase(app, named), schema=settings.store_schema)
    if named.startswith(POSTGRESQL):
        logger.info("responses and conversations are kept in PostgreSQL, in the schema %s", settings.store_schema)
        return PostgresStore(lambda: _sign_in(named, app), schema=settings.store_schema)
    raise BadSetting(
        "GRAPH_AGENT_STORE must be memory, sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, or the path of a"
        " Lakebase endpoint, projects/PROJECT/branches/BRANCH/endpoints/ENDPOINT",
        param="GRAPH_AGENT_STORE",
    )


def _path(named: str) -> Path:
    path = named.removeprefix(SQLITE)
    if not path or path.startswith(("//", ":")):
        message = "GRAPH_AGENT_STORE must be sqlite: and the path of a file, such as sqlite:/var/lib/agent.sqlite"
        raise BadSetting(message, param="GRAPH_AGENT_STORE")
    return Path(path).expanduser()


def _sign_in(url: str, app: AppContext) -> "SignIn":
    # Late: imports psycopg.
    from graph_agent.stores.postgres_sign_in import UrlSignIn

    return UrlSignIn(url, app.environ)
