"""`graph-agent load`: what it sends, what it counts, and what its report says."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from graph_agent import Settings, create_app
from graph_agent.commands.cli import main
from graph_agent.testing import ScriptedChatModel, on_loopback

Answer = Callable[[int, dict[str, Any]], Awaitable[Response]]
"""Answers the request of a number, which is 0 for the one before the load, with its body."""

TEXT = {"type": "response.output_text.delta", "delta": "word "}
COMPLETED = {"type": "response.completed", "response": {"status": "completed", "usage": {"output_tokens": 7}}}


class Asked:
    """The requests that a service has received."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.active = 0
        self.most_active = 0


@contextmanager
def service(answer: Answer) -> Iterator[tuple[str, Asked]]:
    asked = Asked()

    async def endpoint(request: Request) -> Response:
        body = json.loads(await request.body())
        number = len(asked.bodies)
        asked.bodies.append(body)
        asked.headers.append(dict(request.headers))
        asked.paths.append(request.url.path)
        asked.active += 1
        asked.most_active = max(asked.most_active, asked.active)
        try:
            return await answer(number, body)
        finally:
            asked.active -= 1

    with on_loopback(Starlette(routes=[Route("/{path:path}", endpoint, methods=["POST"])])) as url:
        yield url, asked


def stream(*events: dict[str, Any], done: bool = True) -> Response:
    async def frames() -> AsyncIterator[str]:
        for event in events:
            yield f"data: {json.dumps(event)}\n\n"
            await asyncio.sleep(0)
        if done:
            yield "data: [DONE]\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")


async def whole(number: int, body: dict[str, Any]) -> Response:
    return stream(TEXT, TEXT, COMPLETED)


