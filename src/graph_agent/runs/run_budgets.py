"""The budgets of one run."""

from dataclasses import replace

from graph_agent.runs.request import RunRequest
from graph_agent.settings import Budgets


def tighten_budgets(budgets: Budgets, request: RunRequest) -> Budgets:
    """The budgets of a run. A request may lower the service's budgets, never raise them."""
    asked = request.invocation
    return replace(
        budgets,
        tool_calls=min(budgets.tool_calls, asked.max_tool_calls or budgets.tool_calls),
        output_tokens=min(budgets.output_tokens, asked.max_output_tokens or budgets.output_tokens),
    )
