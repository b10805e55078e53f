"""What an index of the app needs beside itself: the endpoint that embeds questions, and the way to it through Unity
Catalog. Both are found out by looking; neither is told by an error before a user's first search fails."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from graph_agent.deploying.bundle import FILE, Bundle

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.apps import App

OF_DATABRICKS = "databricks-"
"""Endpoints that are called so are there for all users of a workspace."""

EVERYBODY = "account users"

WAYS = (("CATALOG", "USE_CATALOG"), ("SCHEMA", "USE_SCHEMA"))
"""What stands above an index, and what its reader must have of it."""

Answer = TypeVar("Answer")


def index_warnings(client: "WorkspaceClient", bundle: Bundle, *, app: "App | None", deployer: str) -> Iterator[str]:
    """Warnings of what an index of the app lacks; nothing of what the deployer may not see."""
    tables = indexes_of(bundle)
    me = _seen(client.current_user.me) if tables else None
    mine = {deployer, *(one.display or "" for one in (me.groups if me else None) or ())}
    theirs = {EVERYBODY, (app.service_principal_client_id if app else None) or EVERYBODY}
    for table in tables:
        yield from _endpoint(client, bundle, table)
        for level, (kind, privilege) in enumerate(WAYS, start=1):
            above = ".".join(table.split(".")[:level])
            held = _held(client, kind, above)
            if held is None or any(privilege in held.get(one, ()) for one in theirs):
                continue
            if not any("MANAGE" in held.get(one, ()) for one in mine | {EVERYBODY}):
                words = privilege.replace("_", " ")
                yield (
                    f"warning: you do not MANAGE {kind.lower()} {above}, so the app may not get {words} on it, which it"
                    f" needs to read {table}; its owner can grant that, or give you MANAGE"
                )


def indexes_of(bundle: Bundle) -> list[str]:
    """The tables and indexes among the app's resources, as catalog.schema.name."""
    securables = [one.get("uc_securable") for one in bundle.resources.values()]
    tables = [one for one in securables if isinstance(one, dict) and one.get("securable_type") == "TABLE"]
    return [str(one["securable_full_name"]) for one in tables if str(one.get("securable_full_name")).count(".") == 2]


def _endpoint(client: "WorkspaceClient", bundle: Bundle, table: str) -> Iterator[str]:
    index = _seen(lambda: client.vector_search_indexes.get_index(table))
    if index is None:
        # A table, or not for these eyes.
        return
    given = {
        one["serving_endpoint"].get("name")
        for one in bundle.resources.values()
        if isinstance(one.get("serving_endpoint"), dict)
    }
    for endpoint in sorted(_embedding(index) - given):
        if not endpoint.startswith(OF_DATABRICKS):
            yield (
                f"warning: index {table} is asked through the serving endpoint {endpoint}, which is no resource of the"
                f" app; unless the app may query it otherwise, add it to the app's resources in {FILE}:"
                f" {{name: embedding, serving_endpoint: {{name: {endpoint}, permission: CAN_QUERY}}}}"
            )


def _embedding(index: Any) -> set[str]:
    specs = [one for one in (index.delta_sync_index_spec, index.direct_access_index_spec) if one is not None]
    columns = [column for spec in specs for column in spec.embedding_source_columns or ()]
    # The endpoint that embeds questions may be another than the one that embedded the documents.
    named = (column.model_endpoint_name_for_query or column.embedding_model_endpoint_name for column in columns)
    return {name for name in named if name}


def _held(client: "WorkspaceClient", kind: str, name: str) -> dict[str, Collection[str]] | None:
    """Who holds what of it, inherited privileges included."""
    found = _seen(lambda: client.grants.get_effective(kind, name))
    if found is None:
        return None
    return {
        one.principal or "": {each.privilege.value for each in one.privileges or () if each.privilege is not None}
        for one in found.privilege_assignments or ()
    }


def _seen(look: Callable[[], Answer]) -> Answer | None:
    from databricks.sdk.errors.base import DatabricksError

    try:
        return look()
    except (DatabricksError, OSError, TimeoutError):
        return None