def load(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command with a short step of one user. `arguments` come last, so they win."""
    short = ["--users", "1", "--seconds", "0.3", "--think", "0", "--out", str(out)]
    status = main(["load", *short, *arguments])
    return status, json.loads((out / "report.json").read_text()) if (out / "report.json").exists() else {}


def test_the_report_counts_the_answers_of_a_graph_and_its_page_needs_nothing_else(tmp_path: Path) -> None:
    model = ScriptedChatModel(lambda messages: "Three words here")

    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").compile()
    app = create_app(Settings(store="memory", tracing="off"), graphs={"speaker": graph})
    with on_loopback(app) as url:
        status, report = load(tmp_path, url, "--users", "1,3", "--graph", "speaker")
    assert status == 0
    assert [(step["users"], step["failed"]) for step in report["steps"]] == [(1, 0), (3, 0)]
    for step in report["steps"]:
        assert step["answered"] + step["unfinished"] == step["asked"] > 0
        assert 0 < step["first_token"]["p50"] <= step["total"]["p50"] <= step["total"]["max"]
        assert step["pieces"] >= step["answered"]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") >= 6
    assert "<script" not in page
    assert "src=" not in page
    assert "href=" not in page


def test_refusals_are_named_by_status_and_code_and_fail_the_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(number: int, body: dict[str, Any]) -> Response:
        refusal = {"error": {"code": "too_many_runs"}}
        return await whole(number, body) if number % 2 == 0 else JSONResponse(refusal, 429, {"retry-after": "1"})

    with service(answer) as (url, _):
        status, report = load(tmp_path, url, "--users", "1,2,3", "--max-errors", "1%")
    assert status == 1
    assert set(report["whole"]["errors"]) == {"HTTP 429 too_many_runs"}
    assert report["passed"] is False
    assert "slots of GRAPH_AGENT_MAX_RUNS" in capsys.readouterr().out
    assert "HTTP 429 too_many_runs" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([TEXT, {"type": "error", "code": "model_failed"}], "error model_failed"),
        ([TEXT, {"type": "error", "code": "<b>secret text</b>"}], "error without a code"),
        ([TEXT, {"error": {"code": "graph_failed", "message": "secret"}}], "error graph_failed"),
        ([TEXT, {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}],
         "incomplete max_output_tokens"),
        ([TEXT], "the stream ended early"),
    ],
)  # fmt: skip
def test_an_answer_that_fails_in_its_stream_is_an_error_of_its_kind(
    events: list[dict[str, Any]], kind: str, tmp_path: Path
) -> None:
    async def answer(number: int, body: dict[str, Any]) -> Response:
        return await whole(number, body) if number == 0 else stream(*events, done=False)

    with service(answer) as (url, _):
        _, report = load(tmp_path, url)
    assert set(report["whole"]["errors"]) == {kind}
    assert report["whole"]["answered"] == 0
    assert report["whole"]["first_token"] == {"count": 0}
    assert "secret" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (JSONResponse({"error": {"code": "unauthenticated", "message": "secret"}}, 401), "HTTP 401 unauthenticated"),
        (RedirectResponse("https://sign-in.example.com/secret"), "the token was not accepted"),
        (JSONResponse({"output": []}), "the address does not stream"),
        (stream(COMPLETED), "had no text"),
    ],
)
def test_no_load_follows_a_first_question_that_fails(
    response: Response, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(number: int, body: dict[str, Any]) -> Response:
        return response

    with service(answer) as (url, asked):
        status, report = load(tmp_path, url)
    assert (status, report, len(asked.bodies)) == (2, {}, 1)
    error = capsys.readouterr().err
    assert "no load was sent" in error
    assert said in error
    assert "secret" not in error


def test_each_step_has_as_many_users_at_a_time_and_never_more(tmp_path: Path) -> None:
    together = asyncio.Event()
    waiting = 0

    async def answer(number: int, body: dict[str, Any]) -> Response:
        nonlocal waiting
        # The first step has one user, whose answers must not wait for others.
        if asked.most_active == 1 and number < 3:
            return await whole(number, body)
        waiting += 1
        if waiting >= 3:
            together.set()
        await together.wait()
        return await whole(number, body)

    with service(answer) as (url, asked):
        status, _ = load(tmp_path, url, "--users", "1,3")
    assert (status, asked.most_active) == (0, 3)


def test_a_chat_completions_address_is_asked_and_read_in_its_own_form(tmp_path: Path) -> None:
    async def answer(number: int, body: dict[str, Any]) -> Response:
        spoken = {"choices": [{"delta": {"content": "word "}}]}
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        return stream(spoken, spoken, spoken, end, {"choices": [], "usage": {"completion_tokens": 5}})

    with service(answer) as (url, asked):
        status, report = load(tmp_path, f"{url}/v1/chat/completions", "--graph", "speaker")
    assert status == 0
    assert asked.paths[0] == "/v1/chat/completions"
    assert asked.bodies[0] == {
        "messages": [{"role": "user", "content": "What can you help me with?"}],
        "model": "speaker",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answered = report["whole"]["answered"]
    assert report["whole"]["output_tokens"] == 5 * answered
    assert report["whole"]["gap"]["count"] == 2 * answered


def test_the_questions_of_a_dataset_are_asked_in_turn_and_not_stored(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Second?"}]
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": "First?"}) + "\n\n" + json.dumps({"inputs": {"input": said}}) + "\n")
    with service(whole) as (url, asked):
        load(tmp_path / "out", url, "--questions", str(questions))
    assert asked.bodies[:3] == [
        {"input": "First?", "store": False, "stream": True},
        {"input": said, "store": False, "stream": True},
        {"input": "First?", "store": False, "stream": True},
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--users", "0"], "each step of --users is a number from 1 to 5000"),
        (["--seconds", "nan"], "--seconds is a number from 0.1"),
        (["--max-errors", "1.5"], "--max-errors is a whole number"),
        (["--max-p95-total", "0"], "--max-p95-total is a number of seconds above 0"),
        (["--questions", "missing.txt"], "missing.txt cannot be read (FileNotFoundError)"),
        (["not an address"], "the address is not one"),
        (["https://agent.example.com"], "agent.example.com, whose models and other users bear it; if you may"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_sent(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with service(whole) as (url, asked):
        options = arguments if not arguments[0].startswith("--") else [url, *arguments]
        assert main(["load", *options, "--out", str(tmp_path)]) == 2
    assert asked.bodies == []
    assert said in capsys.readouterr().err


def test_a_bad_line_of_questions_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "First?"}\n{"question": 3}\n')
    assert main(["load", "--questions", str(questions), "--out", str(tmp_path)]) == 2
    assert f"{questions}:2: no question" in capsys.readouterr().err


def test_the_bearer_token_is_sent_and_no_secret_of_the_address_is_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "a-token-of-the-load-test")
    with service(whole) as (url, asked):
        load(tmp_path, f"{url}/responses?key=a-secret")
    assert asked.headers[0]["authorization"] == "Bearer a-token-of-the-load-test"
    for name in ("report.json", "report.html"):
        text = (tmp_path / name).read_text()
        assert "a-token" not in text
        assert "a-secret" not in text


def test_ctrl_c_ends_the_test_with_the_report_so_far(tmp_path: Path) -> None:
    third = threading.Event()

    async def answer(number: int, body: dict[str, Any]) -> Response:
        if number < 3:
            return await whole(number, body)
        third.set()
        await asyncio.sleep(60)
        return await whole(number, body)

    with service(answer) as (url, _):
        command = [sys.executable, "-m", "graph_agent", "load", url, "--users", "1", "--seconds", "600", "--think", "0"]
        with subprocess.Popen([*command, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True) as child:
            assert third.wait(60)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
    assert (child.returncode, "Traceback" in said) == (130, False)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["stopped"] is True
    assert (report["whole"]["answered"], report["whole"]["unfinished"], report["whole"]["failed"]) == (2, 1, 0)
    assert "stopped before its end" in (tmp_path / "report.html").read_text()
