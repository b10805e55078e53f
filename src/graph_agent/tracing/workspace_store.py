"""Stores traces in a Databricks workspace with the app's shared client: three calls per trace, and one token for all.

The requests are the same as MLflow's. MLflow's own client makes seven calls per trace, because it signs in again for
each trace, and it retries for minutes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.errors.platform import ResourceConflict

from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.index_errors import status_of
from graph_agent.errors import WorkspaceUnavailable
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.tracing.assessments import Call, send_rating
from graph_agent.tracing.concurrency import run_concurrently
from graph_agent.tracing.destinations import Tables
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

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

MOST_BEGUN = 1000
"""Traces that are remembered as half stored: the workspace knows them, but their spans have not arrived."""


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
        waiting = [one for one in records if one.trace_id not in self._stored]
        # Late: importing MLflow takes four seconds of CPU, and nothing needs it before the first trace.
        with IMPORT_LOCK:
            from graph_agent.tracing.mlflow_store import trace_of
            from graph_agent.tracing.workspace_traces import begin, upload

        def store(record: RunRecord) -> None:
            trace = trace_of(record, self._experiment_id)
            if record.trace_id not in self._begun:
                self._begun[record.trace_id] = begin(self._call, trace.info)
                while len(self._begun) > MOST_BEGUN:
                    del self._begun[next(iter(self._begun))]
            upload(self._call, self._begun[record.trace_id], trace.data)
            self._begun.pop(record.trace_id, None)
            self._stored.add(record.trace_id)

        run_concurrently(store, waiting)
        self._stored.difference_update(one.trace_id for one in records)

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store feedback on a trace: see `TraceStore.rate`."""
        return send_rating(
            lambda method, path, body: self._call(method, f"/{path}", body), trace_id, rating, assessment
        )

    def close(self) -> None:
        """Does nothing: the shared client owns the connections."""


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


def _refusal(status: int | None) -> StoreError:
    if status == 404:
        return Missing("HTTP 404")
    # A workspace answers 500 for its own failures, unlike a plain MLflow server, which also does so for bad traces.
    kind = StoreUnavailable if status is None or status in MAY_PASS or status == 500 else RecordRefused
    return kind(f"HTTP {status}")
