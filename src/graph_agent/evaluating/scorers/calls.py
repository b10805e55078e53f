"""Compares tool calls with the expected ones, by name and arguments, with partial credit."""

from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import ExpectedCall, Row
from graph_agent.evaluating.scorers.answers import is_answered
from graph_agent.evaluating.scorers.pairing import best_pairs

HANDOFF = "transfer_to_"

NAME_SHARE = 0.5
"""The credit for a call of the right tool if all expected arguments are wrong."""


def tool_calls(row: Row, record: Record) -> Mapping[str, float | None]:
    """`tool_calls_f1`: the harmonic mean of precision and recall of the calls.

    `tool_arguments`: the share of the expected arguments that a call of the right tool passed correctly.
    """
    wanted = row.expectations.tool_calls
    if wanted is None:
        return {"tool_calls_f1": None, "tool_arguments": None}
    made = _own(wanted, record.last.calls) if is_answered(row, record) else []
    if not wanted:
        return {"tool_calls_f1": float(not made), "tool_arguments": None}
    worth = sum(_matched(wanted, made))
    f1 = 2 * worth / (len(wanted) + len(made))
    arguments = [_best(call, name, values, made) for call in wanted for name, values in call.arguments.items()]
    return {"tool_calls_f1": f1, "tool_arguments": sum(arguments) / len(arguments) if arguments else None}


def _own(wanted: Sequence[ExpectedCall], made: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the calls without the handoffs of a supervisor, unless the row expects handoffs."""
    # A handoff is a tool call on the wire. Rows are shared by graphs with and without a supervisor.
    if any(one.name.startswith(HANDOFF) for one in wanted):
        return list(made)
    return [call for call in made if not call["name"].startswith(HANDOFF)]


def _matched(wanted: Sequence[ExpectedCall], made: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the credit for each pair of an expected call and an actual call. No call counts twice."""
    table = [[worth(one, call) for call in made] for one in wanted]
    return [table[i][j] for i, j in best_pairs(table)]


def worth(wanted: ExpectedCall, made: Mapping[str, Any]) -> float:
    """Return the credit: 1 if the tool and all expected arguments are right, less for wrong arguments, else 0."""
    if not is_tool(made["name"], wanted.name):
        return 0.0
    if not wanted.arguments:
        return 1.0
    right = sum(fits(_argument(made, name), values) for name, values in wanted.arguments.items())
    return NAME_SHARE + (1 - NAME_SHARE) * right / len(wanted.arguments)


def _best(wanted: ExpectedCall, name: str, values: Sequence[Any], made: Sequence[Mapping[str, Any]]) -> bool:
    return any(is_tool(call["name"], wanted.name) and fits(_argument(call, name), values) for call in made)


def is_tool(name: str, wanted: str) -> bool:
    """Return whether `name` is the tool. A server may add a prefix with its own name: `main__tools__calculator`."""
    return name == wanted or name.endswith(f"__{wanted}")


def _argument(call: Mapping[str, Any], name: str) -> Any:
    arguments = call["arguments"]
    return arguments.get(name) if isinstance(arguments, dict) else None


def fits(given: Any, values: Sequence[Any]) -> bool:
    """Return whether the argument is one of the values. Texts are compared without case and white space."""
    return any(given is one if None in (given, one) else _same(given, one) for one in values)


def _same(given: Any, wanted: Any) -> bool:
    try:
        # A model may write a number as a text, or an integer with a decimal point.
        return abs(float(given) - float(wanted)) < 1e-6
    except (TypeError, ValueError, OverflowError):
        return "".join(str(given).split()).lower() == "".join(str(wanted).split()).lower()
