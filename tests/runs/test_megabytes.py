"""What a node returns in megabytes is looked through for secrets, and holds nobody else up meanwhile."""

import json
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command
from tests.runs.running import a_run, chain, events_of
from tests.test_redaction_values import longest_wait

from graph_agent import AgentState
from graph_agent.errors import ServiceStopping
from graph_agent.settings import Budgets

pytestmark = pytest.mark.anyio

TOKEN = "dapi" + "0123456789abcdef" * 2
ROOMY = Budgets(seconds=60.0, event_bytes=33_554_432)
"""For texts of three megabytes: each is told five times, which is more than the 16 MB that a run may keep."""

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
        events[:] = await events_of(graph)

    worst = await longest_wait(run, most=0.25)
    told = json.dumps(events)
    assert TOKEN not in told
    assert "hunter2" not in told
    assert "a b c" not in told
    assert events[-1]["type"] == "response.completed"
    assert len(events[-1]["response"]["custom_outputs"]["rows"]) == 20_000
    assert worst < 0.25, worst


async def asks_at_length(state: AgentState) -> dict[str, Any]:
    return {"messages": [AIMessage("", tool_calls=[{"name": "look", "args": {"note": LONG}, "id": "c1"}])]}


async def commands(state: AgentState) -> Command[Any]:
    rows = [{"note": f"row {number} of {TOKEN}", "password": "a b c"} for number in range(20_000)]
    return Command(update={"messages": [ToolMessage("seen", tool_call_id="c1")], "custom_outputs": {"rows": rows}})


async def test_long_arguments_and_outputs_of_a_command_are_redacted_in_pauses() -> None:
    events: list[Any] = []

    async def run() -> None:
        events[:] = await events_of(chain(asks_at_length, commands, state=AgentState))

    worst = await longest_wait(run, most=0.25)
    told = json.dumps(events)
    assert TOKEN not in told
    assert "hunter2" not in told
    assert "a b c" not in told
    assert len(events[-1]["response"]["custom_outputs"]["rows"]) == 20_000
    assert worst < 0.25, worst


async def answers(state: AgentState) -> dict[str, Any]:
    return {"messages": [AIMessage(LONG)]}


async def streams(state: AgentState) -> dict[str, Any]:
    model = GenericFakeChatModel(messages=iter([AIMessage("x" * 3_000_000 + " " + TOKEN)]))
    return {"messages": [await model.ainvoke("Go.")]}


async def thinks(state: AgentState) -> dict[str, Any]:
    return {"messages": [AIMessage([{"type": "reasoning", "reasoning": LONG}, {"type": "text", "text": "Done."}])]}


@pytest.mark.parametrize("node", [answers, streams, thinks])
async def test_a_long_text_of_a_model_is_told_in_pieces_and_others_work_between(node: Any) -> None:
    events: list[Any] = []

    async def run() -> None:
        events[:] = await events_of(chain(node, state=AgentState), budgets=ROOMY)

    worst = await longest_wait(run, most=0.25)
    told = json.dumps(events)
    assert TOKEN not in told
    assert "hunter2" not in told
    kinds = [event["type"] for event in events]
    assert kinds.count("response.completed") == 1
    assert kinds[-1] == "response.completed"
    for name in ("response.output_text", "response.reasoning_summary_text"):
        deltas = "".join(event["delta"] for event in events if event["type"] == f"{name}.delta")
        assert deltas == "".join(event["text"] for event in events if event["type"] == f"{name}.done")
    assert worst < 0.25, worst


async def test_an_end_that_has_begun_is_told_whole_though_the_run_is_stopped_meanwhile() -> None:
    run = a_run(chain(answers, state=AgentState), budgets=ROOMY)
    run.start()
    entries: list[Any] = []
    async for batch in run.batches(quiet_seconds=5.0):
        entries += batch
        if any(entry.type == "response.output_text.delta" for entry in batch):
            break
    await run.aclose()
    async for batch in run.batches(quiet_seconds=5.0, after=entries[-1].number):
        entries += batch
    assert run.status == "completed"
    assert [entry.type for entry in entries if entry.type.startswith("response.completed")] == ["response.completed"]
    assert entries[-1].type == "response.completed"
    assert [entry.number for entry in entries] == list(range(len(entries)))


async def test_a_run_that_is_cut_while_it_tells_a_long_text_ends_once() -> None:
    async def then_waits(state: AgentState) -> dict[str, Any]:
        model = GenericFakeChatModel(messages=iter([AIMessage(LONG)]))
        await model.ainvoke("Go.")
        return {}

    run = a_run(chain(then_waits, state=AgentState))
    run.start()
    entries: list[Any] = []
    async for batch in run.batches(quiet_seconds=5.0):
        entries += batch
        if any(entry.type == "response.output_text.delta" for entry in batch):
            run.interrupt(ServiceStopping("stopping"))
    await run.aclose()
    ends = {"response.completed", "response.failed", "response.incomplete"}
    assert [entry.type for entry in entries if entry.type in ends] == ["response.failed"]
    assert entries[-1].type == "response.failed"
