"""Checks that there was an answer, and that clients can read it."""

from collections.abc import Mapping

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scorers.answers import is_answered


def streams(row: Row, record: Record) -> Mapping[str, float | None]:
    """`no_error`: every turn completed. `well_formed`: events are in order, ids match, and no answer is empty."""
    completed = is_answered(row, record) and all(turn.status == "completed" and not turn.error for turn in record.turns)
    # A turn that asks for a decision has no answer yet.
    formed = all(not turn.problems and (turn.answer.strip() or turn.approvals) for turn in record.turns)
    return {"no_error": float(completed), "well_formed": float(formed)}
