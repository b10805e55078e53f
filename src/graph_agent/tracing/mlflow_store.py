"""Stores that need MLflow's own client: databases, Databricks, and older tracking servers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback, Span, Trace, TraceData, TraceInfo, TraceLocation, TraceState
from mlflow.entities.assessment import FeedbackValue
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import (
    TRACE_SCHEMA_VERSION,
    TRACE_SCHEMA_VERSION_KEY,
    SpansLocation,
    TraceMetadataKey,
    TraceTagKey,
)
from mlflow.tracing.utils.truncation import set_request_response_preview

from graph_agent.tracing.assessments import change_or_create
from graph_agent.tracing.attributes import (
    INPUTS,
    OUTPUTS,
    SESSION,
    USER,
    attributes_of,
    identity_of,
    name_of,
    tags_of,
    trace_attributes,
    usage_of,
    written_together,
)
from graph_agent.tracing.destinations import Tables, id_at
from graph_agent.tracing.new_database import make_database
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord, SpanRecord
from graph_agent.tracing.trace_store import MAY_PASS, Missing, RecordRefused, StoreError, StoreUnavailable
from graph_agent.tracing.values import to_json
from graph_agent.tracing.version import MODEL

T = TypeVar("T")

OF_TABLES = "4"
"""The version of MLflow's trace schema in tables of Unity Catalog."""

FILE = "sqlite:///"
"""The prefix of a tracking URI that is a local file."""

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Prefixes of the tracking URIs that are databases."""


class MlflowStore:
    """Stores finished traces with MLflow's own client, without a tracer provider or an active span."""

    def __init__(self, tracking_uri: str | None, *, experiment: str, experiment_id: str | None) -> None:
        try:
            if tracking_uri is not None and tracking_uri.startswith(FILE):
                make_database(Path(tracking_uri.removeprefix(FILE)))
            self._client = TracingClient(tracking_uri)
            self._experiment_id = experiment_id or _experiment(MlflowClient(self._client.tracking_uri), experiment)
        except MlflowException as error:
            raise StoreUnavailable(error.error_code) from error
        except OSError as error:
            raise StoreUnavailable(type(error).__name__) from error
        self._is_database = self._client.tracking_uri.startswith(DATABASES)
        self._takes_spans = not self._client.tracking_uri.startswith("databricks")

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces: in one transaction if the store is a database, otherwise one by one."""
        try:
            if self._is_database:
                spans = [span for record in records for span in _spans(record, of_trace=True)]
                self._client.log_spans(self._experiment_id, spans)
                return
            for record in records:
                self._log(record)
        except MlflowException as error:
            raise _translated(error) from error
        except OSError as error:
            # The network errors of requests and of the Databricks SDK are OSErrors.
            raise StoreUnavailable(type(error).__name__) from error

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store feedback on a trace: see `TraceStore.rate`."""
        store = self._client.store

        def change(known: str) -> None:
            store.update_assessment(
                trace_id, known, feedback=FeedbackValue(rating.value), rationale=rating.comment or ""
            )

        def create() -> str:
            source = AssessmentSource("HUMAN", rating.user)
            made = Feedback(
                name=rating.name, value=rating.value, source=source, trace_id=trace_id, rationale=rating.comment
            )
            return str(store.create_assessment(made).assessment_id)

        def translated(call: Callable[..., T]) -> Callable[..., T]:
            def calling(*arguments: str) -> T:
                try:
                    return call(*arguments)
                except MlflowException as error:
                    raise _translated(error) from error
                except OSError as error:
                    raise StoreUnavailable(type(error).__name__) from error

            return calling

        return change_or_create(translated(change), translated(create), assessment)

    def close(self) -> None:
        """Does nothing: MLflow owns the connections."""

    def _log(self, record: RunRecord) -> None:
        """Store one trace like MLflow's own exporter: the spans in the store if it accepts them, otherwise as a file
        of the trace."""
        trace = trace_of(record, self._experiment_id)
        if self._takes_spans:
            self._takes_spans = self._log_spans(trace.data.spans)
        stored = self._client.start_trace(trace.info)
        if stored.tags.get(TraceTagKey.SPANS_LOCATION) != SpansLocation.TRACKING_STORE.value:
            self._client._upload_trace_data(stored, trace.data)

    def _log_spans(self, spans: list[Span]) -> bool:
        """Whether the store accepts spans. Servers before MLflow 3.4 and servers with a file store do not."""
        try:
            self._client.log_spans(self._experiment_id, spans)
        except NotImplementedError:
            return False
        except MlflowException as error:
            if _status(error) != 501:
                raise
            return False
        return True


