"""Finds the graph that asked a person, if it is a graph within the graph."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.runnables.utils import get_function_nonlocals
from langgraph.pregel import Pregel

from graph_agent.protocol.interrupts import PendingInterrupt


def without_checkpoints(graph: Pregel[Any, Any, Any, Any], interrupts: Sequence[PendingInterrupt]) -> str | None:
    """The node of a graph within the graph that asks and keeps no checkpoint: it would ask again when it is resumed."""
    for one in interrupts:
        within: Any = graph
        for part in one.namespace:
            name = part.split(":")[0]
            within = next(graphs_in(within.nodes.get(name)), None)
            if within is None:
                break
            if within.checkpointer is False:
                return name
    return None


def one_without_checkpoints(graph: Any) -> str | None:
    """The node of a graph within the graph that keeps no checkpoint, at any depth, or `None`."""
    seen, unread = {id(graph)}, [graph]
    while unread:
        for name, node in unread.pop().nodes.items():
            for inner in graphs_in(node):
                if inner.checkpointer is False:
                    return str(name)
                if id(inner) not in seen:
                    seen.add(id(inner))
                    unread.append(inner)
    return None


def graphs_in(node: Any) -> Iterator[Any]:
    """The graphs that a node runs. LangGraph's own list leaves out those that keep no checkpoint."""
    bound = getattr(node, "bound", None)
    for runnable in (bound, *getattr(bound, "steps", ())):
        if isinstance(runnable, Pregel):
            yield runnable
        function: Callable[..., Any] | None = getattr(runnable, "func", None) or getattr(runnable, "afunc", None)
        for used in () if function is None else get_function_nonlocals(function):
            owner = getattr(used, "__self__", used)
            if isinstance(owner, Pregel):
                yield owner
