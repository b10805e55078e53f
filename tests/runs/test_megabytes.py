"""What a node returns in megabytes is looked through for secrets, and holds nobody else up meanwhile."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from tests.runs.running import chain, events_of
from tests.test_redaction_values import longest_wait

from graph_agent import AgentState

pytestmark = pytest.mark.anyio

TOKEN = "dapi" + "0123456789abcdef" * 2
LONG = "password=hunter2-5f0c; " * 120_000 + TOKEN
CALL = {"name": "look", "args": {}, "id": "c1"}


async def asks(state: AgentState) -> dict[str, Any]:
    return {"messages": [AIMessage("", tool_calls=[CALL])]}


async def returns(state: AgentState) -> dict[str, Any]:
    return {"messages": [ToolMessage(LONG, tool_call_id="c1")]}


async def puts_out(state: AgentState) -> dict[str, Any]:
    rows = [{"note": f"row {number} of {TOKEN}", "password": "a b c"} for number in range(20_000)]
    return {"messages": [AIMessage("Done.")], "custom_outputs": {"rows": rows}}


@pytest.mark.parametrize("nodes", [[asks, returns, puts_out]])
async def test_long_results_and_outputs_are_redacted_in_pauses(nodes: list[Any]) -> None:
    graph = chain(*nodes, state=AgentState)
    events: list[Any] = []

    async def run() -> None:
        events.extend(await events_of(graph))

    worst = await longest_wait(run)
    told = json.dumps(events)
    assert TOKEN not in told
    assert "hunter2" not in told
    assert "a b c" not in told
    assert events[-1]["type"] == "response.completed"
    assert len(events[-1]["response"]["custom_outputs"]["rows"]) == 20_000
    assert worst < 0.25, worst
