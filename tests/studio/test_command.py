"""`graph-agent studio` as a command: what it says, how it follows edits, how it stops, and what hinders its start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.studio.conftest import below, free_port, graph_agent_studio

from graph_agent.commands.cli import main

GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph


async def say(state: MessagesState):
    return {"messages": [("ai", "WORD")]}


graph = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").compile()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(GRAPH.replace("WORD", "before"))
    (tmp_path / "langgraph.json").write_text('{"dependencies": ["."], "graphs": {"mine": "./mine.py:graph"}}')
    return tmp_path


def port_taken(port: int) -> str:
    return f"graph-agent: port {port} is in use; stop the process that uses it, or choose another one with --port\n"


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.local_model
def test_it_brings_the_local_workspace_follows_edits_and_ends_both_at_ctrl_c(folder: Path) -> None:
    workspace = free_port()
    # The workspace is real; only its language model would be somebody else's, and is never asked.
    given = {"GRAPH_AGENT_WORKSPACE_PORT": str(workspace), "GRAPH_AGENT_LOCAL_MODEL": "http://127.0.0.1:9/v1"}
    # A proxy for the internet is none for this machine.
    given |= {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    with graph_agent_studio(folder, **given) as studio:
        assert "mine" in studio.logged("Ready on ")
        assert f"baseUrl={studio.url}" in studio.logged("smith.langchain.com")
        assert "needs internet access and a login" in studio.logged("LangSmith's site")
        assert is_open(workspace)
        assert said_by(studio.url) == "before"
        thread = httpx.post(f"{studio.url}/threads", json={}).json()["thread_id"]
        assert said_by(studio.url, f"threads/{thread}/") == "before"
        history = httpx.get(f"{studio.url}/threads/{thread}/history").json()
        assert history
        (folder / "mine.py").write_text(GRAPH.replace("WORD", "after"))
        ends = time.monotonic() + 60
        while said_by(studio.url) != "after":
            assert time.monotonic() < ends, "".join(studio.log)
            time.sleep(0.2)
        # Threads outlive the restart.
        assert httpx.get(f"{studio.url}/threads/{thread}/history").json() == history
        # To all of them, as a terminal does.
        os.killpg(studio.process.pid, signal.SIGINT)
        assert studio.process.wait(timeout=30) == 0
    assert not is_open(studio.port)
    assert not is_open(workspace)
    assert not [line for line in studio.log if "Traceback" in line]
    assert (folder / ".langgraph_api").is_dir()


def said_by(url: str, thread: str = "") -> str:
    """What the graph answers, or nothing while the server restarts."""
    try:
        asked = {"assistant_id": "mine", "input": {"messages": []}}
        answer = httpx.post(f"{url}/{thread}runs/wait", json=asked, timeout=30)
        return str(answer.json()["messages"][-1]["content"])
    except (httpx.HTTPError, ValueError, KeyError):
        return ""


def test_nothing_outlives_it_however_it_ends(folder: Path) -> None:
    with graph_agent_studio(folder, "--real-workspace", "--no-reload") as studio:
        studio.logged("Ready on ")
        studio.process.kill()
        ends = time.monotonic() + 20
        while is_open(studio.port):
            assert time.monotonic() < ends
            time.sleep(0.1)


def test_nothing_outlives_what_follows_edits(folder: Path) -> None:
    with graph_agent_studio(folder, "--real-workspace") as studio:
        studio.logged("Ready on ")
        started = below(studio.process.pid)
        assert len(started) > 1
        os.kill(started[0], signal.SIGKILL)
        assert studio.process.wait(timeout=30) == 1
        all_end(started)


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_end(pids: list[int]) -> None:
    ends = time.monotonic() + 20
    while left := [pid for pid in pids if lives(pid)]:
        assert time.monotonic() < ends, left
        time.sleep(0.1)


SLOW = GRAPH.replace(
    "async def say(state: MessagesState):\n",
    """async def say(state: MessagesState):
    import asyncio
    await asyncio.sleep(300)
""",
)


def test_it_ends_within_seconds_while_a_run_is_under_way(folder: Path) -> None:
    (folder / "mine.py").write_text(SLOW)
    with graph_agent_studio(folder, "--real-workspace") as studio, ThreadPoolExecutor() as pool:
        studio.logged("Ready on ")
        asked = {"assistant_id": "mine", "input": {"messages": []}}
        waiting = pool.submit(httpx.post, f"{studio.url}/runs/wait", json=asked, timeout=60)
        ends = time.monotonic() + 30
        while httpx.get(f"{studio.url}/metrics?format=json").json().get("workers", {}).get("active") != 1:
            assert time.monotonic() < ends
            time.sleep(0.1)
        started = below(studio.process.pid)
        assert len(started) > 1
        os.killpg(studio.process.pid, signal.SIGINT)
        assert studio.process.wait(timeout=30) == 0
        assert waiting.exception(timeout=30) is not None or waiting.result().status_code >= 500
    all_end(started)


def test_the_env_of_the_list_of_graphs_is_not_read_as_the_service_reads_none(folder: Path) -> None:
    (folder / "mine.py").write_text("import os\n" + GRAPH.replace('"WORD"', 'os.environ.get("PLANTED", "unset")'))
    manifest = json.loads((folder / "langgraph.json").read_text())
    (folder / "langgraph.json").write_text(json.dumps(manifest | {"env": {"PLANTED": "set"}}))
    with graph_agent_studio(folder, "--real-workspace", "--no-reload") as studio:
        studio.logged("`env` of langgraph.json is not read")
        studio.logged("Ready on ")
        assert said_by(studio.url) == "unset"


def test_a_graph_that_does_not_load_ends_it(folder: Path) -> None:
    (folder / "mine.py").write_text("raise RuntimeError('no such thing')\n")
    with graph_agent_studio(folder, "--real-workspace", "--no-reload") as studio:
        assert studio.process.wait(timeout=60) == 1
    assert not [line for line in studio.log if "Ready on " in line]
    assert [line for line in studio.log if "no such thing" in line]


@pytest.mark.local_model
def test_the_port_of_the_workspace_is_not_studio_s(folder: Path) -> None:
    port = str(free_port())
    given = {"GRAPH_AGENT_WORKSPACE_PORT": port, "GRAPH_AGENT_LOCAL_MODEL": "http://127.0.0.1:9/v1"}
    with graph_agent_studio(folder, "--port", port, **given) as studio:
        assert studio.process.wait(timeout=90) == 2
    assert port_taken(port) in studio.log


@pytest.mark.parametrize("command", ["studio", "traces"])
@pytest.mark.parametrize("port", ["70000", "0", "-1", "x"])
def test_what_is_no_port_is_refused(command: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, f"--port={port}"])
    assert f"'{port}' is not a port number; use a number from 1 to 65535" in capsys.readouterr().err


def test_a_taken_port_is_said_before_anything_starts(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "graph_agent", "studio", "--config", str(folder / "langgraph.json")]
        ended = subprocess.run([*command, "--port", str(port)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == port_taken(port)
