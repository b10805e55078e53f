"""SIGTERM ends the process in the promised time, also while a node holds up the event loop."""

import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.starting.starts import GRAPH, project, starting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")

BLOCKING = GRAPH.replace(
    "def say(state: MessagesState):",
    "async def say(state: MessagesState):\n    pathlib.Path({begun!r}).touch()\n    time.sleep(60)",
)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_node_that_blocks_does_not_keep_it_from_being_honored(tmp_path: Path, workers: str) -> None:
    begun = tmp_path / "begun"
    (project(tmp_path) / "mine.py").write_text(
        f"import pathlib, time\n{BLOCKING.replace('{begun!r}', repr(str(begun)))}"
    )
    with starting(tmp_path, "serve", "--workers", workers) as start:
        assert start.ready(), start.said

        def ask() -> None:
            with suppress(httpx.HTTPError), httpx.Client(timeout=60) as client:
                client.post(f"http://127.0.0.1:{start.port}/responses", json={"input": "Go."})

        threading.Thread(target=ask, daemon=True).start()
        # A busy machine takes seconds until the node has begun.
        until = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert begun.exists(), start.said
        start.process.send_signal(signal.SIGTERM)
        # After 14 s; Databricks Apps kills after 15. The node alone would take 60 s.
        assert start.gone(30), start.said
    assert "something blocked the shutdown" in start.said
