"""`graph-agent log-model`: log the graphs as an MLflow model."""

import argparse
import os
import sys
import time
from pathlib import Path

from graph_agent.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is logged, under which name, and what it may use."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")
    parser.add_argument("--graph", metavar="NAME", help="the graph that answers; the first one if not given")
    parser.add_argument("--name", default="agent", help="the model's name; catalog.schema.model with --register")
    parser.add_argument("--experiment", metavar="NAME", help="the MLflow experiment (default: GRAPH_AGENT_EXPERIMENT)")
    parser.add_argument("--register", action="store_true", help="also register it in Unity Catalog")
    parser.add_argument("--table", action="store_true", help="a model for tables of questions, for Spark")
    parser.add_argument("--example", metavar="QUESTION", help="ask this once while logging; else no model is called")
    parser.add_argument("--code", type=Path, action="append", default=[], metavar="PATH", help="further files to pack")
    parser.add_argument("--package", action="append", default=[], metavar="REQ", help="a further requirement")
    for flag, kind, what in USED:
        parser.add_argument(flag, dest=kind, action="append", default=[], metavar="NAME", help=what)


USED = (
    ("--endpoint", "endpoints", "a serving endpoint the graphs use"),
    ("--index", "indexes", "a Vector Search index the graphs use"),
    ("--function", "functions", "a Unity Catalog function the graphs use"),
    ("--warehouse", "warehouses", "a SQL warehouse the graphs use, by its id"),
    ("--genie", "genie_spaces", "a Genie space the graphs use, by its id"),
    ("--connection", "connections", "a Unity Catalog connection the graphs use"),
    ("--lakebase", "lakebase", "a Lakebase instance the graphs use"),
)
"""What graphs use beside what is found in them."""


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    # Late: brings MLflow.
    from graph_agent.packaging.log_model import log_model

    began = time.monotonic()
    chosen = {"config": options.config, "default_graph": options.graph, "experiment": options.experiment}
    logged = log_model(
        Settings.from_environment(None, **chosen),
        name=options.name,
        register=options.register,
        table=options.table,
        example=options.example,
        used={kind: getattr(options, kind) for _, kind, _ in USED},
        code=options.code,
        packages=options.package,
        # A named experiment wins over the one of the environment.
        experiment_id=None if options.experiment else os.environ.get("MLFLOW_EXPERIMENT_ID"),
    )
    _say(f"logged {logged.uri} in {time.monotonic() - began:.0f} s")
    if logged.version is not None:
        _say(f"registered as {options.name}, version {logged.version}")
    for kind, names in logged.resources.named():
        _say(f"  {kind}: {', '.join(names)}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
