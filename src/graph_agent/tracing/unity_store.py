"""Stores traces in tables of Unity Catalog: first all spans in one OpenTelemetry request, then the data of each trace.

The requests are the same as MLflow's. They use the app's shared client and its token.
"""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from graph_agent.lazy import IMPORT_LOCK
from graph_agent.tracing.assessments import CHANGES, change_or_create
from graph_agent.tracing.concurrency import run_concurrently
from graph_agent.tracing.destinations import Tables, digits
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.trace_store import AlreadyStored

if TYPE_CHECKING:
    from mlflow.entities import Trace

SPANS = "/api/2.0/otel/v1/traces"
TABLE = "X-Databricks-UC-Table-Name"
PROTOBUF = "application/x-protobuf"

MOST_KEPT = 1000
"""Traces that are remembered as half stored: their spans have arrived, their other data has not."""

Send = Callable[..., Any]
"""Takes the method, the path and other arguments of the SDK's client. Raises the store's errors."""


class UnityStore:
    """The tables that an experiment is linked to."""

    def __init__(self, send: Send, tables: Tables, *, warehouse: str | None = None) -> None:
        """`warehouse` is the id of the SQL warehouse that changes assessments."""
        self._send = send
        self._tables = tables
        self._warehouse = f"?sql_warehouse_id={quote(warehouse, safe='')}" if warehouse else ""
        self._sent: dict[str, None] = {}
        """Traces with spans that have arrived, in order. A dict, because a set has no order to forget the oldest by."""
        self._stored: set[str] = set()

    @property
    def location(self) -> str:
        """The location of the tables, as in the ids of traces."""
        return self._tables.location

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces. If the batch is tried again, the parts that have arrived are not sent again."""
        # Late: importing MLflow takes four seconds of CPU, and nothing needs it before the first trace.
        with IMPORT_LOCK:
            from graph_agent.tracing.mlflow_store import trace_of
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

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store feedback on a trace: see `TraceStore.rate`."""
        name = digits(trace_id)
        location = {"trace_location": self._trace_location()}
        address = f"/api/4.0/mlflow/traces/{self.location}/{name}/assessments"

        def change(known: str) -> None:
            mask = f"{self._warehouse or '?'}{'&' if self._warehouse else ''}update_mask={CHANGES}"
            self._send("PATCH", f"{address}/{known}{mask}", body={**rating.changes(name, known), **location})

        def create() -> str:
            answer = self._send("POST", f"{address}{self._warehouse}", body={**rating.fields(name), **location})
            return str(answer["assessment_id"])

        return change_or_create(change, create, assessment)

    def _trace_location(self) -> dict[str, Any]:
        """The tables, in the JSON form of MLflow's messages."""
        catalog, schema, *prefix = self.location.split(".")
        place = {"catalog_name": catalog, "schema_name": schema}
        if prefix:
            return {"type": "UC_TABLE_PREFIX", "uc_table_prefix": {**place, "table_prefix": prefix[0]}}
        return {"type": "UC_SCHEMA", "uc_schema": place}

    def close(self) -> None:
        """Does nothing: the shared client owns the connections."""

    def _send_spans(self, traces: "Sequence[Trace]") -> None:
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add().scope_spans.add()
        for trace in traces:
            scope.spans.extend(span.to_otel_proto() for span in trace.data.spans)
        headers = {"Content-Type": PROTOBUF, TABLE: self._tables.spans}
        answer = self._send("POST", SPANS, headers=headers, data=request.SerializeToString(), raw=True)
        # The body does not matter: an error status would have raised. Closing it frees the connection.
        answer["contents"].close()

    def _send_info(self, trace: "Trace") -> None:
        # Late, as above.
        from mlflow.utils.proto_json_utils import message_to_json

        info: Any = trace.info.to_proto()
        path = f"/api/4.0/mlflow/traces/{self.location}/{digits(trace.info.trace_id)}/info"
        try:
            self._send("POST", path, body=json.loads(message_to_json(info)))
        except AlreadyStored:
            # The first request arrived but its answer was lost, so the SDK sent it again.
            return
