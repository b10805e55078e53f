"""Six nodes that note what they do in a file, and stop where a test wants to end their process.

A run is known by the text of its user message. Everything that is noted has one line: when, which process, which run,
which node, and whether it began or ended. It is written with one call, so that no line is torn.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode

from graph_agent import AgentState
from graph_agent.testing import Call, ScriptedChatModel, Wait

POLL_SECONDS = 0.002

LONGEST_SECONDS = 120.0

WORDS = tuple(f"word{number} " for number in range(40))


def folder() -> Path:
    """Where it is noted, and where tests say which nodes stop."""
    return Path(os.environ["COUNTING_FOLDER"])


def note(run: str, node: str, what: str) -> None:
    line = f"{time.time()} {os.getpid()} {run} {node} {what}\n"
    file = os.open(folder() / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@contextmanager
def stop_of(run: str, node: str) -> Iterator[Path | None]:
    """The file that keeps this node from going on, if it is the first to get here. Its removal lets it go on."""
    held = folder() / "held" / f"{run}.{node}"
    try:
        (folder() / "stops" / f"{run}.{node}").rename(held)
    except FileNotFoundError:
        yield None
    else:
        yield held


class Stopped:
    """The pause of a model in the middle of its answer."""

    def __init__(self, run: str, node: str) -> None:
        self._run, self._node = run, node

    async def wait(self) -> None:
        await stop(self._run, self._node)


async def stop(run: str, node: str) -> None:
    ends = time.monotonic() + LONGEST_SECONDS
    with stop_of(run, node) as held:
        while held is not None and held.exists() and time.monotonic() < ends:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(POLL_SECONDS)


def stop_in_thread(run: str, node: str) -> None:
    ends = time.monotonic() + LONGEST_SECONDS
    with stop_of(run, node) as held:
        while held is not None and held.exists() and time.monotonic() < ends:
            time.sleep(POLL_SECONDS)


def run_of(messages: list[BaseMessage]) -> str:
    # Others may come while it runs.
    return next(one.text for one in messages if one.type == "human")


@asynccontextmanager
async def counted(run: str, node: str) -> AsyncIterator[None]:
    note(run, node, "begin")
    yield
    note(run, node, "end")


def spoken(node: str, *last: Any) -> Any:
    """A reply that stops in the middle, if a test wants it to."""

    def reply(messages: list[BaseMessage]) -> list[Any]:
        said: list[Any] = [f"{node}: "]
        for place, word in enumerate(WORDS):
            said += [word, Wait(_Breath())]
            if place == len(WORDS) // 2:
                said.append(Wait(Stopped(run_of(messages), node)))
        return [*said, *last]

    return reply


class _Breath:
    """The pause after each word."""

    async def wait(self) -> None:
        await asyncio.sleep(0.001)


@tool
async def count(run: str) -> str:
    """Count a run."""
    async with counted(run, "tools"):
        await stop(run, "tools")
    return f"{run} is one run."


planner = ScriptedChatModel(lambda messages: spoken("plan", Call("count", {"run": run_of(messages)}))(messages))
drafter = ScriptedChatModel(spoken("draft"))
answerer = ScriptedChatModel(spoken("answer"))


async def plan(state: AgentState) -> dict[str, Any]:
    async with counted(run_of(state["messages"]), "plan"):
        return {"messages": [await planner.ainvoke(state["messages"])]}


async def draft(state: AgentState) -> dict[str, Any]:
    async with counted(run_of(state["messages"]), "draft"):
        return {"messages": [await drafter.ainvoke(state["messages"])]}


def check(state: AgentState) -> dict[str, Any]:
    """A synchronous node, which runs in a thread."""
    run = run_of(state["messages"])
    note(run, "check", "begin")
    stop_in_thread(run, "check")
    note(run, "check", "end")
    return {"custom_outputs": {"checked": run}}


async def answer(state: AgentState) -> dict[str, Any]:
    async with counted(run_of(state["messages"]), "answer"):
        return {"messages": [await answerer.ainvoke(state["messages"])]}


async def close(state: AgentState) -> dict[str, Any]:
    run = run_of(state["messages"])
    async with counted(run, "close"):
        await stop(run, "close")
    return {"custom_outputs": {"closed": run}}


graph = (
    StateGraph(AgentState)
    .add_sequence([plan, ("tools", ToolNode([count])), draft, check, answer, close])
    .add_edge(START, "plan")
    .compile()
)
