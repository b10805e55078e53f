"""Traces in tables of Unity Catalog: the spans as one OpenTelemetry request, then what is known of each trace.

What is sent is what MLflow sends; the client and its token are the process's.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from mlflow.entities import Trace
from mlflow.utils.proto_json_utils import message_to_json
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from graph_agent.tracing.concurrency import run_concurrently
from graph_agent.tracing.destinations import Tables, digits
from graph_agent.tracing.mlflow_store import trace_of
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.trace_store import AlreadyStored

SPANS = "/api/2.0/otel/v1/traces"
TABLE = "X-Databricks-UC-Table-Name"
PROTOBUF = "application/x-protobuf"

MOST_KEPT = 1000
"""Traces remembered whose spans have arrived and whose rest has not."""

Send = Callable[..., Any]
"""Method, path, and what the SDK's client takes beside them; raises the store's errors."""


class UnityStore:
    """The tables an experiment is linked to."""

    def __init__(self, send: Send, tables: Tables) -> None:
        self._send = send
        self._tables = tables
        self._sent: dict[str, None] = {}
        """Traces whose spans have arrived, in order."""
        self._stored: set[str] = set()

    @property
    def location(self) -> str:
        """As it stands in the traces' ids."""
        return self._tables.location

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces; what arrived is not sent again when its batch is."""
        traces = {one.trace_id: trace_of(one, self._tables) for one in records if one.trace_id not in self._stored}
        fresh = [name for name in traces if name not in self._sent]
        if fresh:
            self._send_spans([traces[name] for name in fresh])
            self._sent.update(dict.fromkeys(fresh))
            while len(self._sent) > MOST_KEPT:
                del self._sent[next(iter(self._sent))]

        def finish(name: str) -> None:
            self._send_info(traces[name])
            self._sent.pop(name, None)
            self._stored.add(name)

        run_concurrently(finish, traces)
        self._stored.difference_update(one.trace_id for one in records)

    def close(self) -> None:
        """The connections are the shared client's."""

    def _send_spans(self, traces: Sequence[Trace]) -> None:
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add().scope_spans.add()
        for trace in traces:
            scope.spans.extend(span.to_otel_proto() for span in trace.data.spans)
        headers = {"Content-Type": PROTOBUF, TABLE: self._tables.spans}
        answer = self._send("POST", SPANS, headers=headers, data=request.SerializeToString(), raw=True)
        # Whatever it says, and in whichever form: it was taken.
        answer["contents"].close()

    def _send_info(self, trace: Trace) -> None:
        info: Any = trace.info.to_proto()
        path = f"/api/4.0/mlflow/traces/{self.location}/{digits(trace.info.trace_id)}/info"
        try:
            self._send("POST", path, body=json.loads(message_to_json(info)))
        except AlreadyStored:
            # An answer was lost on its way, and the SDK asked again.
            return
