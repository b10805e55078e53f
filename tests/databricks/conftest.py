"""Fixtures for tests with a Databricks stand-in: a bare environment, and variables as Databricks Apps sets them."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.databricks.shop import nobody, shop
from tests.standin.server import StandIn, stand_in

__all__ = ["nobody", "shop"]

USERS = tuple(f"user{number:02}" for number in range(20))
"""Users of the stand-in `standing`. Their tokens are `user-NAME`."""

PREFIXES = ("DATABRICKS_", "GRAPH_AGENT_", "MLFLOW_")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all variables and files of the machine that identify a user or a workspace."""
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "no-such-configuration"))


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in. The environment names it and the app's service principal as Databricks Apps does."""
    with stand_in(tmp_path / "workspace", users=USERS) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
async def closed_clients(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Close the HTTP clients that models keep open until the process ends, in the event loop of the test."""
    # Kept here, because the end of a client that is not closed causes a warning.
    made: list[httpx.AsyncClient | httpx.Client] = []

    def noting(kind: type[httpx.AsyncClient] | type[httpx.Client]) -> Callable[..., None]:
        start = kind.__init__

        def note(self: httpx.AsyncClient | httpx.Client, *values: Any, **options: Any) -> None:
            made.append(self)
            start(self, *values, **options)

        return note

    for kind in (httpx.AsyncClient, httpx.Client):
        monkeypatch.setattr(kind, "__init__", noting(kind))
    yield
    for one in made:
        if isinstance(one, httpx.AsyncClient) and not one.is_closed:
            await one.aclose()
        elif isinstance(one, httpx.Client) and not one.is_closed:
            one.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
