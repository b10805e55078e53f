"""`graph-agent grant-store ROLE`: what the role of a deployed app needs in the store's database."""

import argparse
import asyncio
import os
from urllib.parse import unquote, urlsplit

from graph_agent.app_context import AppContext, current_app
from graph_agent.databricks.lakebase import DATABASE, is_endpoint
from graph_agent.errors import BadSetting
from graph_agent.settings import Settings
from graph_agent.stores.opening import named_store
from graph_agent.stores.postgres_store import PostgresStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the role, and whether to grant."""
    parser.add_argument(
        "role", metavar="ROLE", help="client id of the app's service principal, or the name of a PostgreSQL role"
    )
    parser.add_argument("--apply", action="store_true", help="grant it now; without this only print the statements")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    settings = Settings.from_environment()
    with AppContext(settings).entered():
        store = named_store(settings, current_app())
        if not isinstance(store, PostgresStore):
            raise BadSetting(
                "the store is no database; set GRAPH_AGENT_STORE to the path of a Lakebase endpoint, or to a"
                " postgresql:// URL",
                param="GRAPH_AGENT_STORE",
            )
        if options.apply:
            for statement in asyncio.run(_granted(store, options.role)):
                print(f"done: {statement}")
            return 0
    # Late: imports psycopg.
    from graph_agent.stores.postgres_access import grants

    needed = grants(options.role, database=_database(settings.store or ""), schema=settings.store_schema, exists=True)
    print(f"{needed[0]};")
    print(f"-- Only if the schema {settings.store_schema} exists already, and the role does not own it:")
    for statement in needed[1:]:
        print(f"{statement};")
    return 0


async def _granted(store: PostgresStore, role: str) -> list[str]:
    try:
        return await store.grant(role)
    finally:
        await store.aclose()


def _database(named: str) -> str:
    """The name of the store's database."""
    default = os.environ.get("PGDATABASE")
    if is_endpoint(named):
        return default or DATABASE
    return unquote(urlsplit(named).path.lstrip("/")) or default or "postgres"
