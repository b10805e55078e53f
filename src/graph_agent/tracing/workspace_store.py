"""Stores traces in a Databricks workspace with the app's shared client: three calls per trace, and one token for all.

The requests are the same as MLflow's. MLflow's own client makes seven calls per trace, because it signs in again for
each trace, and it retries for minutes.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.errors.platform import ResourceConflict
from mlflow.entities import Trace, TraceData, TraceInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import GetTraceInfoV3, StartTraceV3
from mlflow.store.artifact.databricks_artifact_repo import _SERVICE_AND_METHOD_TO_INFO, DatabricksArtifactRepository
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import TRACE_REQUEST_ID_PREFIX
from mlflow.tracing.utils import TraceJSONEncoder
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION
from mlflow.utils.proto_json_utils import message_to_json, parse_dict

from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.index_errors import status_of
from graph_agent.errors import WorkspaceUnavailable
from graph_agent.tracing.assessments import send_rating
from graph_agent.tracing.concurrency import run_concurrently
from graph_agent.tracing.destinations import Tables
from graph_agent.tracing.mlflow_store import trace_of
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.trace_store import (
    MAY_PASS,
    AlreadyStored,
    Missing,
    RecordRefused,
    StoreError,
    StoreUnavailable,
)
from graph_agent.tracing.unity_store import UnityStore

MOST_BEGUN = 1000
"""Traces that are remembered as half stored: the workspace knows them, but their spans have not arrived."""

TRACES = "/api/3.0/mlflow/traces"

OF_TRACES = re.compile(rf"^dbfs:/databricks/mlflow-tracking/[^/]+/{TRACE_REQUEST_ID_PREFIX}")
"""Folders that the workspace gives signed URLs for. For any other folder, MLflow's own client uploads the spans."""

Call = Callable[[str, str, Any], Any]
"""Takes the method, the path and the JSON of a call. Returns the JSON of the answer."""


def open_workspace(*, experiment: str, environ: Mapping[str, str]) -> "WorkspaceStore | UnityStore":
    """Open the store of an experiment: its own store, or the tables of Unity Catalog that it is linked to.

    Raises:
        StoreUnavailable: the workspace does not answer, or the experiment does not exist and could not be created.
    """
    workspace = _Workspace()
    experiment_id, tags = workspace.experiment(experiment, environ.get("MLFLOW_EXPERIMENT_ID"))
    tables = Tables.of(tags, environ)
    return (
        WorkspaceStore(workspace.call, experiment_id)
        if tables is None
        else UnityStore(workspace.send, tables, warehouse=environ.get("MLFLOW_TRACING_SQL_WAREHOUSE_ID"))
    )


class WorkspaceStore:
    """A workspace's tracking server, and the cloud store that it gives signed URLs for."""

    def __init__(self, call: Call, experiment_id: str) -> None:
        self._call = call
        self._experiment_id = experiment_id
        self._begun: dict[str, TraceInfo] = {}
        self._stored: set[str] = set()

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces, several at the same time. If the batch is tried again, traces that have arrived are not
        sent again."""
        run_concurrently(self._write, [one for one in records if one.trace_id not in self._stored])
        self._stored.difference_update(one.trace_id for one in records)

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store feedback on a trace: see `TraceStore.rate`."""
        return send_rating(
            lambda method, path, body: self._call(method, f"/{path}", body), trace_id, rating, assessment
        )

    def close(self) -> None:
        """Does nothing: the shared client owns the connections."""

    def _write(self, record: RunRecord) -> None:
        trace = trace_of(record, self._experiment_id)
        if record.trace_id not in self._begun:
            self._begun[record.trace_id] = self._start(trace.info)
            while len(self._begun) > MOST_BEGUN:
                del self._begun[next(iter(self._begun))]
        self._upload(self._begun[record.trace_id], trace.data)
        self._begun.pop(record.trace_id, None)
        self._stored.add(record.trace_id)

    def _start(self, info: TraceInfo) -> TraceInfo:
        whole: Any = Trace(info=info, data=TraceData(spans=[]))
        request = StartTraceV3(trace=whole.to_proto())
        try:
            answer = self._call("POST", TRACES, json.loads(message_to_json(request)))
            return TraceInfo.from_proto(_parsed(answer, StartTraceV3.Response()).trace.trace_info)
        except AlreadyStored:
            # The first request arrived but its answer was lost, so the SDK sent it again.
            answer = self._call("GET", f"{TRACES}/{info.trace_id}", {})
            return TraceInfo.from_proto(_parsed(answer, GetTraceInfoV3.Response()).trace.trace_info)

    def _upload(self, stored: TraceInfo, data: TraceData) -> None:
        where = stored.tags.get(MLFLOW_ARTIFACT_LOCATION, "")
        text = json.dumps(data.to_dict(), cls=TraceJSONEncoder, ensure_ascii=False)
        try:
            if OF_TRACES.search(where):
                _SignedStore(where, self._call).upload_trace_data(text)
            else:
                TracingClient("databricks")._upload_trace_data(stored, data)
        except (MlflowException, OSError) as error:
            # The error's text contains the signed URL, so it is not passed on. The next try requests a new URL.
            raise StoreUnavailable("the spans could not be uploaded") from error


