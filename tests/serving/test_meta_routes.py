"""The addresses that say something about the service answer with a typed error, whatever fails behind them."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from graph_agent import Settings
from graph_agent.runs.registry import Runs
from graph_agent.serving.dependencies import Dependencies
from graph_agent.serving.gate import Gate
from graph_agent.serving.routes.meta import MetaRoutes
from graph_agent.threads import NodeThreads

SECRET = "hunter2-in-the-message"


class BrokenCatalog:
    """A catalog that meets an exception of foreign code when it looks for edits."""

    async def refresh(self) -> None:
        """Fails."""
        raise RuntimeError(f"connection refused: password={SECRET}")


class BrokenThreads(NodeThreads):
    """Cannot say how many threads are in use."""

    @property
    def held(self) -> int:
        """Fails."""
        raise RuntimeError(f"password={SECRET}")


@pytest.mark.parametrize(("address", "threads"), [("/agent/info", NodeThreads), ("/ready", BrokenThreads)])
def test_a_foreign_exception_is_a_typed_error_and_its_message_stays_inside(
    address: str, threads: type[NodeThreads], caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(wait_seconds=1)
    gate.begin()
    service: Any = SimpleNamespace(catalog=BrokenCatalog())
    gate.open(service)
    routes = MetaRoutes(
        gate=gate, runs=Runs(budgets=Settings().budgets), nodes=threads(1), dependencies=Dependencies({})
    )
    with caplog.at_level(logging.ERROR), TestClient(Starlette(routes=routes.routes())) as client:
        answer = client.get(address)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text + answer.text
