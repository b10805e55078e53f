"""Checks of `graph-agent doctor` for models on this machine: what fits, and which servers run. They load nothing."""

import os
from collections.abc import Iterable, Iterator

from graph_agent.commands.check import Check
from graph_agent.local.machine import GB, NEEDED, Machine, this_machine
from graph_agent.local.model_servers import PLACES, Place, find_model_servers
from graph_agent.settings import Settings

BUILT_IN = 1.5
"""Billions of parameters of the default local model."""


def machine(settings: Settings) -> Iterator[Check]:
    """Say what this machine has and what it could run, and check that the local model fits."""
    found = this_machine()
    yield Check(True, f"this machine: {found}")
    if found.memory:
        yield from what_fits(found, settings.local_model)
    yield from running(PLACES)


def what_fits(found: Machine, local_model: str) -> Iterator[Check]:
    """Check that the built-in model fits, and say what a model server could run."""
    # With a workspace, only `graph-agent dev` loads a model.
    needed = 0 if os.environ.get("DATABRICKS_HOST") else NEEDED.get(local_model, 0)
    if found.memory < needed:
        smaller = "set GRAPH_AGENT_LOCAL_MODEL=qwen-0.5b, or " if local_model != "qwen-0.5b" else ""
        yield Check(
            False,
            f"local model {local_model} needs a machine with {needed / GB:.0f} GB of memory",
            f"{smaller}set GRAPH_AGENT_LOCAL_MODEL to the base URL of a model server",
        )
    if not found.largest:
        return
    if found.graphics:
        where = "on its graphics processor, which the built-in model does not use"
    else:
        # Reading and writing take time in proportion to the parameters.
        where = f"on its processors, about {found.largest / BUILT_IN:.0f} times slower than the built-in qwen-1.5b"
    fits = f"a 4-bit model of about {found.largest:g} billion parameters fits"
    yield Check(True, f"with a model server such as Ollama, {fits}: {where}")


def running(places: Iterable[Place]) -> Iterator[Check]:
    """Name the model servers that run, with the settings that use each."""
    for server in find_model_servers(places):
        yield Check(True, f"{server}; to use it: {server.settings}")
