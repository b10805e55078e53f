"""Indexes of other kinds for the stand-in: vectors of one's own, other column names, and an index that never answers.

Their rows are a handful, searched by cosine; filters are recorded and, where they are a mapping, obeyed for equality.
"""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from tests.local.conftest import HashingEmbedder

SELF_MANAGED = "main.docs.vectors"
MANUALS = "main.docs.manuals"
SILENT = "main.docs.silent"

ROWS: tuple[Mapping[str, Any], ...] = (
    {
        "id": "m1",
        "body": "The pump runs at forty bar.",
        "url": "https://m/pump",
        "heading": "Pump",
        "team": "a",
        "y": 1,
    },
    {"id": "m2", "body": "The fan runs in summer.", "url": "https://m/fan", "heading": "Fan", "team": "b", "y": 2},
    {
        "id": "m3",
        "body": "The pump of the fan is blue.",
        "url": "https://m/blue",
        "heading": "Blue",
        "team": "b",
        "y": 3,
    },
)


@dataclass
class Silence:
    """An index whose queries stay open until the client leaves."""

    asked: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    async def hold(self, request: Request) -> Response:
        """Say nothing until the client has closed its connection."""
        self.asked.set()
        while not await request.is_disconnected():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.left.set()
        return Response(status_code=499)


def vector_routes(silence: Silence | None = None) -> list[BaseRoute]:
    """For `stand_in(more=...)`."""
    silence = silence or Silence()
    index = "/api/2.0/vector-search/indexes/{name}"
    return [
        Route(index.format(name=SILENT), _describe),
        Route(f"{index.format(name=SILENT)}/query", silence.hold, methods=["GET"]),
        *(Route(index.format(name=name), _describe) for name in (SELF_MANAGED, MANUALS)),
        *(Route(f"{index.format(name=name)}/query", _query, methods=["GET"]) for name in (SELF_MANAGED, MANUALS)),
    ]


async def _describe(request: Request) -> Response:
    name = request.url.path.rsplit("/", 1)[-1]
    spec: dict[str, Any] = {"source_table": f"{name}_table", "pipeline_type": "TRIGGERED"}
    if name == SELF_MANAGED:
        spec["embedding_vector_columns"] = [{"name": "vector", "embedding_dimension": HashingEmbedder.dimension}]
    else:
        spec["embedding_source_columns"] = [{"name": "body", "embedding_model_endpoint_name": "local-minilm"}]
    url = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
    return JSONResponse(
        {
            "name": name,
            "endpoint_name": "local",
            "primary_key": "id",
            "index_type": "DELTA_SYNC",
            "delta_sync_index_spec": spec,
            "status": {"index_url": url, "ready": True},
        }
    )


async def _query(request: Request) -> Response:
    body = await request.json()
    columns = body["columns"]
    if unknown := [name for name in columns if name not in ROWS[0]]:
        return JSONResponse({"error_code": "BAD_REQUEST", "message": f"no column {unknown}"}, status_code=400)
    filters = json.loads(body.get("filters_json") or "{}")
    if filters.get("y") == "refused":
        return JSONResponse({"error_code": "BAD_REQUEST", "message": "wrong type"}, status_code=400)
    embedder = HashingEmbedder()
    asked = np.asarray(body.get("query_vector") or embedder.embed([body["query_text"]])[0])
    rows = [row for row in ROWS if all(row.get(key, value) == value for key, value in filters.items())]
    scored = sorted(((float(embedder.embed([row["body"]])[0] @ asked), row) for row in rows), key=lambda one: -one[0])
    data = [[*(row[name] for name in columns), score] for score, row in scored[: body["num_results"]]]
    manifest = [{"name": name} for name in (*columns, "score")]
    return JSONResponse(
        {
            "manifest": {"column_count": len(manifest), "columns": manifest},
            "result": {"row_count": len(data), "data_array": data},
            "next_page_token": "",
        }
    )