class _Workspace:
    """The app's client. It raises the store's errors instead of the SDK's."""

    def __init__(self) -> None:
        try:
            self._api: Any = workspace_client().api_client
        except WorkspaceUnavailable as error:
            raise StoreUnavailable("the workspace cannot be reached, or rejects the credentials") from error

    def experiment(self, name: str, experiment_id: str | None) -> tuple[str, Mapping[str, str]]:
        """The experiment's id and tags. An experiment that is given by name is created if it does not exist."""
        if experiment_id is None:
            found = self._found("get-by-name", {"experiment_name": name})
            if found is None:
                return self._created(name), {}
        else:
            found = self._found("get", {"experiment_id": experiment_id})
            if found is None:
                # The id may be right although the app may not read the experiment. Storing the first trace shows it.
                return experiment_id, {}
        tags = {str(one.get("key")): str(one.get("value", "")) for one in found.get("tags") or ()}
        return str(found["experiment_id"]), tags

    def _found(self, how: str, query: Mapping[str, str]) -> Mapping[str, Any] | None:
        try:
            answer: Mapping[str, Any] = self.call("GET", f"/api/2.0/mlflow/experiments/{how}", query)
        except Missing:
            return None
        return answer.get("experiment")

    def _created(self, name: str) -> str:
        try:
            return str(self.call("POST", "/api/2.0/mlflow/experiments/create", {"name": name})["experiment_id"])
        except RecordRefused as error:
            # Another worker of this service may have created it in the meantime. The exporter tries again.
            raise StoreUnavailable(
                f"experiment {name!r} cannot be created; on Databricks its name must be a workspace path"
            ) from error

    def call(self, method: str, path: str, content: Any) -> Any:
        """A call with a JSON answer."""
        sent = {"query": content} if method == "GET" else {"body": content}
        return self.send(method, path, **sent)

    def send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **sent: Any) -> Any:
        """Any call."""
        try:
            return self._api.do(method, path, headers={"Accept": "application/json", **(headers or {})}, **sent)
        except ResourceConflict as error:
            raise AlreadyStored("HTTP 409") from error
        except DatabricksError as error:
            raise _refusal(status_of(error)) from error
        except (OSError, ValueError) as error:
            raise StoreUnavailable(type(error).__name__) from error


class _SignedStore(DatabricksArtifactRepository):
    """MLflow's upload to every kind of cloud store. The shared client requests the signed URL."""

    def __init__(self, where: str, call: Call) -> None:
        super().__init__(where)
        self._call = call

    # A private method of MLflow, because the class has no public way to use another client.
    def _call_endpoint(  # type: ignore[no-untyped-def]
        self, service, api, json_body=None, path_params: Mapping[str, str] | None = None, retry_timeout_seconds=None
    ) -> Any:
        path, method = _SERVICE_AND_METHOD_TO_INFO[service][api]
        answer = self._call(method, path.format(**path_params or {}), json.loads(json_body or "{}"))
        return _parsed(answer, api.Response())


def _parsed(answer: Any, message: Any) -> Any:
    parse: Any = parse_dict
    parse(answer, message)
    return message


def _refusal(status: int | None) -> StoreError:
    if status == 404:
        return Missing("HTTP 404")
    # A workspace answers 500 for its own failures, unlike a plain MLflow server, which also does so for bad traces.
    kind = StoreUnavailable if status is None or status in MAY_PASS or status == 500 else RecordRefused
    return kind(f"HTTP {status}")
