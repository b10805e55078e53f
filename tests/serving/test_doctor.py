"""`graph-agent doctor` beside a service that runs: a port that is ours is in order."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import GRAPHS
from tests.standin.server import stand_in

from graph_agent.commands.cli import main

Told = Callable[[str, int], list[str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """What the doctor says of the port that a variable names, and what to do."""
    monkeypatch.setenv("GRAPH_AGENT_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("DATABRICKS_APP_NAME", "DATABRICKS_HOST"):
        monkeypatch.delenv(name, raising=False)

    def tell(variable: str, port: int) -> list[str]:
        monkeypatch.setenv(variable, str(port))
        main(["doctor", "--config", str(GRAPHS)])
        lines = capsys.readouterr().out.splitlines()
        place = next(place for place, line in enumerate(lines) if f"port {port}" in line)
        return [lines[place], *(line for line in lines[place + 1 : place + 2] if line.startswith("  "))]

    return tell


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_a_port_where_a_graph_agent_runs_is_in_order(serve: Callable[..., Any], told: Told) -> None:
    with serve() as service:
        port = port_of(service.url)
        assert told("GRAPH_AGENT_PORT", port) == [f"ok   port {port}: a graph-agent service runs there and is ready"]


def test_a_local_workspace_beside_the_service_is_in_order_and_another_one_keeps_dev_from_starting(
    tmp_path: Path, serve: Callable[..., Any], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stand_in(tmp_path / "standin") as standing:
        port = port_of(standing.url)
        with serve() as service:
            monkeypatch.setenv("GRAPH_AGENT_PORT", str(port_of(service.url)))
            said = told("GRAPH_AGENT_WORKSPACE_PORT", port)
            assert said == [f"ok   port {port}: a local workspace of graph-agent runs there"]
        [what, fix] = told("GRAPH_AGENT_WORKSPACE_PORT", port)
        assert what.startswith(f"FIX  port {port}: a local workspace of graph-agent runs there")
        assert "so `dev` cannot start here" in what
        assert fix.endswith("or set GRAPH_AGENT_WORKSPACE_PORT")


@pytest.mark.parametrize("variable", ["GRAPH_AGENT_PORT", "GRAPH_AGENT_WORKSPACE_PORT"])
def test_a_port_that_something_else_holds_is_to_be_freed(told: Told, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert told(variable, port) == [
            f"FIX  port {port} is in use",
            f"     -> stop the program that uses it, or set {variable}",
        ]
