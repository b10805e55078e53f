"""Checks the events that tell the steps of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.protocol.events import is_terminal

NODE = "graph_agent:node"


def nodes_in(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The names, with those of the nodes above them, and the status of each node event."""
    return [("/".join(one["node"]["path"]), one["node"]["status"]) for one in events if one["type"] == NODE]


def check_steps(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each node begins, may begin again, and is closed once, before the terminal event. Returns the closed nodes in the
    order in which they began, as the terminal event has them too."""
    nodes: dict[str, dict[str, Any]] = {}
    opened = 0
    for event in events:
        if event["type"] == "response.output_item.added":
            opened = event["output_index"] + 1
        if is_terminal(dict(event)):
            assert event is events[-1]
            assert all(one["status"] != "in_progress" for one in nodes.values()), nodes
        if event["type"] != NODE:
            continue
        node, before = event["node"], nodes.get(event["node"]["id"])
        assert set(node) == {"id", "name", "path", "status", "started_at", "seconds", "output_index"}
        assert node["id"].startswith("node_")
        assert node["path"][-1] == node["name"]
        if before is None:
            assert node["status"] == "in_progress"
            assert node["output_index"] == opened
        else:
            assert before["status"] == "in_progress", "it was closed already"
            assert (before["path"], before["started_at"]) == (node["path"], node["started_at"])
        assert node["status"] in ("in_progress", "completed", "failed", "interrupted")
        if node["status"] == "in_progress":
            assert node["seconds"] is None
        nodes[node["id"]] = node
    closed = list(nodes.values())
    if "response" in events[-1]:
        assert events[-1]["response"]["custom_outputs"]["steps"] == closed
    return closed
