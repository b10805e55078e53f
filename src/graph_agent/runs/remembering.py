"""Gives a graph the memories of the caller for one run."""

import copy
from typing import Any

from langgraph.pregel import Pregel

from graph_agent.stores.memories import OwnedMemories

Graph = Pregel[Any, Any, Any, Any]


def with_memories(graph: Graph, memories: OwnedMemories) -> Graph:
    """A copy of the graph whose `runtime.store` and `get_store()` are these memories, also in its subgraphs.

    A graph that was compiled with a store of its own keeps it.
    """
    if graph.store is not None:
        return graph
    # Not `graph.copy()`, which forgets attributes that are set after construction, and validates the graph again.
    remembering = copy.copy(graph)
    remembering.store = memories
    return remembering
