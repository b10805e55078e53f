"""Seconds and tokens, from the runner's own clock and the usage that the agent reports."""

from collections.abc import Mapping

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row


def effort(row: Row, record: Record) -> Mapping[str, float | None]:
    """`first_token_seconds` and `seconds` of the slowest turn; `input_tokens` and `output_tokens` of all together.

    An answer without a first token counts with all its time.
    """
    firsts = [turn.seconds if turn.first_token_seconds is None else turn.first_token_seconds for turn in record.turns]
    return {
        "first_token_seconds": max(firsts),
        "seconds": max(turn.seconds for turn in record.turns),
        "input_tokens": _tokens(record, "input_tokens"),
        "output_tokens": _tokens(record, "output_tokens"),
    }


def _tokens(record: Record, kind: str) -> float | None:
    """Of all turns; none where a completed turn does not tell, as a usage that is not reported is not zero."""
    if any(kind not in turn.usage for turn in record.turns if turn.status == "completed"):
        return None
    return float(sum(turn.usage.get(kind) or 0 for turn in record.turns))
