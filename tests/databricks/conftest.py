"""What the tests against a Databricks stand-in share: a bare environment, and a stand-in as Apps would name it."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from tests.databricks.shop import nobody, shop
from tests.standin.server import StandIn, stand_in

__all__ = ["nobody", "shop"]

USERS = tuple(f"user{number:02}" for number in range(20))
"""Names known to the stand-in `standing`; their tokens are `user-NAME`."""

PREFIXES = ("DATABRICKS_", "GRAPH_AGENT_", "MLFLOW_")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of the machine says who we are."""
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "no-such-configuration"))


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in, named in the environment as Databricks Apps names the workspace: the app's service principal."""
    with stand_in(tmp_path / "workspace", users=USERS) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
async def closed_clients() -> AsyncIterator[None]:
    """Closes the HTTP clients that models leave open as long as the process lives, in the test's own event loop."""
    # A collection in between would take clients away unclosed, which warns.
    gc.disable()
    yield
    gc.enable()
    for one in gc.get_objects():
        if isinstance(one, httpx.AsyncClient) and not one.is_closed:
            await one.aclose()
        elif isinstance(one, httpx.Client) and not one.is_closed:
            one.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
