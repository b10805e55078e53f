"""Seconds and tokens, from the runner's own clock and the usage that the agent reports."""

from collections.abc import Mapping

from evals.records import Record
from evals.rows import Row


def effort(row: Row, record: Record) -> Mapping[str, float | None]:
    """`first_token_seconds` and `seconds` of the slowest turn; `input_tokens` and `output_tokens` of all together.

    An answer without a first token counts with all its time.
    """
    firsts = [turn.seconds if turn.first_token_seconds is None else turn.first_token_seconds for turn in record.turns]
    return {
        "first_token_seconds": max(firsts),
        "seconds": max(turn.seconds for turn in record.turns),
        "input_tokens": float(sum(turn.usage.get("input_tokens") or 0 for turn in record.turns)),
        "output_tokens": float(sum(turn.usage.get("output_tokens") or 0 for turn in record.turns)),
    }
