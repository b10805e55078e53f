"""The check of `graph-agent doctor` for the store. It creates nothing."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from graph_agent.app_context import current_app
from graph_agent.commands.check import Check
from graph_agent.errors import AgentError
from graph_agent.settings import Settings
from graph_agent.stores.opening import named_store
from graph_agent.stores.postgres_store import PostgresStore


def store(settings: Settings) -> Iterator[Check]:
    """Check that the store of the settings can be used."""
    try:
        made = named_store(settings, current_app())
        if isinstance(made, PostgresStore):
            yield Check(True, f"store: {asyncio.run(_looked_at(made))}")
        elif made.path is None:
            yield Check(True, "store: memory, which is lost when the service stops")
        else:
            yield _file(made.path)
    except AgentError as error:
        yield Check(False, "store of GRAPH_AGENT_STORE", error.message)


def _file(path: Path) -> Check:
    there = path
    # Folders that do not exist yet are made.
    while not there.exists() and there != there.parent:
        there = there.parent
    lost = ", which is lost with this instance of the app" if os.environ.get("DATABRICKS_APP_NAME") else ""
    return Check(
        os.access(there, os.W_OK),
        f"store: the file {path}{lost}",
        f"make {there} writable for the user of the service, or set GRAPH_AGENT_STORE to another place",
    )


async def _looked_at(store: PostgresStore) -> str:
    try:
        return await store.check()
    finally:
        await store.aclose()
