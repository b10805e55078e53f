"""`graph-agent deploy`: ship the app to Databricks Apps, and roll back if it does not answer."""

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is deployed, and how."""
    parser.add_argument("--target", metavar="NAME", help="a target of databricks.yml; its default one if not given")
    parser.add_argument("--app", metavar="NAME", help="another name for the app, with a folder of its own")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, change nothing")
    parser.add_argument(
        "--force",
        action="store_true",
        help="deploy although nothing changed; clear the folder of what is not the app's",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    # Late: brings the Databricks SDK.
    from graph_agent.deploying.deploy import deploy

    return deploy(
        Path.cwd(),
        environ=os.environ,
        say=lambda line: print(line, flush=True),
        target=options.target,
        app=options.app,
        dry_run=options.dry_run,
        force=options.force,
    )
