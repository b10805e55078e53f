"""Traces in a Databricks workspace by the process's shared client: three calls a trace, one token for all.

What is sent is what MLflow sends. Its own client makes seven calls a trace, as it signs in anew around each, and goes
on trying for minutes.
"""

import json
import queue
import re
import threading
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
from graph_agent.tracing.exporter import MAY_PASS, RecordRefused, StoreError, StoreUnavailable
from graph_agent.tracing.mlflow_store import trace_of
from graph_agent.tracing.records import RunRecord

AT_ONCE = 4
"""Traces on their way at once. One by one, at 60 ms a call, a process could store five in a second."""

MOST_BEGUN = 1000
"""Traces remembered whose spans have not arrived."""

TRACES = "/api/3.0/mlflow/traces"

OF_TRACES = re.compile(rf"^dbfs:/databricks/mlflow-tracking/[^/]+/{TRACE_REQUEST_ID_PREFIX}")
"""Folders that signed addresses are lent for; MLflow's own client finds its way to any other."""

Call = Callable[[str, str, Any], Any]
"""Method, path, JSON."""


class WorkspaceStore:
    """A workspace's tracking server, and the cloud store it lends signed addresses of.

    Raises:
        StoreUnavailable: the workspace does not answer, or does not know the experiment yet.
    """

    def __init__(self, *, experiment: str, experiment_id: str | None) -> None:
        try:
            self._api: Any = workspace_client().api_client
        except WorkspaceUnavailable as error:
            raise StoreUnavailable("the workspace cannot be reached, or refuses the credentials") from error
        self._begun: dict[str, TraceInfo] = {}
        self._stored: set[str] = set()
        self._experiment_id = experiment_id or self._found(experiment) or self._created(experiment)

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces, several at once; a trace that arrived is not sent again when its batch is."""
        waiting, errors = queue.SimpleQueue[RunRecord](), list[Exception]()
        for record in records:
            if record.trace_id not in self._stored:
                waiting.put(record)

        def work() -> None:
            try:
                while not errors:
                    self._write(waiting.get_nowait())
            except queue.Empty:
                return
            except Exception as error:
                errors.append(error)

        # Daemons, unlike a pool's: the interpreter's exit does not wait for them.
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, waiting.qsize()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        self._stored.difference_update(one.trace_id for one in records)

    def close(self) -> None:
        """The connections are the shared client's."""

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
        except _Exists:
            # An answer was lost on its way, and the SDK asked again.
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
            # Its text holds the signed address. The next try asks for a new one.
            raise StoreUnavailable("the spans could not be uploaded") from error

    def _found(self, name: str) -> str | None:
        try:
            answer = self._call("GET", "/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": name})
        except _Missing:
            return None
        return str(answer["experiment"]["experiment_id"])

    def _created(self, name: str) -> str:
        try:
            return str(self._call("POST", "/api/2.0/mlflow/experiments/create", {"name": name})["experiment_id"])
        except RecordRefused as error:
            # Perhaps another worker of this service was faster; the exporter asks again.
            raise StoreUnavailable(
                f"experiment {name!r} cannot be created; on Databricks it is named by a path"
            ) from error

    def _call(self, method: str, path: str, content: Any) -> Any:
        sent = {"query": content} if method == "GET" else {"body": content}
        try:
            return self._api.do(method, path, headers={"Accept": "application/json"}, **sent)
        except ResourceConflict as error:
            raise _Exists("HTTP 409") from error
        except DatabricksError as error:
            raise _refusal(status_of(error)) from error
        except (OSError, ValueError) as error:
            raise StoreUnavailable(type(error).__name__) from error


class _Missing(RecordRefused):
    """There is no such thing."""


class _Exists(RecordRefused):
    """There is one already."""


class _SignedStore(DatabricksArtifactRepository):
    """MLflow's upload to every kind of cloud store, with the signed address asked for by the shared client."""

    def __init__(self, where: str, call: Call) -> None:
        super().__init__(where)
        self._call = call

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
        return _Missing("HTTP 404")
    # Unlike a server of one's own, a workspace means by 500 that something of its own is out of order.
    kind = StoreUnavailable if status is None or status in MAY_PASS or status == 500 else RecordRefused
    return kind(f"HTTP {status}")
