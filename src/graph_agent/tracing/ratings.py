"""Feedback on an answer, as MLflow keeps it: an assessment of the answer's trace by a person.

Source: mlflow 3.17.2, `protos/assessments.proto` and `protos/service.proto`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graph_agent.tracing.trace_store import Missing

TRACES = "api/3.0/mlflow/traces"
"""The address of traces that an experiment stores itself."""

CHANGES = "feedback,rationale"
"""The fields that newer feedback replaces."""

Call = Callable[[str, str, Any], Any]
"""Takes the method, the path and the JSON of a call. Returns the JSON of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What a person says about an answer."""

    name: str
    """The name of the assessment. A person has one assessment of each name."""

    value: bool
    comment: str | None
    user: str
    """Who says it."""

    def fields(self, trace_id: str) -> dict[str, Any]:
        """A new assessment in the JSON form of MLflow's messages."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made: dict[str, Any] = {
            "assessment_name": self.name,
            "trace_id": trace_id,
            "source": {"source_type": "HUMAN", "source_id": self.user},
            "create_time": now,
            "last_update_time": now,
            "feedback": {"value": self.value},
            "valid": True,
        }
        return made if self.comment is None else {**made, "rationale": self.comment}

    def changes(self, trace_id: str, assessment: str) -> dict[str, Any]:
        """The same person's newer opinion. It replaces the comment too."""
        return {
            "assessment_id": assessment,
            "trace_id": trace_id,
            "feedback": {"value": self.value},
            "rationale": self.comment or "",
        }


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
