"""Settings and fixtures for all tests."""

import asyncio
import gc
import os
import ssl
import sys
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn.server
from hypothesis import HealthCheck, settings

# The tests start hundreds of Python processes. Each imports up to 4,000 modules, which takes twice as long without
# bytecode files, and containers often set this variable.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_new_context = ssl.create_default_context
_shared_context = cache(_new_context)


def _context(*purpose: Any, **sources: Any) -> ssl.SSLContext:
    """The same context for the same file of certificates."""
    make = _shared_context if not purpose and set(sources) == {"cafile"} else _new_context
    return make(*purpose, **sources)


# Every client of httpx and of the SDKs on it reads 140 certificates when it is made, which takes more CPU time than
# most tests. They make thousands of clients, nearly all for http. Nobody changes the context of such a client.
ssl.create_default_context = _context


async def _brief_sleep(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


# uvicorn looks every 0.1 s whether it should stop, and waits as long for its connections to close. The tests stop
# thousands of servers.
uvicorn.server.asyncio = SimpleNamespace(**vars(asyncio) | {"sleep": _brief_sleep})  # type: ignore[attr-defined]

# Test machines are shared, so the time that an example takes does not depend on the code alone.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")


LONGEST = (
    "test_tutorials.py",
    "test_model_package.py",
    "test_model_faults.py",
    "test_kills.py",
    "test_coming_from.py",
    "test_openapi.py",
    "test_tracking_faults.py",
    "test_retrieval_faults.py",
    "test_deploy.py",
    "test_ctrl_c.py",
    "test_approvals_across_processes.py",
    "test_long_histories.py",
    "test_redaction_values.py",
    "test_model.py",
    "test_studio.py",
    "test_mutations.py",
    "test_unity_traces.py",
    "test_user_tokens.py",
    "test_traces.py",
    "test_linear.py",
    "test_judges.py",
    "test_process.py",
    "test_postgres_service.py",
    "test_sigterm.py",
    "test_vector_search.py",
    "test_model_answers.py",
    "test_frozen.py",
    "test_tracking.py",
    "test_repeats_across_processes.py",
    "test_mcp.py",
    "test_new_database.py",
    "test_usage_collection.py",
    "test_command.py",
    "test_many_runs.py",
    "test_postgres_database.py",
    "test_app_tokens.py",
    "test_overlap.py",
    "test_retrieval_traps.py",
    "test_slow_clients.py",
    "test_schedule_service.py",
    "test_stored_requests.py",
    "test_megabytes.py",
    "test_secrets.py",
    "test_whole_workspace.py",
    "test_docs.py",
    "test_ask.py",
    "test_wheel.py",
    "test_document_process.py",
)
"""Files that take long. Each runs in one process and starts first, so that none is left alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the longest files first, and keep the order of the others."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


# Collecting the tests makes millions of objects that stay. The garbage collector need not look at them again and again,
# neither meanwhile nor whenever a test asks it to collect.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what has been imported and collected out of all collections of garbage."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


MLFLOW_WRITES = ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI")
"""Variables that `mlflow.set_experiment` and `mlflow.set_tracking_uri` write. Other tests must not see them."""


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
    """Restore the variables after each test."""
    yield from _restored()


@pytest.fixture(autouse=True, scope="module")
def mlflow_variables_of_a_module() -> Iterator[None]:
    """Restore the variables after the fixtures of each module."""
    yield from _restored()
