"""Lets LangGraph stop a run between two steps of the graph, so that another run goes on there with new messages."""

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.runtime import RunControl

from graph_agent.protocol.final_state import all_messages
from graph_agent.runs.instructions import MESSAGES

REASON = "steered"


def has_open_calls(values: Any) -> bool:
    """Whether the last message with tool calls in a graph's state waits for a result."""
    answered: set[str] = set()
    for one in reversed(all_messages(values.get(MESSAGES)) if isinstance(values, Mapping) else ()):
        if isinstance(one, ToolMessage):
            answered.add(one.tool_call_id)
        elif isinstance(one, AIMessage) and (one.tool_calls or one.invalid_tool_calls):
            return any(call["id"] not in answered for call in (*one.tool_calls, *one.invalid_tool_calls))
        elif isinstance(one, HumanMessage):
            return False
    return False


class SteerControl(RunControl):
    """Is asked by LangGraph before each step whether to stop there, for one stream of a graph.

    Graphs within the graph ask the same object, and so may nodes. They get no: only between two steps of the graph
    itself, nothing is half done.
    """

    __slots__ = ("_begun", "_may_stop")

    def __init__(self, may_stop: Callable[[], bool]) -> None:
        super().__init__()
        self._may_stop = may_stop
        self._begun = False

    @property
    def drain_requested(self) -> bool:
        """Whether the graph stops before its next step."""
        # LangGraph sets the variable where it runs a node, and the task of a run starts without it.
        if var_child_runnable_config.get() is not None:
            return False
        if not self._begun:
            # Before the first step, the answers with which a graph is resumed are not stored yet, and an earlier
            # attempt may have left a step half done.
            self._begun = True
            return False
        return self._may_stop()

    @property
    def drain_reason(self) -> str | None:
        """Why the graph stops."""
        return REASON
