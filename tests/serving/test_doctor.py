"""`graph-agent doctor` beside a service that runs: a port that is ours is in order."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from tests.serving.conftest import GRAPHS
from tests.standin.server import stand_in
from tests.starting.starts import project, starting

from graph_agent.commands.cli import main
from graph_agent.testing import on_loopback

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


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is started in the folder of the graphs, where nobody needs to be told about it."""
    monkeypatch.chdir(GRAPHS.parent)


SILENT = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    time.sleep(600)
"""


@contextmanager
def silent(*words: str) -> Iterator[tuple[int, int]]:
    """A process with these words on its command line that holds a port and answers nobody: its id and the port."""
    command = [sys.executable, "-c", SILENT, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


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


def test_a_service_of_another_project_on_the_port_is_in_the_way(
    serve: Callable[..., Any], told: Told, tmp_path: Path
) -> None:
    folder = project(tmp_path)
    with serve(config=folder / "langgraph.json") as service:
        [what, fix] = told("GRAPH_AGENT_PORT", port_of(service.url))
    assert what.startswith(f"FIX  port {port_of(service.url)}: a graph-agent service of another project runs there: ")
    assert f"its graphs are mine, and {GRAPHS} lists " in what
    assert fix.startswith("     -> stop that graph-agent service")
    assert fix.endswith("or set GRAPH_AGENT_PORT here")


def test_a_service_with_the_same_graphs_says_where_it_was_started(
    serve: Callable[..., Any], told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with serve() as service:
        [what] = told("GRAPH_AGENT_PORT", port_of(service.url))
    assert what.endswith(f"runs there and is ready, started in {tmp_path}")


def test_a_service_that_expects_another_token_says_so(
    serve: Callable[..., Any], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "quince-4711")
    with serve(bearer_token="medlar-4712") as service:
        [what, fix] = told("GRAPH_AGENT_PORT", port_of(service.url))
        monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "medlar-4712")
        [right] = told("GRAPH_AGENT_PORT", port_of(service.url))
    assert what.startswith("FIX  ")
    assert what.endswith(": a graph-agent service runs there, and expects another bearer token")
    assert "set GRAPH_AGENT_BEARER_TOKEN to its token" in fix
    assert right.startswith("ok   ")


def test_a_service_whose_store_takes_long_is_a_service_all_the_same(told: Told) -> None:
    async def ready(request: Request) -> JSONResponse:
        await asyncio.sleep(3)
        return JSONResponse({"status": "not_ready"}, 503)

    routes = [Route("/ready", ready), Route("/health", lambda _: JSONResponse({"status": "healthy"}))]
    with on_loopback(Starlette(routes=routes)) as url:
        [what] = told("GRAPH_AGENT_PORT", port_of(url))
    assert what.startswith(f"ok   port {port_of(url)}: a graph-agent service runs there, and does not say within 2 s")


def test_a_service_that_is_suspended_is_named_and_how_to_go_on_with_it(told: Told, tmp_path: Path) -> None:
    with starting(project(tmp_path), "serve") as start:
        assert start.ready()
        pid = start.process.pid
        os.kill(pid, signal.SIGSTOP)
        [what, fix] = told("GRAPH_AGENT_PORT", start.port)
        os.kill(pid, signal.SIGCONT)
    assert what == (
        f"FIX  port {start.port}: a graph-agent service (process {pid}, `graph-agent serve`) holds it and does not "
        "answer within 2 s: it is suspended"
    )
    assert f"`kill -CONT {pid}`" in fix
    assert fix.endswith("or set GRAPH_AGENT_PORT")


@pytest.mark.parametrize(
    ("variable", "command", "what"),
    [
        ("GRAPH_AGENT_PORT", "dev", "a graph-agent service"),
        ("GRAPH_AGENT_WORKSPACE_PORT", "workspace", "a local workspace of graph-agent"),
    ],
)
def test_what_is_ours_and_too_busy_to_answer_is_named_and_may_be_waited_for(
    told: Told, variable: str, command: str, what: str
) -> None:
    with silent("graph_agent", command) as (pid, port):
        named = f"{what} (process {pid}, `graph-agent {command}`)"
        assert told(variable, port) == [
            f"FIX  port {port}: {named} holds it and does not answer within 2 s",
            f"     -> ask again in a minute, because it may be busy; or end it with `kill {pid}`; or set {variable}",
        ]


@pytest.mark.parametrize("variable", ["GRAPH_AGENT_PORT", "GRAPH_AGENT_WORKSPACE_PORT"])
def test_a_port_that_something_else_holds_is_to_be_freed(told: Told, variable: str) -> None:
    with silent() as (pid, port):
        assert told(variable, port) == [
            f"FIX  port {port} is in use by process {pid}, `{Path(sys.executable).name}`",
            f"     -> stop the program that uses it, or set {variable}",
        ]


@pytest.mark.parametrize("variable", ["GRAPH_AGENT_PORT", "GRAPH_AGENT_WORKSPACE_PORT"])
def test_a_program_that_sends_without_an_end_holds_nobody_up_and_gets_no_token(
    told: Told, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "sorb-4713")
    given: list[str | None] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.1)

    async def answer(request: Request) -> StreamingResponse:
        given.append(request.headers.get("authorization"))
        return StreamingResponse(endless())

    with on_loopback(Starlette(routes=[Route("/{path:path}", answer)])) as url:
        [what, _] = told(variable, port_of(url))
    assert what.startswith(f"FIX  port {port_of(url)} is in use")
    assert set(given) == {None}


@pytest.mark.parametrize("variable", ["GRAPH_AGENT_PORT", "GRAPH_AGENT_WORKSPACE_PORT"])
def test_where_nobody_knows_who_holds_a_port_a_silent_one_may_be_ours(
    told: Told, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a system that is not Linux.
    monkeypatch.setattr("graph_agent.processes.port_holder.PROC", GRAPHS.parent / "nowhere")
    with silent() as (_, port):
        assert told(variable, port) == [
            f"FIX  port {port} is in use by a program that does not answer within 2 s",
            "     -> if it is a `graph-agent`, it may be busy, or suspended with Ctrl-Z; else stop that program, "
            f"or set {variable}",
        ]
