"""What the terminal of `graph-agent dev` shows of a graph's own faults, and no log of `graph-agent serve`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from tests.serving.test_process import GRAPHS, Process, address, graph_agent

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2"

SHOP = '''"""A shop whose database is down."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from graph_agent import make_tools


@tool
def lookup(order: str) -> str:
    """Look up an order."""
    raise RuntimeError("no route to postgres://shop:hunter2-5f0c@db\\x1b[2J\\r2026-11-29 INFO forged")


def ask(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("", tool_calls=[{"id": "c1", "name": "lookup", "args": {"order": "A1001"}}])]}


builder = StateGraph(MessagesState)
builder.add_node("ask", ask)
builder.add_node("tools", make_tools([lookup]))
builder.add_node("answer", lambda state: {"messages": [AIMessage("It could not be looked up.")]})
builder.add_edge(START, "ask").add_edge("ask", "tools").add_edge("tools", "answer")
graph = builder.compile()
'''


@asynccontextmanager
async def shop(folder: Path, command: str, **settings: str) -> AsyncIterator[Process]:
    (folder / "shop.py").write_text(SHOP)
    (folder / "langgraph.json").write_text('{"graphs": {"shop": "./shop.py:graph"}}')
    more = ["--real-workspace"] if command == "dev" else []
    config = ["--config", str(folder / "langgraph.json")]
    async with graph_agent(*config, *more, command=command, **settings) as running:
        with anyio.fail_after(60):
            running.url = address(await running.logged("running on http"))
            await running.logged("ready: serving")
        yield running


async def asked(running: Process) -> list[str]:
    """The lines about the tool and what follows."""
    async with running.client() as client:
        answer = await client.post("/responses", json={"input": "Where is A1001?"})
    assert answer.json()["status"] == "completed"
    assert PASSWORD not in answer.text
    assert "Traceback" not in answer.text
    with anyio.fail_after(20):
        await running.logged("POST /responses")
    text = "".join(running.log)
    return text[text.index("tool lookup failed") :].splitlines()


async def test_dev_shows_the_whole_traceback_of_a_failing_tool_redacted(tmp_path: Path) -> None:
    async with shop(tmp_path, "dev") as running:
        first, *rest = await asked(running)
    assert first.startswith(f"tool lookup failed: RuntimeError at {tmp_path}/shop.py:15 in lookup")
    shown = [line for line in rest if line.startswith("    ")]
    assert shown[0] == "    Traceback (most recent call last):"
    assert any(f'File "{tmp_path}/shop.py", line 15, in lookup' in line for line in shown)
    # What a terminal would obey is gone, and so is the password; nothing begins a line of its own.
    assert shown[-1].startswith("    RuntimeError: no route to postgres://shop:[redacted")
    assert PASSWORD not in "".join(running.log)
    assert "\x1b" not in "".join(running.log)
    assert not [line for line in running.log if line.startswith("2026-11-29 INFO forged")]


@pytest.mark.parametrize(("command", "form"), [("serve", "text"), ("serve", "json"), ("dev", "json")])
async def test_no_other_log_has_more_than_type_and_place(tmp_path: Path, command: str, form: str) -> None:
    async with shop(tmp_path, command, GRAPH_AGENT_LOG_FORMAT=form) as running:
        first, *rest = await asked(running)
    assert "RuntimeError at " in first
    assert "no route" not in "".join([first, *rest])
    assert "Traceback" not in "".join(running.log)


async def test_dev_shows_the_traceback_of_a_failing_node_once() -> None:
    async with graph_agent("--config", str(GRAPHS), "--real-workspace", command="dev") as running:
        with anyio.fail_after(60):
            running.url = address(await running.logged("running on http"))
            await running.logged("ready: serving")
        async with running.client() as client:
            body = {"model": "failing", "input": "Go.", "custom_inputs": {"fail": "tool"}}
            await client.post("/responses", json=body)
        with anyio.fail_after(20):
            await running.logged("POST /responses")
    # The tool's exception ends the run as well: two lines, one traceback.
    assert len([line for line in running.log if "Unreachable at " in line]) == 2
    assert len([line for line in running.log if "Traceback (most recent call last)" in line]) == 1
    assert PASSWORD not in "".join(running.log)
