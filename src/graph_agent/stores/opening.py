"""Makes the store that the settings name."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from graph_agent.app_context import AppContext
from graph_agent.databricks.default_model import LOCAL_EMBEDDINGS, is_local
from graph_agent.databricks.lakebase import Lakebase, is_endpoint
from graph_agent.databricks.text_embedder import EndpointEmbedder, endpoint_of
from graph_agent.errors import BadSetting
from graph_agent.settings import Settings, project_digest
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.retention import ExpiringStore
from graph_agent.stores.sql_memories import MemoryOptions
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore
from graph_agent.stores.store import Store

if TYPE_CHECKING:
    from graph_agent.stores.postgres_connection import SignIn

logger = logging.getLogger(__name__)

FILE = "conversations.sqlite"
"""The file in the cache folder, or in the project's own folder there."""

MOVED = (
    "this project has a new store of its own; conversations of earlier versions, of all projects, are in %s: to see "
    "them here, set GRAPH_AGENT_STORE=sqlite:%s"
)

SQLITE = "sqlite:"
POSTGRESQL = ("postgresql://", "postgres://")


def open_store(settings: Settings, app: AppContext) -> Store:
    """The store of `GRAPH_AGENT_STORE`. Its `open` connects, and begins to expire old events, and idle conversations if
    the settings say so.

    Raises:
        BadSetting: the setting names no kind of store.
    """
    return ExpiringStore(
        named_store(settings, app), days=settings.retention_days, event_seconds=settings.event_log_seconds
    )


def named_store(settings: Settings, app: AppContext) -> SqliteStore | PostgresStore:
    """The same without expiry.

    Raises:
        BadSetting: the setting names no kind of store.
    """
    named, memories = settings.store, _memory_options(settings, app)
    if named == "memory":
        logger.info("responses and conversations are kept in memory, and are lost when the service stops")
        return MemoryStore(memories=memories)
    if named is None or named.startswith(SQLITE):
        path = default_file(settings) if named is None else _path(named)
        if app.environ.get("DATABRICKS_APP_NAME"):
            lost = "which is lost with this instance of the app; set GRAPH_AGENT_STORE to Lakebase to keep them"
            logger.warning("responses and conversations are kept in %s, %s", path, lost)
        else:
            logger.info("responses and conversations are kept in %s", path)
            shared = settings.cache_dir / FILE
            if named is None and shared.exists() and not path.exists():
                logger.warning(MOVED, shared, shared)
        return SqliteStore(path, memories=memories)
    if is_endpoint(named):
        logger.info("responses and conversations are kept in Lakebase, in the schema %s", settings.store_schema)
        return PostgresStore(lambda: Lakebase(app, named), schema=settings.store_schema, memories=memories)
    if named.startswith(POSTGRESQL):
        logger.info("responses and conversations are kept in PostgreSQL, in the schema %s", settings.store_schema)
        return PostgresStore(lambda: _sign_in(named, app), schema=settings.store_schema, memories=memories)
    raise BadSetting(
        "GRAPH_AGENT_STORE must be memory, sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, or the path of a"
        " Lakebase endpoint, projects/PROJECT/branches/BRANCH/endpoints/ENDPOINT",
        param="GRAPH_AGENT_STORE",
    )


def default_file(settings: Settings) -> Path:
    """The SQLite file of a project without `GRAPH_AGENT_STORE`. Projects do not see each other's conversations.

    A service whose graphs come from code may have no `langgraph.json`. All of those share one file.
    """
    if not settings.config.is_file():
        return settings.cache_dir / FILE
    return settings.cache_dir / "projects" / project_digest(settings.config.parent) / FILE


def _memory_options(settings: Settings, app: AppContext) -> MemoryOptions:
    named = settings.embeddings or (LOCAL_EMBEDDINGS if is_local(app) else None)
    if named is None:
        logger.info("memories are found by their words; set GRAPH_AGENT_EMBEDDINGS to find them by their meaning")
        return MemoryOptions(most=settings.max_memories)
    logger.info("memories are found by their meaning, with %s", named)
    return MemoryOptions(embedder=EndpointEmbedder(app, endpoint_of(named)), most=settings.max_memories)


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
