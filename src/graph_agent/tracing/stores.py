"""Opens the trace store: an MLflow tracking server over HTTP, or any store that MLflow's own client opens."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from graph_agent.lazy import IMPORT_LOCK
from graph_agent.tracing.assessments import send_rating
from graph_agent.tracing.otlp import encode_all
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.trace_store import MAY_PASS, Missing, RecordRefused, StoreUnavailable, TraceStore

SECONDS = 10.0
"""The longest time without data from a tracking server before a call fails."""

FIRST_WHOLE_OTLP = (3, 17)
"""The first MLflow version that was checked to store the session, user and tags of spans from OTLP requests."""


def open_store(tracking_uri: str | None, *, experiment: str, environ: Mapping[str, str]) -> TraceStore:
    """Open the store of a tracking URI, and find or create its experiment. Blocks: do not call it on the event loop.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if tracking_uri is not None and tracking_uri.startswith(("http://", "https://")):
        server = ServerStore(tracking_uri, environ=environ)
        if server.takes_whole_traces():
            server.use_experiment(experiment)
            return server
        # An older server: MLflow's own client below stores whole traces there.
        server.close()
    experiment_id = environ.get("MLFLOW_EXPERIMENT_ID")
    if tracking_uri == "databricks":
        # Late: it imports the SDK, and other stores do not need it.
        with IMPORT_LOCK:
            from graph_agent.tracing.workspace_store import open_workspace

        return open_workspace(experiment=experiment, environ=environ)
    # Late: importing MLflow takes over four seconds of CPU, and the stores above do not need it for that.
    with IMPORT_LOCK:
        from graph_agent.tracing.mlflow_store import MlflowStore

    return MlflowStore(tracking_uri, experiment=experiment, experiment_id=experiment_id)


class ServerStore:
    """An MLflow tracking server. Each batch is one `POST /v1/traces` on a connection that stays open."""

    def __init__(self, url: str, *, environ: Mapping[str, str], transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers=_headers(environ),
            verify=_verification(environ),
            cert=environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
            timeout=SECONDS,
            transport=transport,
        )
        self._experiment_id = environ.get("MLFLOW_EXPERIMENT_ID")

    def takes_whole_traces(self) -> bool:
        """Whether this server makes whole traces from OTLP requests, which needs MLflow 3.17."""
        response = self._send("GET", "version")
        numbers = response.text.strip().strip('"').split(".")[:2] if response.is_success else []
        return (
            bool(numbers) and all(part.isdigit() for part in numbers) and (tuple(map(int, numbers)) >= FIRST_WHOLE_OTLP)
        )

    def use_experiment(self, name: str) -> None:
        """Find the experiment by name, or create it; `MLFLOW_EXPERIMENT_ID` wins."""
        if self._experiment_id is None:
            self._experiment_id = self._find_experiment(name) or self._create_experiment(name)

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces in one request. The server accepts or refuses all of them."""
        response = self._send(
            "POST",
            "v1/traces",
            content=encode_all(records),
            headers={
                "content-type": "application/x-protobuf",
                "x-mlflow-experiment-id": str(self._experiment_id),
            },
        )
        _check(response)

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store feedback on a trace: see `TraceStore.rate`."""

        def call(method: str, path: str, body: Any) -> Any:
            return _check(self._send(method, path, json=body)).json()

        return send_rating(call, trace_id, rating, assessment)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _find_experiment(self, name: str) -> str | None:
        response = self._send("GET", "api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": name})
        if response.status_code == 404:
            return None
        return str(_check(response).json()["experiment"]["experiment_id"])

    def _create_experiment(self, name: str) -> str:
        response = self._send("POST", "api/2.0/mlflow/experiments/create", json={"name": name})
        if response.status_code == 400 and (found := self._find_experiment(name)):
            # Another worker of this service created it in the meantime.
            return found
        return str(_check(response).json()["experiment_id"])

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise StoreUnavailable(type(error).__name__) from error


def _check(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    if response.status_code in MAY_PASS:
        raise StoreUnavailable(f"HTTP {response.status_code}")
    kind = Missing if response.status_code == 404 else RecordRefused
    raise kind(f"HTTP {response.status_code}")


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    # The variables of MLflow's own client, so that one configuration works for both.
    headers = {}
    user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        headers["authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    elif token := environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    if workspace := environ.get("MLFLOW_WORKSPACE"):
        headers["x-mlflow-workspace"] = workspace
    return headers


def _verification(environ: Mapping[str, str]) -> bool | str:
    if environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        return False
    return environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
