"""The two parts of storing a trace in a workspace: its data, and its spans as a file. The requests are MLflow's own.

Imports MLflow, which takes seconds: import this module when there is a trace.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Trace, TraceData, TraceInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import GetTraceInfoV3, StartTraceV3
from mlflow.store.artifact.databricks_artifact_repo import _SERVICE_AND_METHOD_TO_INFO, DatabricksArtifactRepository
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import TRACE_REQUEST_ID_PREFIX
from mlflow.tracing.utils import TraceJSONEncoder
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION
from mlflow.utils.proto_json_utils import message_to_json, parse_dict

from graph_agent.tracing.assessments import Call
from graph_agent.tracing.trace_store import AlreadyStored, StoreUnavailable

TRACES = "/api/3.0/mlflow/traces"

OF_TRACES = re.compile(rf"^dbfs:/databricks/mlflow-tracking/[^/]+/{TRACE_REQUEST_ID_PREFIX}")
"""Folders that the workspace gives signed URLs for. For any other folder, MLflow's own client uploads the spans."""


def begin(call: Call, info: TraceInfo) -> TraceInfo:
    """Store the data of a trace, and return it as the workspace has it. Raises what `call` raises."""
    whole: Any = Trace(info=info, data=TraceData(spans=[]))
    request = StartTraceV3(trace=whole.to_proto())
    try:
        answer = call("POST", TRACES, json.loads(message_to_json(request)))
        return TraceInfo.from_proto(_parsed(answer, StartTraceV3.Response()).trace.trace_info)
    except AlreadyStored:
        # The first request arrived but its answer was lost, so the SDK sent it again.
        answer = call("GET", f"{TRACES}/{info.trace_id}", {})
        return TraceInfo.from_proto(_parsed(answer, GetTraceInfoV3.Response()).trace.trace_info)


def upload(call: Call, stored: TraceInfo, data: TraceData) -> None:
    """Store the spans of a trace.

    Raises:
        StoreUnavailable: they could not be uploaded.
    """
    where = stored.tags.get(MLFLOW_ARTIFACT_LOCATION, "")
    text = json.dumps(data.to_dict(), cls=TraceJSONEncoder, ensure_ascii=False)
    try:
        if OF_TRACES.search(where):
            _SignedStore(where, call).upload_trace_data(text)
        else:
            TracingClient("databricks")._upload_trace_data(stored, data)
    except (MlflowException, OSError) as error:
        # The error's text contains the signed URL, so it is not passed on. The next try requests a new URL.
        raise StoreUnavailable("the spans could not be uploaded") from error


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
