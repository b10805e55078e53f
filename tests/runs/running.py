"""Runs a graph built in a test, and gives back every event it sent."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph

from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import RESPONSES, Dialect
from graph_agent.protocol.events import Event
from graph_agent.protocol.messages import to_messages
from graph_agent.protocol.requests import Invocation
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.run import Run
from graph_agent.runs.run_budgets import tighten_budgets
from graph_agent.settings import Budgets

Graph = Any


def asking(text: str = "What now?", *, history: list[dict[str, Any]] | None = None, **fields: Any) -> Invocation:
    """One question, after `history`."""
    items = [*(history or []), {"role": "user", "content": text}]
    values: dict[str, Any] = {
        "graph": None,
        "thread": None,
        "mode": "stream",
        "custom_inputs": {},
        "metadata": {},
        "max_output_tokens": None,
        "max_tool_calls": None,
        "client_request_id": None,
    }
    return Invocation(**values | {"messages": to_messages(items)} | fields)


def a_run(
    graph: Graph,
    *,
    invocation: Invocation | None = None,
    dialect: Dialect = RESPONSES,
    budgets: Budgets | None = None,
    observers: Sequence[RunObserver] = (),
) -> Run:
    """A run that has not started."""
    invocation = invocation or asking()
    request = RunRequest(invocation=invocation, dialect=dialect, owner=Caller("someone"), accepted_at=time.time())
    return Run(
        graph=graph,
        name="agent",
        request=request,
        budgets=tighten_budgets(budgets or Budgets(seconds=30.0), request),
        observers=observers,
    )


async def events_of(run: Run | Graph, *, scope: Scope | None = None, **options: Any) -> list[Event]:
    """Every event of a run in that scope, to its end; without their numbers, which are the log's."""
    if not isinstance(run, Run):
        run = a_run(run, **options)
    run.start(scope)
    events = [entry.event async for batch in run.batches(quiet_seconds=5.0) for entry in batch]
    await run.aclose()
    for event in events:
        del event["sequence_number"]
    return events


def chain(*nodes: Callable[..., Any], state: Any = MessagesState, **options: Any) -> Graph:
    """The nodes one after the other, each named after its function."""
    builder = StateGraph(state, **options)
    names = [node.__name__ for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        builder.add_node(name, node)
    for here, there in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(here, there)
    return builder.compile()


def speaking(model: Any, name: str = "answer") -> Callable[..., Any]:
    """A node that returns what `model` says."""

    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    speak.__name__ = name
    return speak
