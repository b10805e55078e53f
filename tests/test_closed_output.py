"""A command whose output is closed while it runs, as by `| head`: its work is done, and nothing complains."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from graph_agent.testing import on_loopback


def with_closed_output(*arguments: str, folder: Path, errors_too: bool = False) -> tuple[int, str]:
    """The exit status of a command whose output nobody reads, and what it prints as errors."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "graph_agent", *arguments],
            cwd=folder,
            env=environment,
            stdout=writing,
            stderr=writing if errors_too else subprocess.PIPE,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize("errors_too", [False, True])
def test_a_command_that_changes_something_does_so_to_the_end(errors_too: bool, tmp_path: Path) -> None:
    assert with_closed_output("init", "shop", folder=tmp_path, errors_too=errors_too) == (0, "")
    assert (tmp_path / "shop" / "graphs" / "agent.py").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["init", "--help"]])
def test_help_that_nobody_reads_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    assert with_closed_output(*arguments, folder=tmp_path) == (0, "")


def test_an_error_keeps_its_exit_status(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").touch()
    status, said = with_closed_output("init", "shop", folder=tmp_path)
    assert status == 2
    assert "Traceback" not in said


def test_an_answer_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    async def words() -> AsyncIterator[str]:
        while True:
            yield f"data: {json.dumps({'type': 'response.output_text.delta', 'delta': 'word '})}\n\n"
            await asyncio.sleep(0)

    async def answer(request: Request) -> Response:
        return StreamingResponse(words(), media_type="text/event-stream")

    with on_loopback(Starlette(routes=[Route("/responses", answer, methods=["POST"])])) as url:
        assert with_closed_output("ask", "Hi", "--url", url, folder=tmp_path) == (0, "")
