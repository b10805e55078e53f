"""MLflow tracking in a workspace: an experiment, traces, and the store for their spans."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from graph_agent.testing import on_loopback

EXPERIMENT = "123"
NAME = "/Shared/agent"
MODEL = "m-0123456789abcdef0123456789abcdef"


@dataclass
class Tracking:
    """Everything that was stored. Pass `routes` to the stand-in."""

    traces: dict[str, Any] = field(default_factory=dict)
    """Trace infos by id."""

    spans: dict[str, Any] = field(default_factory=dict)
    """The uploaded spans by trace id."""

    uploads: list[dict[str, str]] = field(default_factory=list)
    """Headers of each upload to the store."""

    model: dict[str, Any] = field(default_factory=dict)
    """The logged model."""

    files: dict[str, bytes] = field(default_factory=dict)
    """The files that were uploaded to the workspace, by path."""

    tags: dict[str, str] = field(default_factory=dict)
    """The tags of the experiment. One of them links it to tables of Unity Catalog."""

    tables: dict[str, list[bytes]] = field(default_factory=dict)
    """The OpenTelemetry requests, by the table that they are for."""

    assessments: dict[str, Any] = field(default_factory=dict)
    """What people said about traces, by id."""

    store_url: str = ""
    down: int = 0
    """How many of the next uploads the store refuses."""

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/2.0/mlflow/experiments/get", self._experiment),
            Route("/api/2.0/mlflow/experiments/get-by-name", self._experiment),
            Route("/api/3.0/mlflow/traces", self._start, methods=["POST"]),
            Route("/api/3.0/mlflow/traces/{trace}", self._trace),
            Route("/api/2.0/otel/v1/traces", self._otel, methods=["POST"]),
            Route("/api/4.0/mlflow/traces/{location}/{trace}/info", self._info, methods=["POST"]),
            Route("/api/3.0/mlflow/traces/{trace}/assessments", self._assess, methods=["POST"]),
            Route("/api/3.0/mlflow/traces/{trace}/assessments/{id}", self._assess, methods=["PATCH"]),
            Route("/api/4.0/mlflow/traces/{location}/{trace}/assessments", self._assess, methods=["POST"]),
            Route("/api/4.0/mlflow/traces/{location}/{trace}/assessments/{id}", self._assess, methods=["PATCH"]),
            Route("/api/2.0/mlflow/traces/{trace}/credentials-for-data-upload", self._credentials),
            Route("/api/2.0/mlflow/logged-models", self._create_model, methods=["POST"]),
            Route("/api/2.0/mlflow/logged-models/{model}", self._model, methods=["GET", "PATCH"]),
            Route("/api/2.0/fs/files/{path:path}", self._file, methods=["PUT"]),
        ]

    async def _experiment(self, request: Request) -> Response:
        location = f"dbfs:/databricks/mlflow-tracking/{EXPERIMENT}"
        tags = [{"key": key, "value": value} for key, value in self.tags.items()]
        found: dict[str, Any] = {"experiment_id": EXPERIMENT, "name": NAME, "lifecycle_stage": "active"}
        found |= {"artifact_location": location, "tags": tags}
        return JSONResponse({"experiment": found})

    async def _start(self, request: Request) -> Response:
        info = (await request.json())["trace"]["trace_info"]
        name = info["trace_id"]
        if name in self.traces:
            return JSONResponse({"error_code": "RESOURCE_ALREADY_EXISTS", "message": "known"}, status_code=409)
        where = f"dbfs:/databricks/mlflow-tracking/{EXPERIMENT}/{name}/artifacts"
        self.traces[name] = {**info, "tags": {**info.get("tags", {}), "mlflow.artifactLocation": where}}
        return JSONResponse({"trace": {"trace_info": self.traces[name]}})

    async def _trace(self, request: Request) -> Response:
        return JSONResponse({"trace": {"trace_info": self.traces[request.path_params["trace"]]}})

    async def _otel(self, request: Request) -> Response:
        self.tables.setdefault(request.headers["x-databricks-uc-table-name"], []).append(await request.body())
        # OpenTelemetry's answer is a message without fields.
        return Response(b"", media_type="application/x-protobuf")

    async def _info(self, request: Request) -> Response:
        name = f"trace:/{request.path_params['location']}/{request.path_params['trace']}"
        if name in self.traces:
            return JSONResponse({"error_code": "RESOURCE_ALREADY_EXISTS", "message": "known"}, status_code=409)
        self.traces[name] = await request.json()
        return JSONResponse(self.traces[name])

    async def _assess(self, request: Request) -> Response:
        sent, at = await request.json(), request.path_params
        name = f"trace:/{at['location']}/{at['trace']}" if "location" in at else at["trace"]
        if name not in self.traces:
            return JSONResponse({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no trace"}, status_code=404)
        one = {**(sent if "location" in at else sent["assessment"]), "assessment_id": at.get("id", "a-1")}
        self.assessments[one["assessment_id"]] = one
        return JSONResponse(one if "location" in at else {"assessment": one})

    async def _credentials(self, request: Request) -> Response:
        signed = f"{self.store_url}/{request.path_params['trace']}?signature=s3cret"
        return JSONResponse({"credential_info": {"signed_uri": signed, "type": "AWS_PRESIGNED_URL", "headers": []}})

    async def _create_model(self, request: Request) -> Response:
        asked = await request.json()
        location = f"dbfs:/databricks/mlflow-tracking/{EXPERIMENT}/logged_models/{MODEL}/artifacts"
        info = {"model_id": MODEL, "experiment_id": EXPERIMENT, "artifact_uri": location, "status": 1}
        tags = [{"key": one["key"], "value": one["value"]} for one in asked.get("tags", [])]
        times = {"creation_timestamp_ms": 1, "last_updated_timestamp_ms": 1}
        self.model = {"info": {**info, **times, "name": asked["name"], "tags": tags}, "data": {}}
        return JSONResponse({"model": self.model})

    async def _model(self, request: Request) -> Response:
        if request.method == "PATCH" and "status" in (asked := await request.json()):
            self.model["info"]["status"] = asked["status"]
        return JSONResponse({"model": self.model})

    async def _file(self, request: Request) -> Response:
        self.files[request.path_params["path"]] = await request.body()
        return Response(status_code=204)

    async def _upload(self, request: Request) -> Response:
        if self.down:
            self.down -= 1
            return Response("no, s3cret", status_code=403)
        self.uploads.append(dict(request.headers))
        self.spans[request.path_params["trace"]] = json.loads(await request.body())["spans"]
        return Response()


@contextmanager
def tracking() -> Iterator[Tracking]:
    """Run tracking with its store, which has a separate address, until the block ends."""
    kept = Tracking()
    store = Starlette(routes=[Route("/{trace}", kept._upload, methods=["PUT"])])
    with on_loopback(store) as url:
        kept.store_url = url
        yield kept
