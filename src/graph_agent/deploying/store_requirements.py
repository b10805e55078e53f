"""Checks where the deployed app keeps responses and conversations."""

from collections.abc import Iterator

from graph_agent.databricks.lakebase import is_endpoint
from graph_agent.deploying.app_file import AppFile
from graph_agent.deploying.bundle import FILE, Bundle

STORE = "GRAPH_AGENT_STORE"

POSTGRES_RESOURCE = "{name: postgres, postgres: {branch: …, database: …, permission: CAN_CONNECT_AND_CREATE}}"


def store_warnings(bundle: Bundle, app: AppFile) -> Iterator[str]:
    """Warnings about a store that the app would lose, or could not use."""
    databases = [name for name, resource in bundle.resources.items() if "postgres" in resource]
    value = app.environment.get(STORE)
    if value is None and STORE not in app.hidden:
        if databases:
            yield f"warning: {STORE} is not set, so the app does not use its resource {databases[0]}: use valueFrom"
        else:
            yield (
                f"{STORE} is not set: stored conversations are in a file that is lost when the app restarts; to keep"
                f" them, add a postgres resource and set {STORE} to it with valueFrom"
            )
    elif value is not None and is_endpoint(value) and not databases:
        yield (
            f"warning: {STORE} is a Lakebase endpoint, but the app has no postgres resource, so its service principal"
            f" may have no role there; add to the app's resources in {FILE}: {POSTGRES_RESOURCE}"
        )
