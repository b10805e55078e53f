"""`graph-agent model`: download and verify the local model's weights."""

import argparse

from graph_agent.commands.options import settings_from
from graph_agent.local.packages import demand_packages
from graph_agent.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the settings come from the environment."""


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return fetch(settings_from(options))


def fetch(settings: Settings) -> int:
    """Download and verify the weights that the local workspace needs."""
    demand_packages()
    from graph_agent.local import preparation

    preparation.other_languages(settings, preparation.embedder(settings))
    if not preparation.is_upstream(settings):
        preparation.console.print(f"model: {preparation.model_path(settings)}")
    return 0
