"""A graph as nodes and edges, for clients that draw it."""

from typing import Any

MOST = 500
"""Nodes of a drawing, and edges. Nobody could read more."""


def drawing_of(graph: Any) -> dict[str, Any]:
    """The nodes and edges of a compiled graph, with those of the graphs within it.

    If there are more than `MOST` of either, `complete` is false, and the graphs within it are left out. The lists are
    empty if it is too large even so. Call it in a thread: it may take long.
    """
    drawn, complete = graph.get_graph(xray=True), True
    if _is_too_large(drawn):
        drawn, complete = graph.get_graph(), False
    if _is_too_large(drawn):
        return {"complete": False, "nodes": [], "edges": []}
    return {
        "complete": complete,
        "nodes": [
            {"id": id_, "name": node.name, "kind": _kind(node.name), "group": id_.rpartition(":")[0] or None}
            for id_, node in drawn.nodes.items()
        ],
        "edges": [
            {
                "source": edge.source,
                "target": edge.target,
                "conditional": edge.conditional,
                "label": None if edge.data is None else str(edge.data),
            }
            for edge in drawn.edges
        ],
    }


def _is_too_large(drawn: Any) -> bool:
    return max(len(drawn.nodes), len(drawn.edges)) > MOST


def _kind(name: str) -> str:
    return {"__start__": "start", "__end__": "end"}.get(name, "node")
