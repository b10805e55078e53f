"""Adds a recorded run to a span that MLflow opened, as `mlflow.pyfunc.ResponsesAgent` does for its methods."""

import json
from typing import Any

from graph_agent.tracing.records import RunRecord, SpanRecord


def attach_to_active_span(record: RunRecord, span: Any) -> None:
    """Add the run's steps below `span`, a live MLflow span such as `mlflow.get_current_active_span()`.

    The span takes the place of the record's root. MLflow sets its inputs and outputs. The trace gets the session, user
    and tags if `span` is the active span.
    """
    # Late: importing MLflow takes over four seconds of CPU. Callers with an active span have imported it already.
    import mlflow

    from graph_agent.tracing.attributes import INPUTS, OUTPUTS, SPAN_TYPE, attributes_of, identity_of, name_of, tags_of

    live: dict[int, Any] = {record.root.id: span}
    for step in record.spans[1:]:
        assert step.parent is not None
        values = {name: json.loads(value) for name, value in attributes_of(record, step).items()}
        live[step.id] = mlflow.start_span_no_context(
            name_of(record, step),
            span_type=values.pop(SPAN_TYPE),
            parent_span=live[step.parent.id],
            inputs=values.pop(INPUTS, None),
            start_time_ns=step.start_ns,
        )
        _end(live[step.id], step, outputs=values.pop(OUTPUTS, None), attributes=values)
    # Not `attributes_of` the root: that would overwrite the span type, inputs and outputs that MLflow set.
    span.set_attributes(record.root.attributes)
    if mlflow.get_current_active_span() is span:
        session, user = identity_of(record, record.session), identity_of(record, record.user)
        mlflow.update_current_trace(tags=tags_of(record), session_id=session, user=user)


def _end(live: Any, step: SpanRecord, *, outputs: Any, attributes: dict[str, Any]) -> None:
    from mlflow.entities import SpanStatus, SpanStatusCode

    ended = SpanStatus(SpanStatusCode.OK)
    if step.error is not None:
        ended = SpanStatus(SpanStatusCode.ERROR, step.error)
    live.end(outputs=outputs, attributes=attributes, status=ended, end_time_ns=step.end_ns)
