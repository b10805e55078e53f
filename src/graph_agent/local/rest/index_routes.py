"""Vector Search and Unity Catalog routes for the local indexes: delta-sync indexes with managed embeddings."""

import asyncio
import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.local.index.index import Hit, Index, QueryType
from graph_agent.local.index.local_indexes import NAME
from graph_agent.local.rest.access import host
from graph_agent.local.rest.http import (
    ApiError,
    bad_request,
    json_object,
    json_response,
    number,
    optional_text,
    parsed_object,
    refuse_fields,
    texts,
    whole_number,
)

VECTOR_SEARCH_ENDPOINT = "local"
PAGE_ROWS = 100
"""Results in one answer. More are paged, as in Vector Search."""

MOST_RESULTS = 10_000
MOST_NAMES = 20
"""Index names that an error message lists."""

MOST_MAGNITUDE = 1e15
"""Largest absolute value in a query vector. The sum of 384 squares still fits single precision."""

# Fields of the real API that change which results come back.
NOT_SERVED = ("filter_string", "reranker", "columns_to_rerank", "query_columns", "sort_columns", "facets")

COLUMN_COMMENTS: Mapping[str, tuple[str, str]] = {
    "chunk_id": ("STRING", "Identifies the passage"),
    "doc_uri": ("STRING", "The document's path and the section in it, as path#anchor"),
    "title": ("STRING", "The headings above the passage, the document's title first"),
    "text": ("STRING", "The passage"),
    "position": ("INT", "Place of the passage in its document, from 0"),
}


class IndexRoutes:
    """Routes for the indexes, by three-level name."""

    def __init__(self, indexes: Mapping[str, Index], *, embedding_endpoint: str, user: str) -> None:
        self._indexes = indexes
        self._embedding_endpoint = embedding_endpoint
        self._user = user

    def routes(self) -> list[Route]:
        index = "/api/2.0/vector-search/indexes/{name}"
        return [
            Route(index, self._describe),
            Route(f"{index}/query", self._query, methods=["GET", "POST"]),
            Route(f"{index}/query-next-page", self._next_page, methods=["GET", "POST"]),
            Route("/api/2.1/unity-catalog/tables/{name}", self._table),
        ]

    async def _describe(self, request: Request) -> Response:
        name, index = await self._named(request)
        rows = await asyncio.to_thread(len, index)
        return json_response(self._description(name, rows, host(request)))

    async def _query(self, request: Request) -> Response:
        _, index = await self._named(request)
        return json_response(await asyncio.to_thread(page, index, await json_object(request), 0))

    async def _next_page(self, request: Request) -> Response:
        _, index = await self._named(request)
        body, start = opened_token((await json_object(request)).get("page_token"))
        return json_response(await asyncio.to_thread(page, index, body, start))

    async def _table(self, request: Request) -> Response:
        name, _ = await self._named(request)
        catalog, _, rest = name.partition(".")
        schema, _, table = rest.partition(".")
        return json_response(
            {"name": table, "catalog_name": catalog, "schema_name": schema, "full_name": name, "columns": columns()}
        )

    async def _named(self, request: Request) -> tuple[str, Index]:
        name = request.path_params["name"]
        # In a thread, because the first access opens the index, and migrates an older one.
        index = await asyncio.to_thread(self._indexes.get, name)
        if index is None:
            raise no_such_index(name, await asyncio.to_thread(list, self._indexes))
        return name, index

    def _description(self, name: str, rows: int, workspace: str) -> dict[str, Any]:
        source = {"name": "text", "embedding_model_endpoint_name": self._embedding_endpoint}
        spec = {"source_table": f"{name}_passages", "pipeline_type": "TRIGGERED", "embedding_source_columns": [source]}
        # The client of a service principal queries this URL and not the one of the workspace.
        url = f"{workspace}/api/2.0/vector-search/indexes/{name}"
        state = "ONLINE_NO_PENDING_UPDATE"
        return {
            "name": name,
            "id": name,
            "endpoint_name": VECTOR_SEARCH_ENDPOINT,
            "primary_key": "chunk_id",
            "index_type": "DELTA_SYNC",
            "delta_sync_index_spec": spec,
            "status": {"index_url": url, "ready": True, "detailed_state": state, "indexed_row_count": rows},
            "creator": self._user,
        }


