"""`graph-agent ask` where nothing runs yet: what it starts speaks only where something is wrong."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from tests.starting.starts import free_port, project, starting

from graph_agent.commands.cli import main
from graph_agent.protocol.logged_response import NEVER_RETURNED
from graph_agent.testing import on_loopback

BROKEN = """
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from graph_agent import make_tools


@tool
def lookup(order: str) -> str:
    '''Look up.'''
    raise RuntimeError("postgres://me:hunter2@db")


def ask(state: MessagesState):
    return {"messages": [{"role": "assistant", "content": "", "tool_calls": [
        {"id": "c1", "name": "lookup", "args": {"order": "A1"}, "type": "tool_call"}]}]}


builder = StateGraph(MessagesState).add_node("ask", ask).add_node("tools", make_tools([lookup]))
builder.add_node("say", lambda state: {"messages": [("ai", "It could not be looked up.")]})
graph = builder.add_edge(START, "ask").add_edge("ask", "tools").add_edge("tools", "say").compile()
"""


def asked(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    with starting(folder, "ask", *arguments) as start:
        status = start.process.wait(180)
        return status, start.said.splitlines()


@pytest.mark.local_model
def test_the_answer_stands_alone_but_for_what_was_fetched(tmp_path: Path) -> None:
    status, lines = asked(project(tmp_path), "Hello?", "--graph", "mine")
    assert status == 0
    answer = lines.index("Hello.")
    # Below it the time it took, above it what the workspace prepared.
    assert len(lines) == answer + 2, lines
    assert "total " in lines[-1]
    noise = ("INFO", "uvicorn", "Ready on", "curl", "ready: serving", "shutting down", "WARNING")
    assert [line for line in lines if any(word in line for word in noise)] == []


@pytest.mark.local_model
def test_what_went_wrong_is_told_below_the_answer(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "mine.py").write_text(BROKEN)
    status, lines = asked(folder, "Where is A1?")
    assert status == 0
    assert "It could not be looked up." in lines
    assert [line for line in lines if "tool lookup failed: RuntimeError at" in line] == lines[-1:]
    assert "hunter2" not in "".join(lines)
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.local_model
def test_a_graph_that_does_not_load_is_told(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "mine.py").write_text("import nowhere_to_be_found")
    status, lines = asked(folder, "Hello?")
    assert status != 0
    assert any("no module named 'nowhere_to_be_found'" in line for line in lines)


def test_a_service_whose_graphs_still_load_is_asked_and_no_second_one_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse('data: {"type": "response.output_text.delta", "delta": "Hello."}\n\n')

    loading = [
        Route("/health", lambda _: JSONResponse({"status": "healthy"})),
        Route("/ready", lambda _: JSONResponse({"status": "not_ready"}, 503)),
        Route("/responses", answer, methods=["POST"]),
    ]
    with on_loopback(Starlette(routes=loading)) as url:
        monkeypatch.setenv("GRAPH_AGENT_PORT", url.rpartition(":")[2])
        assert main(["ask", "hi"]) == 0
    assert capsys.readouterr() == ("Hello.", "")


def test_beside_a_dev_that_is_starting_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_PORT", str(free_port()))
    with on_loopback(Starlette()) as workspace:
        monkeypatch.setenv("GRAPH_AGENT_WORKSPACE_PORT", workspace.rpartition(":")[2])
        assert main(["ask", "hi"]) == 2
    assert "if `graph-agent dev` is starting, ask again when it is ready" in capsys.readouterr().err


def test_a_graph_that_waits_for_a_decision_tells_a_person_where_to_decide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def wait(request: Request) -> PlainTextResponse:
        told = {"type": "error", "code": "approval_needs_store", "message": "send it without `store: false`"}
        call = {"type": "function_call", "call_id": "c1", "name": "cancel_booking", "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c1", "output": NEVER_RETURNED}
        events = [*({"type": "response.output_item.done", "item": item} for item in (call, result)), told]
        return PlainTextResponse("".join(f"data: {json.dumps(event)}\n\n" for event in events))

    with on_loopback(Starlette(routes=[Route("/responses", wait, methods=["POST"])])) as url:
        assert main(["ask", "--url", url, "Cancel it."]) == 1
    shown = capsys.readouterr().out
    assert "ask on the chat page" in shown
    assert "  cancel_booking: has not run: it waits for the decision\n" in shown
    assert NEVER_RETURNED not in shown
    assert "store" not in shown


def test_a_graph_that_a_running_service_does_not_have_is_refused_with_the_address_that_was_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [
        Route("/health", lambda _: JSONResponse({"status": "healthy"})),
        Route("/agent/info", lambda _: JSONResponse({"graphs": [{"name": "theirs"}]})),
    ]
    with on_loopback(Starlette(routes=other)) as url:
        monkeypatch.setenv("GRAPH_AGENT_PORT", url.rpartition(":")[2])
        assert main(["ask", "hi", "--graph", "mine"]) == 2
    assert f"the service at {url} has no graph named 'mine'; its graphs are: theirs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ({"mine": "./mine.py:graph"}, True),
        ({"mine": "./mine.py:graph", "theirs": "./mine.py:graph"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_running_service_that_has_none_of_the_graphs_of_this_folder_answers_with_a_word_about_that(
    listed: dict[str, str] | None,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse('data: {"type": "response.output_text.delta", "delta": "Hello."}\n\n')

    other = [
        Route("/health", lambda _: JSONResponse({"status": "healthy"})),
        Route("/agent/info", lambda _: JSONResponse({"graphs": [{"name": "theirs"}]})),
        Route("/responses", answer, methods=["POST"]),
    ]
    monkeypatch.chdir(tmp_path)
    if listed is not None:
        Path("langgraph.json").write_text(json.dumps({"graphs": listed}))
    with on_loopback(Starlette(routes=other)) as url:
        monkeypatch.setenv("GRAPH_AGENT_PORT", url.rpartition(":")[2])
        assert main(["ask", "hi"]) == 0
        shown = capsys.readouterr()
        assert main(["ask", "hi", "--url", url]) == 0
    # The address was named, so that it is the one that was meant.
    assert capsys.readouterr() == ("Hello.", "")
    assert shown.out == "Hello."
    assert (f"the service at {url} answers" in shown.err) is told
    assert ("it has no graph of langgraph.json, which lists mine; its graphs are: theirs" in shown.err) is told


@pytest.mark.local_model
def test_what_dev_tells_to_run_asks_the_service_that_told_it(tmp_path: Path) -> None:
    port = free_port()
    with starting(project(tmp_path), "dev", "--no-reload", "--port", str(port)) as dev:
        assert dev.said_in_time("graph-agent ask ")
        [line] = [one for one in dev.said.splitlines() if "graph-agent ask " in one]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GRAPH_AGENT_")}
        told = subprocess.run(shlex.split(line), env=plain, capture_output=True, text=True, timeout=180)
    assert told.stdout.startswith("Hello.\n"), told.stderr


def test_a_graph_that_is_not_named_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    status, lines = asked(project(tmp_path), "Hello?", "--graph", "mien")
    assert (status, lines) == (2, ["graph-agent: no graph named 'mien'; known: mine"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_whose_port_is_in_use_says_how_to_choose_another(tmp_path: Path, workers: str) -> None:
    with on_loopback(Starlette()) as other:
        port = other.rpartition(":")[2]
        with starting(project(tmp_path), "serve", "--port", port, "--workers", workers) as start:
            assert start.process.wait(180) == 1
            assert "choose another one with --port or GRAPH_AGENT_PORT" in start.said
            assert "Traceback" not in start.said


def test_a_default_graph_that_is_not_named_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    with starting(project(tmp_path), "dev", "--graph", "mien") as start:
        assert start.process.wait(180) == 2
        assert start.said.splitlines() == ["graph-agent: no graph named 'mien'; known: mine"]
