"""A workspace for the benchmark: the local one, with a model that knows its answer, a small index, and tracking."""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graph_agent.local.index.index import Index
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.testing import on_loopback

EXPERIMENT = "123"
INDEX = "main.bench.documents"
DOCUMENT = "# Colors\n\nDark mode is blue.\n"
QUESTION = "What color is dark mode?"


class Model:
    """Searches once, and then answers."""

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        if body["messages"][-1]["role"] == "tool":
            yield _piece(role="assistant", content="It is blue [1].")
            yield _piece("stop")
            return
        function = {"name": "search_docs", "arguments": json.dumps({"query": QUESTION})}
        yield _piece(tool_calls=[{"index": 0, "id": "call_1", "type": "function", "function": function}])
        yield _piece("tool_calls")


class Embedder:
    """Texts that share words are near each other. It needs no files."""

    dimension = 64
    name = "bench"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, hashlib.sha256(word.encode()).digest()[0] % self.dimension] += 1.0
        unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1.0)
        return unit


@contextmanager
def scripted_workspace(folder: Path) -> Iterator[dict[str, str]]:
    """Run it until the block ends. Yields the variables that Databricks Apps sets for an app in it, and those of its
    `app.yaml`."""
    documents = folder / "documents"
    documents.mkdir(parents=True)
    (documents / "colors.md").write_text(DOCUMENT, encoding="utf-8")
    credentials, embedder = Credentials.generate(), Embedder()
    with ExitStack() as stack:
        index = stack.enter_context(Index.open(folder / "index.db", embedder))
        index.sync([documents])
        spans = stack.enter_context(on_loopback(Starlette(routes=[Route("/{trace}", _stored, methods=["PUT"])])))
        workspace = create_workspace(
            Model(), {INDEX: index}, embedder=embedder, credentials=credentials, more=_tracking(spans)
        )
        yield {
            "DATABRICKS_HOST": stack.enter_context(on_loopback(workspace)),
            "DATABRICKS_CLIENT_ID": credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
            "DATABRICKS_APP_NAME": "bench",
            "DATABRICKS_CONFIG_FILE": str(folder / "none"),
            "GRAPH_AGENT_MODEL": "local-model",
            "GRAPH_AGENT_INDEX": INDEX,
            "GRAPH_AGENT_STORE": f"sqlite:{folder}/conversations.sqlite",
            "MLFLOW_TRACKING_URI": "databricks",
            "MLFLOW_EXPERIMENT_ID": EXPERIMENT,
        }


def _tracking(spans: str) -> list[Route]:
    """The routes with which a trace is stored: its data, and a signed address for its spans."""
    location = f"dbfs:/databricks/mlflow-tracking/{EXPERIMENT}"

    async def experiment(request: Request) -> Response:
        found = {"experiment_id": EXPERIMENT, "name": "/Shared/bench", "lifecycle_stage": "active", "tags": []}
        return JSONResponse({"experiment": {**found, "artifact_location": location}})

    async def start(request: Request) -> Response:
        info = (await request.json())["trace"]["trace_info"]
        where = f"{location}/{info['trace_id']}/artifacts"
        tags = {**info.get("tags", {}), "mlflow.artifactLocation": where}
        return JSONResponse({"trace": {"trace_info": {**info, "tags": tags}}})

    async def upload(request: Request) -> Response:
        signed = f"{spans}/{request.path_params['trace']}"
        return JSONResponse({"credential_info": {"signed_uri": signed, "type": "AWS_PRESIGNED_URL", "headers": []}})

    return [
        Route("/api/2.0/mlflow/experiments/get", experiment),
        Route("/api/3.0/mlflow/traces", start, methods=["POST"]),
        Route("/api/2.0/mlflow/traces/{trace}/credentials-for-data-upload", upload),
    ]


async def _stored(request: Request) -> Response:
    await request.body()
    return Response()


def _piece(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
