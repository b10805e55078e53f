"""Scorers: functions from a row and its record to named figures, without a judge and without I/O.

A figure is `None` if the row does not ask for it. It is never `None` because of the answer: what is missing in an
answer counts as 0. Figures from 0 to 1 are better when higher. Seconds and tokens are better when lower.
"""

from collections.abc import Callable, Mapping, Sequence

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scorers.answers import declines, facts
from graph_agent.evaluating.scorers.calls import tool_calls
from graph_agent.evaluating.scorers.documents import citations, retrieval
from graph_agent.evaluating.scorers.effort import effort
from graph_agent.evaluating.scorers.leaks import leaks
from graph_agent.evaluating.scorers.streams import streams

Figures = Mapping[str, float | None]
Scorer = Callable[[Row, Record], Figures]


def scorers(prompts: Sequence[str] = ()) -> dict[str, Scorer]:
    """Return the built-in scorers by name. `prompts` are texts that no answer may repeat."""
    return {
        "facts": facts,
        "declines": declines,
        "tool_calls": tool_calls,
        "retrieval": retrieval,
        "citations": citations,
        "leaks": leaks(prompts),
        "streams": streams,
        "effort": effort,
    }
