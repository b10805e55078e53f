"""`graph-agent deploy`: deploy the app to Databricks Apps, and roll back if it does not answer."""

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target, the app's name, and how to deploy."""
    parser.add_argument(
        "--target", metavar="NAME", help="target of databricks.yml to deploy (default: its default target)"
    )
    parser.add_argument("--app", metavar="NAME", help="deploy under another app name, with a separate folder")
    parser.add_argument("--dry-run", action="store_true", help="check everything and print the plan; change nothing")
    parser.add_argument(
        "--force",
        action="store_true",
        help="deploy even if nothing changed, and delete other files from the app's folder",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    # Late: imports the Databricks SDK, which other commands and `--help` do not need.
    from graph_agent.deploying.deploy import deploy

    return deploy(
        Path.cwd(),
        environ=os.environ,
        # Flushed, because a deployment takes minutes and its output may be a pipe, as in CI.
        say=lambda line: print(line, flush=True),
        target=options.target,
        app=options.app,
        dry_run=options.dry_run,
        force=options.force,
    )
