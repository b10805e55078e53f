"""`graph-agent log-model`: log the graphs as an MLflow model."""

import argparse
import os
import sys
import time
from pathlib import Path

from graph_agent.commands.options import add_config
from graph_agent.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to log, its name, and the resources it uses."""
    add_config(parser)
    parser.add_argument("--graph", metavar="NAME", help="graph that answers (default: the first one in langgraph.json)")
    parser.add_argument(
        "--name", metavar="NAME", default="agent", help="name of the model; catalog.schema.model with --register"
    )
    parser.add_argument("--experiment", metavar="NAME", help="MLflow experiment (default: GRAPH_AGENT_EXPERIMENT)")
    parser.add_argument("--register", action="store_true", help="also register the model in Unity Catalog")
    parser.add_argument("--table", action="store_true", help="log a model that answers a table of questions on Spark")
    parser.add_argument(
        "--example", metavar="QUESTION", help="question to ask while logging (default: no model is called)"
    )
    parser.add_argument(
        "--code", type=Path, action="append", default=[], metavar="PATH", help="another file or folder to include"
    )
    parser.add_argument(
        "--package", action="append", default=[], metavar="REQ", help="another package that the model needs"
    )
    for flag, kind, what in USED:
        parser.add_argument(flag, dest=kind, action="append", default=[], metavar="NAME", help=what)


USED = (
    ("--endpoint", "endpoints", "serving endpoint that the graphs use"),
    ("--index", "indexes", "Vector Search index that the graphs use"),
    ("--function", "functions", "Unity Catalog function that the graphs use"),
    ("--warehouse", "warehouses", "id of a SQL warehouse that the graphs use"),
    ("--genie", "genie_spaces", "id of a Genie space that the graphs use"),
    ("--connection", "connections", "Unity Catalog connection that the graphs use"),
    ("--lakebase", "lakebase", "Lakebase instance that the graphs use"),
)
"""Flags for resources that cannot be found in the graphs."""


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    # Late: imports MLflow, which takes seconds.
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
        # An experiment named with --experiment wins over the environment's id.
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
