"""Measures seconds by the clock of the runner, and tokens as the agent reports them."""

from collections.abc import Mapping

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row


def effort(row: Row, record: Record) -> Mapping[str, float | None]:
    """`first_token_seconds` and `seconds` of the slowest turn; `input_tokens` and `output_tokens` of all turns.

    For an answer without a first token, its whole time counts.
    """
    firsts = [turn.seconds if turn.first_token_seconds is None else turn.first_token_seconds for turn in record.turns]
    return {
        "first_token_seconds": max(firsts),
        "seconds": max(turn.seconds for turn in record.turns),
        "input_tokens": _tokens(record, "input_tokens"),
        "output_tokens": _tokens(record, "output_tokens"),
    }


def _tokens(record: Record, kind: str) -> float | None:
    """Return the sum over all turns. None if a completed turn reports no usage, because that does not mean zero."""
    if any(kind not in turn.usage for turn in record.turns if turn.status == "completed"):
        return None
    return float(sum(turn.usage.get(kind) or 0 for turn in record.turns))