def no_such_index(name: str, names: Sequence[str]) -> ApiError:
    """A 404 whose message `databricks.index_errors` recognizes and passes on."""
    there = ", ".join(sorted(names)[:MOST_NAMES]) or "none"
    given = name if NAME.fullmatch(name) else "catalog.schema.index"
    return ApiError(
        404,
        f"The local workspace has no such index. There are: {there}. "
        f"To make one: graph-agent index --name {given} PATH",
    )


def columns() -> list[dict[str, Any]]:
    return [
        {"name": name, "type_name": kind, "type_text": kind.lower(), "position": position, "comment": comment}
        for position, (name, (kind, comment)) in enumerate(COLUMN_COMMENTS.items())
    ]


def page(index: Index, body: Mapping[str, Any], start: int) -> dict[str, Any]:
    """Up to `PAGE_ROWS` results from `start` on, and the token of the next page if there are more."""
    began = time.perf_counter()
    names = known_columns(body)
    wanted = whole_number(body, "num_results", default=10, least=1, most=MOST_RESULTS)
    # One more than the page has, which tells whether there is a next page.
    hits = search(index, body, count=min(wanted, start + PAGE_ROWS + 1))
    rows = [row(hit, names) for hit in hits[start : start + PAGE_ROWS]]
    more = min(len(hits), wanted) > start + PAGE_ROWS
    manifest = [{"name": name} for name in (*names, "score")]
    return {
        "manifest": {"column_count": len(manifest), "columns": manifest},
        "result": {"row_count": len(rows), "data_array": rows},
        "next_page_token": sealed_token(body, start + PAGE_ROWS) if more else "",
        "debug_info": {"response_time": (time.perf_counter() - began) * 1000},
    }


def search(index: Index, body: Mapping[str, Any], *, count: int) -> list[Hit]:
    refuse_fields(body, NOT_SERVED)
    return index.search(
        optional_text(body, "query_text"),
        vector=query_vector(body),
        k=count,
        query_type=query_type(body),
        filters=parsed_object(optional_text(body, "filters_json") or "{}", "'filters_json'"),
        min_score=number(body, "score_threshold", default=0.0),
    )


def known_columns(body: Mapping[str, Any]) -> list[str]:
    names = texts(body, "columns")
    for name in names:
        if name not in COLUMN_COMMENTS:
            raise bad_request(f"There is no column '{name}'; use one of: {', '.join(COLUMN_COMMENTS)}.")
    return names


def query_type(body: Mapping[str, Any]) -> QueryType:
    given = (optional_text(body, "query_type") or "ANN").upper()
    for known in get_args(QueryType):
        if given == known:
            return known  # type: ignore[no-any-return]
    raise bad_request(f"'query_type' must be one of {', '.join(get_args(QueryType))}.")


def query_vector(body: Mapping[str, Any]) -> list[float] | None:
    value = body.get("query_vector")
    if value is None:
        return None
    if isinstance(value, list) and all(is_coordinate(item) for item in value):
        return value
    raise bad_request(f"'query_vector' must be a list of numbers of at most {MOST_MAGNITUDE} in absolute value.")


def is_coordinate(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= MOST_MAGNITUDE


def row(hit: Hit, names: Sequence[str]) -> list[Any]:
    values = asdict(hit.chunk)
    return [*(values[name] for name in names), hit.score]


def sealed_token(body: Mapping[str, Any], start: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"body": body, "start": start})).decode()


def opened_token(token: Any) -> tuple[dict[str, Any], int]:
    """The query in a page token, and where its page starts. Callers can change a token, so it is checked."""
    if not isinstance(token, str):
        raise bad_request("'page_token' must be a string.")
    try:
        sealed = parsed_object(base64.b64decode(token, altchars=b"-_", validate=True), "'page_token'")
    except (binascii.Error, ValueError) as error:
        raise bad_request("'page_token' must be the next_page_token of an earlier answer.") from error
    body = sealed.get("body")
    if not isinstance(body, dict):
        raise bad_request("'page_token' must be the next_page_token of an earlier answer.")
    return body, whole_number(sealed, "start", default=0, least=0, most=MOST_RESULTS)
