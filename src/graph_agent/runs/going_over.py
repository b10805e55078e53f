"""The question to a user whether a run goes on over the user's own limit of tokens.

It is asked between two super-steps of the graph: a step whose model call was refused has no effect, and is run again.
It is an approval like those of `interrupt()`, so it is stored, listed and answered like them. The graph does not know
of it.
"""

from dataclasses import dataclass

from graph_agent.errors import LimitReached
from graph_agent.protocol.interrupts import PendingInterrupt
from graph_agent.runs.request import Turn

TOKENS_PER_DAY = "tokens_per_day"
"""The budget that ends a run whose user does not go on."""

MARK = "limit:"
"""The beginning of the id that stands for the interrupt. LangGraph's ids are hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionToGoOn:
    """What the user has decided."""

    approval: str
    """The id of the approval."""

    approved: bool


def question_to_go_on(reached: LimitReached, run_id: str, *, extra_tokens: int) -> PendingInterrupt:
    """The question, as a graph may ask one."""
    limit = reached.details["tokens_per_day"]
    question = f"Your limit of {limit:,} tokens per day is reached. Go on with {extra_tokens:,} more?"
    value = {"question": question, **reached.details, "extra_tokens": extra_tokens}
    return PendingInterrupt(f"{MARK}{run_id}", value, schema={"type": "boolean"}, yes_or_no=True)


def decision_to_go_on(turn: Turn | None) -> DecisionToGoOn | None:
    """What the user of this turn has decided, or `None` if that was not asked."""
    answers = None if turn is None else turn.answers
    if answers is None:
        return None
    for one in answers.waiting:
        if one.interrupt.startswith(MARK) and one.id in answers.decisions:
            return DecisionToGoOn(approval=one.id, approved=answers.decisions[one.id].kind == "approve")
    return None
