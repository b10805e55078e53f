"""`graph-agent traces`: MLflow's own pages on the traces of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.standin.server import stand_in
from tests.studio.conftest import ROOT, below, free_port, manifest
from tests.studio.test_command import is_open

COMMAND = [sys.executable, "-W", "ignore", "-m", "graph_agent"]


def environment(cache: Path, **more: str) -> dict[str, str]:
    ours = ("GRAPH_AGENT_", "DATABRICKS_", "MLFLOW_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    given = {"PYTHONPATH": str(ROOT / "src"), "GRAPH_AGENT_CACHE_DIR": str(cache), "DATABRICKS_CONFIG_FILE": os.devnull}
    return kept | given | more


def refused(cache: Path, *arguments: str, **more: str) -> str:
    command = [*COMMAND, "traces", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment(cache, **more))
    assert ended.returncode == 2
    assert not ended.stdout
    return ended.stderr


@contextmanager
def stopped(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """The process, told to end as a supervisor would, and waited for."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=120)


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + 180
    while time.monotonic() < ends and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer; status {process.poll()}: {log.read_text()[-4000:]}")


def test_a_run_of_the_service_is_found_there(tmp_path: Path) -> None:
    project, cache = manifest(tmp_path / "project"), tmp_path / "cache"
    log = tmp_path / "log"
    with stand_in(tmp_path / "standin") as standing, log.open("w") as written:
        environ = environment(cache, **standing.environment())
        port = free_port()
        serve = [*COMMAND, "serve", "--config", str(project / "langgraph.json"), "--port", str(port)]
        with stopped(subprocess.Popen(serve, env=environ, stdout=written, stderr=written)) as it:
            wait_for(f"http://127.0.0.1:{port}/ready", it, log)
            asked = {"model": "starter", "input": "What colour is it?"}
            httpx.post(f"http://127.0.0.1:{port}/responses", json=asked, timeout=90).raise_for_status()
    port = free_port()
    traces = [*COMMAND, "traces", "--port", str(port)]
    with log.open("a") as written, stopped(subprocess.Popen(traces, env=environ, stdout=written, stderr=written)) as it:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", it, log)
        # MLflow imports much for its first answers, which takes longer than httpx waits on a busy machine.
        with httpx.Client(base_url=url, timeout=90) as pages:
            assert "<title>MLflow" in pages.get("/").text
            experiment = pages.get("/api/2.0/mlflow/experiments/get-by-name?experiment_name=graph-agent").json()
            place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment["experiment"]}
            found = pages.post("/api/3.0/mlflow/traces/search", json={"locations": [place]}).json()["traces"]
            assert [trace["request_preview"] for trace in found] == ["What colour is it?"]
        # Of MLflow's own ten, the two that are needed.
        assert len(below(it.pid)) == 2
    assert f"Traces on {url}, in the experiment 'graph-agent'" in log.read_text()
    assert not is_open(port)


def test_the_pages_do_not_outlive_the_command(tmp_path: Path) -> None:
    (tmp_path / "traces.db").touch()
    port, log = free_port(), tmp_path / "log"
    with log.open("w") as written:
        command = [*COMMAND, "traces", "--port", str(port)]
        traces = subprocess.Popen(command, env=environment(tmp_path), stdout=written, stderr=written)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", traces, log)
    finally:
        traces.kill()
        traces.wait(timeout=60)
    ends = time.monotonic() + 60
    while is_open(port):
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_nothing_is_said_but_where_the_pages_are_also_at_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "traces.db").touch()
    port, log = free_port(), tmp_path / "log"
    with log.open("w") as written:
        # As a terminal does: Ctrl-C reaches every process of the group, in a session of its own.
        traces = subprocess.Popen(
            [sys.executable, "-m", "graph_agent", "traces", "--port", str(port)],
            env=environment(tmp_path),
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", traces, log)
            ends = time.monotonic() + 120
            while "Ctrl-C to stop" not in log.read_text():
                assert time.monotonic() < ends
                time.sleep(0.05)
            os.killpg(traces.pid, signal.SIGINT)
            assert traces.wait(timeout=60) == 0
        finally:
            traces.kill()
    said = log.read_text()
    assert f"Traces on http://127.0.0.1:{port}" in said
    assert [word for word in ("Traceback", "Warning", "INFO", "Aborted", "telemetry") if word in said] == []


def test_where_there_is_nothing_to_see_it_says_why(tmp_path: Path) -> None:
    assert "there are no traces yet" in refused(tmp_path)
    assert "GRAPH_AGENT_TRACING=on" in refused(tmp_path)
    elsewhere = refused(tmp_path, GRAPH_AGENT_TRACKING_URI="http://somebody:secret@there")
    assert "traces are not stored on this machine" in elsewhere
    assert "secret" not in elsewhere


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    (tmp_path / "traces.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, "--port", port)
    assert said == (
        f"graph-agent: port {port} is in use; stop the process that uses it, or choose another one with --port\n"
    )
