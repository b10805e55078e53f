"""Writes feedback to a store of traces: changes a person's assessment, or creates it."""

from collections.abc import Callable
from typing import Any

from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.trace_store import Missing

TRACES = "api/3.0/mlflow/traces"
"""The address of traces that an experiment stores itself."""

CHANGES = "feedback,rationale"
"""The fields that newer feedback replaces."""

Call = Callable[[str, str, Any], Any]
"""Takes the method, the path and the JSON of a call. Returns the JSON of the answer."""


def change_or_create(change: Callable[[str], object], create: Callable[[], str], assessment: str | None) -> str:
    """Change the assessment if there is one, or else create it. Returns its id."""
    if assessment is not None:
        try:
            change(assessment)
        except Missing:
            # Somebody has deleted it. Whether the trace is still there shows next.
            pass
        else:
            return assessment
    return create()


def send_rating(call: Call, trace_id: str, rating: Rating, assessment: str | None) -> str:
    """Store feedback over MLflow's REST API. `assessment` is the id of the person's older one. Returns the id.

    Raises:
        Missing: there is no such trace.
        StoreError: as `call` raises it.
    """
    address = f"{TRACES}/{trace_id}/assessments"

    def change(known: str) -> None:
        body = {"assessment": rating.changes(trace_id, known), "update_mask": CHANGES}
        call("PATCH", f"{address}/{known}", body)

    def create() -> str:
        answer = call("POST", address, {"assessment": rating.fields(trace_id)})
        return str(answer["assessment"]["assessment_id"])

    return change_or_create(change, create, assessment)
