"""`graph-agent eval`: score the agent and compare it with its baseline. The evaluation has its own parser."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the arguments after `eval` go to the evaluation's own parser."""


def run(options: argparse.Namespace) -> int:
    """Run the command, and end the process."""
    # Late: imports MLflow, which takes seconds.
    from graph_agent.evaluating.command import run_and_leave

    run_and_leave(options.arguments)
