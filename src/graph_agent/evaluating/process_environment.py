"""The environment of the process while a workspace other than the configured one is in use."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def workspace_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace every `DATABRICKS_*` variable of the process by `variables`, and restore the environment at the end.

    The service gets its settings as arguments. This is for code that reads the environment itself: Databricks clients
    that a graph's file creates on its own, and MLflow's judges. Without it an evaluation with the scripted model could
    reach the workspace of the person who runs it.
    """
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("DATABRICKS_")]:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
