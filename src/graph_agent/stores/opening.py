"""Makes the store that the settings name."""

import logging
from pathlib import Path

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.settings import Settings
from graph_agent.stores.retention import ExpiringStore
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore
from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

FILE = "conversations.sqlite"
"""The file in the cache folder."""

SQLITE = "sqlite:"


def open_store(settings: Settings, app: AppContext) -> Store:
    """The store of `GRAPH_AGENT_STORE`. Its `open` connects, and begins to expire idle conversations if the settings
    say so.

    Raises:
        BadSetting: the setting names no kind of store.
    """
    store = _named(settings, app)
    return ExpiringStore(store, days=settings.retention_days) if settings.retention_days else store


def _named(settings: Settings, app: AppContext) -> Store:
    named = settings.store
    if named == "memory":
        logger.info("responses and conversations are kept in memory, and are lost when the service stops")
        return MemoryStore()
    if named is None or named.startswith(SQLITE):
        path = settings.cache_dir / FILE if named is None else _path(named)
        lost = ", which is lost with this instance of the app" if app.environ.get("DATABRICKS_APP_NAME") else ""
        logger.info("responses and conversations are kept in %s%s", path, lost)
        return SqliteStore(path)
    if named.startswith(("postgresql://", "postgres://", "projects/")):
        raise BadSetting("this version has no PostgreSQL store yet", param="GRAPH_AGENT_STORE")
    raise BadSetting(
        "GRAPH_AGENT_STORE must be memory, sqlite:PATH, postgresql://… or projects/…/endpoints/…",
        param="GRAPH_AGENT_STORE",
    )


def _path(named: str) -> Path:
    path = named.removeprefix(SQLITE)
    if not path or path.startswith(("//", ":")):
        raise BadSetting("GRAPH_AGENT_STORE must be sqlite: and the path of a file", param="GRAPH_AGENT_STORE")
    return Path(path).expanduser()
