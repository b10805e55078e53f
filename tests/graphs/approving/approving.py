"""Graphs that ask a person before they act, each in another way.

Their model makes one call for each word of the form `tool:argument` in the last message, and then says what the tools
returned.
"""

import operator
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any

from effects import done
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from graph_agent import AgentContext, AgentState, make_planner, make_tools, requested_nodes
from graph_agent.testing import Call, ScriptedChatModel

CALLS = count(1)


@tool
def send(to: str) -> str:
    """Send a mail."""
    done(f"send {to}")
    return f"sent to {to}"


@tool
def delete(to: str) -> str:
    """Delete a file."""
    done(f"delete {to}")
    return f"deleted {to}"


@tool
def look(to: str) -> str:
    """Look something up."""
    done(f"look {to}")
    return f"saw {to}"


@tool
def confirm(to: str) -> str:
    """Ask within the tool."""
    answer = interrupt(f"Confirm {to}?")
    done(f"confirm {to}")
    return f"confirmed {to}: {answer}"


@tool
def hold(to: str) -> str:
    """Hang while there is a file of that name."""
    done(f"hold {to}")
    while Path(to).exists():
        time.sleep(0.01)
    return "held"


TOOLS = [send, delete, look, confirm, hold]


def reply(messages: Sequence[BaseMessage]) -> list[Any]:
    """What the model says next."""
    results: list[str] = []
    for one in reversed(messages):
        if isinstance(one, ToolMessage):
            results.insert(0, one.text)
        elif isinstance(one, HumanMessage):
            break
    if messages[-1].text == "recall":
        return [" | ".join(f"{one.type} {one.text}" for one in messages)]
    if "sent to nobody" in results:
        return [RuntimeError("it broke")]
    if results:
        return [f"Done: {'; '.join(results)}."]
    words = [word.split(":", 1) for word in messages[-1].text.split() if ":" in word]
    if not words:
        return [f"You said {messages[-1].text}."]
    said = ["Gladly."] if "please" in messages[-1].text else []
    return [*said, *(Call(name, {"to": to}, f"call_{next(CALLS)}") for name, to in words)]


def model() -> Any:
    """A model for one graph."""
    return ScriptedChatModel(*[reply] * 8, each_turn=True)


def _graph_of(tools: Any) -> Any:
    speaker = model()

    async def plan(state: AgentState) -> dict[str, Any]:
        return {"messages": [await speaker.ainvoke(state["messages"])]}

    builder = StateGraph(AgentState)
    builder.add_node("plan", plan)
    builder.add_node("tools", tools)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan", lambda state: "tools" if state["messages"][-1].tool_calls else END, ["tools", END]
    )
    builder.add_edge("tools", "plan")
    return builder.compile()


mail = _graph_of(make_tools(TOOLS, approve=["send", "delete", "hold"]))

building = StateGraph(AgentState, context_schema=AgentContext)
building.add_node("planner", make_planner(model=model(), tools=TOOLS, prompt="Help."))
building.add_node("tools", make_tools(TOOLS, approve=["send"]))
building.add_edge(START, "planner")
building.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
building.add_edge("tools", "planner")
errands = building.compile()
"""It takes the tools of a client, too."""

DECIDED = {"send": True, "delete": {"allowed_decisions": ["approve", "reject"]}}
batched = create_agent(model(), TOOLS, middleware=[HumanInTheLoopMiddleware(DECIDED)])
per_call = create_agent(model(), TOOLS, middleware=[HumanInTheLoopMiddleware(DECIDED, interrupt_mode="per_call")])


class Log(AgentState):
    """What the nodes were told."""

    told: Annotated[list[str], operator.add]


def asks(name: str, *questions: Any) -> Any:
    """A node that asks one question after the other."""

    async def node(state: Log) -> dict[str, Any]:
        answers = [interrupt(question) for question in questions]
        done(f"{name} {answers}")
        return {"told": [f"{name} {answers}"]}

    return node


def tells(state: Log) -> dict[str, Any]:
    """Say what was told since the last message of a person."""
    return {"messages": [AIMessage(" and ".join(state["told"]))]}


def _asking(*nodes: tuple[str, Any]) -> Any:
    builder = StateGraph(Log)
    builder.add_node("tell", tells)
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(START, name)
    builder.add_edge([name for name, _ in nodes], "tell")
    return builder.compile()


question = _asking(("ask", asks("ask", {"question": "How many?", "most": 5})))
parallel = _asking(("left", asks("left", "Left?")), ("right", asks("right", "Right?")))
twice = _asking(("ask", asks("ask", "First?", "Second?")))


async def breaks(state: Log) -> dict[str, Any]:
    """Ask, and fail if the answer says so."""
    answer = interrupt("Fail?")
    done(f"break {answer}")
    if answer is True:
        raise RuntimeError("it broke")
    return {"told": [f"break {answer}"]}


breaking = _asking(("break", breaks))

inner = StateGraph(Log)
inner.add_node("ask", asks("ask", "Inner?"))
inner.add_edge(START, "ask")

open_inside = StateGraph(Log)
open_inside.add_node("team", inner.compile())
open_inside.add_node("tell", tells)
open_inside.add_edge(START, "team")
open_inside.add_edge("team", "tell")
nested = open_inside.compile()

agent_inside = StateGraph(AgentState)
agent_inside.add_node("agent", _graph_of(make_tools(TOOLS, approve=["send", "delete"])))
agent_inside.add_edge(START, "agent")
team = agent_inside.compile()

closed_inside = StateGraph(Log)
closed_inside.add_node("team", inner.compile(checkpointer=False))
closed_inside.add_edge(START, "team")
sealed = closed_inside.compile()

stops = StateGraph(Log)
stops.add_node("tell", tells)
stops.add_edge(START, "tell")
breakpoint_ = stops.compile(interrupt_before=["tell"])
