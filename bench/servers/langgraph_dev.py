"""LangGraph's own server, as `langgraph dev` starts it, on the graph of the benchmark.

It runs in an environment of its own. Source: langgraph-cli 0.4.40, langgraph-api 0.16.7.
"""

import json
import os
import sys
from pathlib import Path

GRAPH = Path(__file__).parents[1] / "scripted.py"

RUNS = "64"
"""Runs at the same time, more than the benchmark has streams. By default it lets the others wait."""

OPTIONS = ("--no-browser", "--no-reload", "--n-jobs-per-worker", RUNS)


def main() -> None:
    """Write its list of graphs into the current folder, and become that server. The arguments are passed on."""
    graphs = {"dependencies": ["."], "graphs": {"scripted": f"{GRAPH}:graph"}}
    # Its file names are relative to the current folder, where it also keeps its state.
    Path("langgraph.json").write_text(json.dumps(graphs), encoding="utf-8")
    os.execv(sys.executable, [sys.executable, "-m", "langgraph_cli", "dev", *OPTIONS, *sys.argv[1:]])


if __name__ == "__main__":
    main()
