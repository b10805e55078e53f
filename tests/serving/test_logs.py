"""What `graph-agent serve` writes to standard output, read as whoever collects it would."""

import json
import logging
import os
import select
import signal
from datetime import datetime
from typing import Any

import anyio
import pytest
from tests.serving.test_process import GRAPHS, Process, address, graph_agent

from graph_agent.runs.log_context import within_log_facts
from graph_agent.serving.log_writer import StdoutHandler
from graph_agent.serving.logs import JsonFormatter, SafeFormatter

pytestmark = pytest.mark.anyio


async def lines_of(running: Process) -> list[dict[str, Any]]:
    """Every line, once the process has gone; each must be an object of its own."""
    running.process.send_signal(signal.SIGTERM)
    with anyio.fail_after(15):
        await running.ended()
    return [json.loads(line) for line in running.log]


async def started(running: Process) -> None:
    with anyio.fail_after(40):
        running.url = address(await running.logged("running on http"))
        await running.logged("ready: serving")


async def test_each_request_is_one_line_with_what_it_cost() -> None:
    async with graph_agent("--config", str(GRAPHS), GRAPH_AGENT_TRACING="off") as running:
        await started(running)
        async with running.client() as client:
            given = {"x-request-id": "proxy-1"}
            first = await client.post("/responses?q=1", json={"model": "plain", "input": "Hi"}, headers=given)
            second = await client.post("/responses", json={"model": "plain", "input": "Hi", "stream": True})
            third = await client.post("/invocations", json={"model": "none"}, headers={"x-request-id": "no good\tid"})
            await client.get("/health")
        lines = await lines_of(running)
    told = {line["request_id"]: line for line in lines if line["logger"] == "graph_agent.serving.request_log"}
    # By their ids: a stream's line may follow that of the request after it.
    one, two, three = (told.pop(answer.headers["x-request-id"]) for answer in (first, second, third))
    assert told == {}
    assert first.headers["x-request-id"] == one["request_id"] == "proxy-1"
    assert (one["method"], one["path"], one["status"]) == ("POST", "/responses", 200)
    assert (one["graph"], one["user"], one["end"], one["run_id"]) == ("plain", "local", "completed", first.json()["id"])
    assert 0 < one["duration_ms"] < 10_000
    assert two["request_id"] == two["run_id"] == second.headers["x-request-id"]
    assert two["end"] == "completed"
    assert {"input_tokens", "output_tokens"} <= two.keys()
    assert (three["status"], three["request_id"]) == (third.status_code, third.headers["x-request-id"])
    assert three["request_id"].startswith("req_")
    for line in lines:
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
        assert {"level", "logger", "message"} <= line.keys()


async def test_lines_of_a_run_carry_its_ids() -> None:
    async with graph_agent("--config", str(GRAPHS)) as running:
        await started(running)
        async with running.client() as client:
            body = {"model": "failing", "input": "Go.", "custom_inputs": {"fail": "after"}}
            failed = await client.post("/responses", json=body, headers={"x-request-id": "proxy-2"})
        lines = await lines_of(running)
    about_it = [line for line in lines if line.get("request_id") == "proxy-2"]
    assert [line["level"] for line in about_it] == ["ERROR", "INFO"]
    assert failed.headers["x-request-id"] == "proxy-2"
    assert about_it[0]["run_id"] == about_it[1]["run_id"]
    assert about_it[0]["run_id"].startswith("resp_")
    assert about_it[1]["end"] == "failed"


async def test_text_is_for_people() -> None:
    async with graph_agent("--config", str(GRAPHS), GRAPH_AGENT_LOG_FORMAT="text") as running:
        await started(running)
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(15):
            await running.ended()
    assert all(not line.startswith("{") for line in running.log)
    assert any(" INFO graph_agent.serving.app: ready: serving " in line for line in running.log)


def record(message: Any, *args: Any, error: BaseException | None = None) -> logging.LogRecord:
    """What a library logs."""
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("library", logging.ERROR, __file__, 1, message, args, info)


@pytest.mark.parametrize("formatter", [JsonFormatter(), SafeFormatter()], ids=["json", "text"])
def test_neither_format_tells_a_secret_or_what_an_exception_said(formatter: logging.Formatter) -> None:
    strange = record("no way to %s", "mysql://me:hunter2-5f0c@db", error=ValueError("the key is hunter3"))
    # Another library's formatter was here first.
    strange.exc_text, strange.stack_info = "ValueError: the key is hunter3", "line with hunter3"
    with within_log_facts({}):
        line = formatter.format(strange)
    assert "hunter" not in line
    assert "mysql://me:[redacted password]@db" in line
    assert "ValueError at " in line


@pytest.mark.parametrize("value", ["half \ud800 a pair", b"bytes", object(), {"a": {1: object()}}])
def test_any_message_is_one_json_line(value: Any) -> None:
    line = JsonFormatter().format(record("it is %s\nand more", value))
    assert "\n" not in line
    assert json.loads(line)["message"].startswith("it is ")


def test_a_slow_reader_costs_lines_and_never_time() -> None:
    reading, writing = os.pipe()
    handler = StdoutHandler(descriptor=writing, most_waiting=50)
    handler.setFormatter(JsonFormatter())
    for number in range(2_000):
        handler.emit(record("line %d %s", number, "x" * 1_000))
    # It came here, though nobody read a byte: a pipe holds 64 KB, the queue 50 lines.
    text = b""
    while b"were dropped" not in text:
        text += os.read(reading, 65_536)
    lines = [json.loads(line) for line in text.splitlines()]
    dropped = int(lines[-1]["message"].split()[0])
    assert len(lines) - 1 + dropped == 2_000
    assert dropped > 1_000


def test_no_line_breaks_off_where_the_pipe_is_full_and_does_not_block() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handler = StdoutHandler(descriptor=writing)
    handler.setFormatter(JsonFormatter())
    for number in range(100):
        handler.emit(record("line %d %s", number, "x" * 7_000))
    text = b""
    while select.select([reading], [], [], 1)[0]:
        text += os.read(reading, 65_536)
    messages = [json.loads(line)["message"] for line in text.splitlines()]
    assert messages == [f"line {number} {'x' * 7_000}" for number in range(100)]


def test_lines_that_met_an_error_are_counted_as_dropped() -> None:
    gone, writing = os.pipe()
    os.close(gone)
    handler = StdoutHandler(descriptor=writing)
    handler.setFormatter(JsonFormatter())
    for number in range(3):
        handler.emit(record("line %d", number))
    handler.flush()
    # Somebody reads again under the same descriptor.
    reading, anew = os.pipe()
    os.dup2(anew, writing)
    handler.emit(record("line 3"))
    handler.flush()
    lines = [json.loads(line)["message"] for line in os.read(reading, 65_536).splitlines()]
    assert lines[0] == "line 3"
    assert lines[1].startswith("3 log lines were dropped")


def test_a_line_that_cannot_be_formatted_is_told_without_its_arguments() -> None:
    reading, writing = os.pipe()
    handler = StdoutHandler(descriptor=writing)
    handler.setFormatter(JsonFormatter())
    handler.emit(record("only %d", "hunter2"))
    handler.flush()
    line = json.loads(os.read(reading, 65_536))
    assert "could not be written" in line["message"]
    assert "hunter2" not in str(line)
