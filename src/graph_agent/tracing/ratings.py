"""Feedback on an answer, as MLflow keeps it: an assessment of the answer's trace by a person.

Source: mlflow 3.17.2, `protos/assessments.proto` and `protos/service.proto`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


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
