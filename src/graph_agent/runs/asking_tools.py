"""Finds the tool about which a graph asks a person, for the schema of its arguments."""

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel

from graph_agent.protocol.interrupts import PendingInterrupt
from graph_agent.runs.inner_graphs import graphs_in
from graph_agent.tool_schemas import schema_of

Graph = Pregel[Any, Any, Any, Any]


def schema_in(graph: Graph, interrupt: PendingInterrupt, name: str) -> Mapping[str, Any] | None:
    """The schema of the arguments of the tool with this name: of the graph that asks, else of the only one in all
    graphs. `None` if there is none, or if several differ."""
    asking = _asking(graph, interrupt)
    found = [schema_of(one) for one in _tools_of(asking, name)]
    if not found:
        found = [schema_of(one) for within in _all(graph) for one in _tools_of(within, name)]
    return found[0] if found and all(one == found[0] for one in found) else None


def _asking(graph: Graph, interrupt: PendingInterrupt) -> Graph:
    for part in interrupt.namespace:
        within = next(graphs_in(graph.nodes.get(part.split(":")[0])), None)
        if within is None:
            break
        graph = within
    return graph


def _all(graph: Graph) -> Iterator[Graph]:
    seen, unread = {id(graph)}, [graph]
    while unread:
        one = unread.pop()
        yield one
        for node in one.nodes.values():
            for inner in graphs_in(node):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    unread.append(inner)


def _tools_of(graph: Graph, name: str) -> Iterator[BaseTool]:
    for node in graph.nodes.values():
        for runnable in (node.bound, *getattr(node.bound, "steps", ())):
            if isinstance(runnable, ToolNode) and name in runnable.tools_by_name:
                yield runnable.tools_by_name[name]