def trace_of(record: RunRecord, kept_in: str | Tables) -> Trace:
    """The run as an MLflow trace, for stores that take the spans and the data about the whole trace separately.
    `kept_in` is the id of an experiment, or tables of Unity Catalog."""
    with written_together(record):
        spans = _spans(record, of_trace=False, kept_in=kept_in)
        trace = Trace(info=_info(record, kept_in), data=TraceData(spans=spans))
    set_request_response_preview(trace.info, trace.data)
    return trace


def trace_as_dict(record: RunRecord, location: str | None) -> dict[str, Any]:
    """The trace in the form that `mlflow.entities.Trace.from_dict` reads. `location` is that of its tables, if any."""
    kept_in: str | Tables = Tables(location, "") if location else ""
    written: dict[str, Any] = trace_of(record, kept_in).to_dict()
    return written


def _translated(error: MlflowException) -> StoreError:
    if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
        return Missing(str(error.error_code))
    kind = StoreUnavailable if _status(error) in MAY_PASS else RecordRefused
    return kind(str(error.error_code))


def _status(error: MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        # Another worker of this service may have created it in the meantime.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _info(record: RunRecord, kept_in: str | Tables) -> TraceInfo:
    root = record.root
    described = attributes_of(record, root)
    metadata = {
        TRACE_SCHEMA_VERSION_KEY: OF_TABLES if isinstance(kept_in, Tables) else str(TRACE_SCHEMA_VERSION),
        TraceMetadataKey.TRACE_SESSION: identity_of(record, record.session),
        TraceMetadataKey.TRACE_USER: identity_of(record, record.user),
        TraceMetadataKey.INPUTS: described.get(INPUTS),
        TraceMetadataKey.OUTPUTS: described.get(OUTPUTS),
        TraceMetadataKey.TOKEN_USAGE: to_json(usage) if (usage := usage_of(record)) else None,
    }
    return TraceInfo(
        trace_id=_id(record, kept_in),
        trace_location=_location(kept_in),
        request_time=root.start_ns // 1_000_000,
        execution_duration=(root.end_ns - root.start_ns) // 1_000_000,
        state=TraceState.OK if root.error is None else TraceState.ERROR,
        # 250 characters are MLflow's limit for a value of the metadata.
        trace_metadata={name: value[:250] for name, value in {**record.metadata, **metadata}.items() if value},
        tags={TraceTagKey.TRACE_NAME: name_of(record, root), **tags_of(record)},
    )


def _id(record: RunRecord, kept_in: str | Tables) -> str:
    return id_at(record.trace_id, kept_in.location if isinstance(kept_in, Tables) else None)


def _location(kept_in: str | Tables) -> TraceLocation:
    if isinstance(kept_in, str):
        return TraceLocation.from_experiment_id(kept_in)
    catalog, schema, *prefix = kept_in.location.split(".")
    if prefix:
        return TraceLocation.from_databricks_uc_table_prefix(catalog, schema, prefix[0])
    return TraceLocation.from_databricks_uc_schema(catalog, schema)


def _spans(record: RunRecord, *, of_trace: bool, kept_in: str | Tables = "") -> list[Span]:
    """All spans. With `of_trace`, the root has the attributes of the whole trace, for stores that get only spans."""
    trace_id = _id(record, kept_in)
    more = trace_attributes(record)
    if not of_trace:
        # The views on tables of Unity Catalog read these from the root span, although the trace has them too.
        names = (SESSION, USER, MODEL) if isinstance(kept_in, Tables) else (MODEL,)
        more = {name: text for name, text in more.items() if name in names}
    with written_together(record):
        root = Span.from_dict(_fields(record, record.root, trace_id, more))
        return [root, *(Span.from_dict(_fields(record, span, trace_id)) for span in record.spans[1:])]


def _fields(
    record: RunRecord, span: SpanRecord, trace_id: str, more: Mapping[str, str] | None = None
) -> dict[str, Any]:
    texts = {name: to_json(value) for name, value in (more or {}).items()}
    return {
        "trace_id": trace_id,
        "span_id": f"{span.id:016x}",
        "parent_span_id": f"{span.parent.id:016x}" if span.parent else None,
        "name": name_of(record, span),
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "status": {"code": "OK", "message": ""} if span.error is None else {"code": "ERROR", "message": span.error},
        "attributes": {"mlflow.traceRequestId": to_json(trace_id), **attributes_of(record, span), **texts},
    }
