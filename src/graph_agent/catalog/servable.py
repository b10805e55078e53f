"""Checks that a graph meets the contract: compiled, `messages` in its state, and no checkpointer."""

from typing import Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from graph_agent.errors import GraphNotLoaded
from graph_agent.quick_routers import decide_at_once


def servable_graph(graph: Any, *, name: str, variable: str) -> Pregel[Any, Any, Any, Any]:
    """Return the graph, and compile it if it is not compiled. From now on, its quick routers need no thread.

    Raises:
        GraphNotLoaded: this is not a graph, or it cannot be served; the message says what to change.
    """
    if isinstance(graph, StateGraph):
        graph = graph.compile()
    if not isinstance(graph, Pregel):
        raise GraphNotLoaded(
            f"graph {name!r}: {variable} is a {type(graph).__name__}, not a compiled LangGraph graph", param=name
        )
    if isinstance(graph, CompiledStateGraph) and (schema := _without_messages(graph)):
        raise GraphNotLoaded(
            f"graph {name!r}: {schema} has no `messages`, from which a graph reads the conversation and to which it "
            "adds its answer; derive the state from MessagesState",
            param=name,
        )
    if graph.checkpointer not in (None, False):
        raise GraphNotLoaded(
            f"graph {name!r} is compiled with a checkpointer; export builder.compile() without one: the service and "
            "LangGraph Studio each attach their own",
            param=name,
        )
    decide_at_once(graph)
    return graph


def _without_messages(graph: CompiledStateGraph[Any, Any, Any, Any]) -> str | None:
    """The schema that lacks `messages`, or `None`."""
    # Only state graphs are checked. Graphs of the functional API have no state: they take and return values.
    builder = graph.builder
    if "messages" not in graph.channels:
        return f"its state {_named(builder.state_schema)}"
    if "messages" not in builder.schemas[builder.input_schema]:
        return f"its input schema {_named(builder.input_schema)}"
    return None


def _named(schema: Any) -> str:
    return str(getattr(schema, "__name__", "schema"))
