"""What an index of the app needs besides itself: the endpoint that embeds questions, and the privileges on the catalog
and schema above it. Both are looked up here, because otherwise nothing fails before a user's first search."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from graph_agent.deploying.bundle import FILE, Bundle

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.apps import App

OF_DATABRICKS = "databricks-"
"""The prefix of endpoints that Databricks provides. All users of a workspace may query them."""

EVERYBODY = "account users"
"""The group that Unity Catalog's privileges for everyone are granted to."""

PARENTS = (("CATALOG", "USE_CATALOG"), ("SCHEMA", "USE_SCHEMA"))
"""The securables above an index, and the privilege that a reader needs on each."""

Answer = TypeVar("Answer")


def index_warnings(client: "WorkspaceClient", bundle: Bundle, *, app: "App | None", deployer: str) -> Iterator[str]:
    """Warnings about what the app's indexes lack. What the deployer may not see is skipped."""
    tables = indexes_of(bundle)
    me = _seen(client.current_user.me) if tables else None
    mine = {deployer, *(one.display or "" for one in (me.groups if me else None) or ())}
    theirs = {EVERYBODY, (app.service_principal_client_id if app else None) or EVERYBODY}
    for table in tables:
        yield from _endpoint(client, bundle, table)
        for level, (kind, privilege) in enumerate(PARENTS, start=1):
            above = ".".join(table.split(".")[:level])
            held = _held(client, kind, above)
            if held is None or any(privilege in held.get(one, ()) for one in theirs):
                continue
            # With MANAGE, the platform grants it on the deployer's behalf when the app gets the index as a resource.
            if not any("MANAGE" in held.get(one, ()) for one in mine | {EVERYBODY}):
                words = privilege.replace("_", " ")
                yield (
                    f"warning: you do not have MANAGE on {kind.lower()} {above}, so the app may not get {words} on it,"
                    f" which it needs to read {table}; ask the owner to grant that, or to give you MANAGE"
                )


def indexes_of(bundle: Bundle) -> list[str]:
    """The tables and indexes among the app's resources, each once, as `catalog.schema.name`."""
    securables = [one.get("uc_securable") for one in bundle.resources.values()]
    tables = [one for one in securables if isinstance(one, dict) and one.get("securable_type") == "TABLE"]
    names = [str(one.get("securable_full_name")) for one in tables]
    # Two resources may name one index, such as one for reading and one for writing.
    return list(dict.fromkeys(name for name in names if name.count(".") == 2))


def _endpoint(client: "WorkspaceClient", bundle: Bundle, table: str) -> Iterator[str]:
    index = _seen(lambda: client.vector_search_indexes.get_index(table))
    if index is None:
        # It is a table, or the deployer may not see it.
        return
    given = {
        one["serving_endpoint"].get("name")
        for one in bundle.resources.values()
        if isinstance(one.get("serving_endpoint"), dict)
    }
    for endpoint in sorted(_embedding(index) - given):
        if not endpoint.startswith(OF_DATABRICKS):
            yield (
                f"warning: searches of index {table} use the serving endpoint {endpoint}, which is not a resource of"
                f" the app; unless the app has another right to query it, add it to the app's resources in {FILE}:"
                f" {{name: embedding, serving_endpoint: {{name: {endpoint}, permission: CAN_QUERY}}}}"
            )


def _embedding(index: Any) -> set[str]:
    specs = [one for one in (index.delta_sync_index_spec, index.direct_access_index_spec) if one is not None]
    columns = [column for spec in specs for column in spec.embedding_source_columns or ()]
    # The endpoint that embeds questions may differ from the one that embedded the documents.
    named = (column.model_endpoint_name_for_query or column.embedding_model_endpoint_name for column in columns)
    return {name for name in named if name}


def _held(client: "WorkspaceClient", kind: str, name: str) -> dict[str, Collection[str]] | None:
    """The privileges by principal, including inherited ones. `None` if they cannot be read."""
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
