"""Vector Search and Unity Catalog routes over a few passages. A search finds the passages that share words with it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEY = "chunk_id"
TEXT = "text"
_WORD = re.compile(r"\w+")

Row = Mapping[str, Any]


class PassageRoutes:
    """Indexes by their three-level names, each a sequence of passages.

    A passage is a text, or a row with `text` and any other columns. Missing columns `chunk_id`, `doc_uri` and
    `title` are filled. A search returns every row that shares a word with the query, the best first. It supports
    filters for equality. A query without a text returns all rows in their order.
    """

    def __init__(self, indexes: Mapping[str, Sequence[str | Row]]) -> None:
        self._indexes = {name: [_row(passage, at) for at, passage in enumerate(of, 1)] for name, of in indexes.items()}

    def routes(self) -> list[Route]:
        index = "/api/2.0/vector-search/indexes/{name}"
        return [
            Route(index, self._describe),
            Route(f"{index}/query", self._query, methods=["GET", "POST"]),
            Route("/api/2.1/unity-catalog/tables/{name}", self._table),
        ]

    async def _describe(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._indexes:
            return missing(f"Index '{name}'")
        source = {"name": TEXT, "embedding_model_endpoint_name": "embedder"}
        return JSONResponse(
            {
                "name": name,
                "endpoint_name": "fake",
                "primary_key": KEY,
                "index_type": "DELTA_SYNC",
                "delta_sync_index_spec": {
                    "source_table": f"{name}_table",
                    "pipeline_type": "TRIGGERED",
                    "embedding_source_columns": [source],
                },
                # The SDK sends the queries of a service principal to this URL instead of the workspace's.
                "status": {"index_url": str(request.url), "ready": True, "detailed_state": "ONLINE"},
            }
        )

    async def _query(self, request: Request) -> Response:
        name = request.path_params["name"]
        rows = self._indexes.get(name)
        if rows is None:
            return missing(f"Index '{name}'")
        body = await request.json()
        columns = body.get("columns") or [KEY, TEXT]
        if unknown := [column for column in columns if not any(column in row for row in rows)]:
            return refused(400, f"No column named {', '.join(unknown)}.")
        filters = json.loads(body.get("filters_json") or "{}")
        found = _found(rows, body.get("query_text") or "", filters)[: body.get("num_results", 10)]
        manifest = [{"name": column} for column in (*columns, "score")]
        data = [[*(row.get(column) for column in columns), score] for score, row in found]
        return JSONResponse(
            {
                "manifest": {"column_count": len(manifest), "columns": manifest},
                "result": {"row_count": len(data), "data_array": data},
                "next_page_token": "",
            }
        )

    async def _table(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._indexes:
            return missing(f"Table '{name}'")
        columns = list(dict.fromkeys(column for row in self._indexes[name] for column in row))
        described = [{"name": one, "type_name": "STRING", "position": at} for at, one in enumerate(columns)]
        return JSONResponse({"full_name": name, "name": name.rpartition(".")[2], "columns": described})


def missing(what: str) -> Response:
    """Return a 404 in the words of Databricks."""
    return refused(404, f"{what} does not exist.", code="RESOURCE_DOES_NOT_EXIST")


def refused(status: int, message: str, *, code: str = "BAD_REQUEST") -> Response:
    """Return an error in the format of Databricks."""
    return JSONResponse({"error_code": code, "message": message}, status)


def _row(passage: str | Row, place: int) -> dict[str, Any]:
    given = {TEXT: passage} if isinstance(passage, str) else dict(passage)
    return {KEY: f"chunk-{place}", "doc_uri": f"doc-{place}.md", "title": f"Document {place}"} | given


def _found(rows: Sequence[Row], query: str, filters: Mapping[str, Any]) -> list[tuple[float, Row]]:
    asked = _words(query)
    kept = [row for row in rows if all(_matches(row.get(key), value) for key, value in filters.items())]
    # A query by vector has no text to compare.
    if not asked:
        return [(1.0, row) for row in kept]
    scored = [(len(asked & _words(str(row[TEXT]))) / len(asked), row) for row in kept]
    return sorted(((score, row) for score, row in scored if score), key=lambda one: -one[0])


def _matches(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else value == wanted


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
