"""`graph-agent eval`: judge the agent against its baseline. The evaluation has a parser of its own."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None here: what follows `eval` goes to the evaluation's own parser."""


def run(options: argparse.Namespace) -> int:
    """Run the command, and end the process."""
    # Late: brings MLflow.
    from graph_agent.evaluating.command import run_and_leave

    run_and_leave(options.arguments)
