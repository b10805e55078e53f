"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The machine is shared: how long an example takes says nothing about the code.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")


MLFLOW_WRITES = ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI")
"""Variables that `mlflow.set_experiment` and `mlflow.set_tracking_uri` write; another test must not find them."""


def _restored() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in MLFLOW_WRITES}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def mlflow_variables_of_a_test() -> Iterator[None]:
    """As they were, after each test."""
    yield from _restored()


@pytest.fixture(autouse=True, scope="module")
def mlflow_variables_of_a_module() -> Iterator[None]:
    """As they were, after the fixtures of each module."""
    yield from _restored()
