"""Makes the store that the settings name."""

import logging
from pathlib import Path

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.settings import Settings
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore
from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

FILE = "conversations.sqlite"
"""The file in the cache folder."""

SQLITE = "sqlite:"


def open_store(settings: Settings, app: AppContext) -> Store:
    """The store of `GRAPH_AGENT_STORE`. Its `open` connects.

    Raises:
        BadSetting: the setting names no kind of store.
    """
    named = settings.store
    if named == "memory":
        logger.info("responses and conversations are kept in memory, and are lost when the service stops")
        return MemoryStore()
    if named is None or named.startswith(SQLITE):
        path = settings.cache_dir / FILE if named is None else Path(named.removeprefix(SQLITE)).expanduser()
        lost = ", which is lost with this instance of the app" if app.environ.get("DATABRICKS_APP_NAME") else ""
        logger.info("responses and conversations are kept in %s%s", path, lost)
        return SqliteStore(path)
    if named.startswith(("postgresql://", "postgres://", "projects/")):
        raise BadSetting("this version has no PostgreSQL store yet", param="GRAPH_AGENT_STORE")
    raise BadSetting(
        "GRAPH_AGENT_STORE must be memory, sqlite:PATH, postgresql://… or projects/…/endpoints/…",
        param="GRAPH_AGENT_STORE",
    )
