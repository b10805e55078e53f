"""How long a process may take to end after SIGTERM."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.starting.starts import free_port

from graph_agent.processes import shutdown

SOURCE = Path(__file__).parent.parent.parent / "src"

PROGRAM = """
import os, sys, time
from graph_agent.processes import shutdown

shutdown.STOP_SECONDS = 0.5
shutdown.watch_signals()
longer = float(sys.argv[1])

def stop(number, frame):
    if longer:
        shutdown.takes_longer(longer, what="a new file")
    time.sleep(float(sys.argv[2]))
    # Not `print`: the signal may come while that is under way.
    os.write(1, b"written\\n")
    shutdown.exit_now(0)

import signal
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("longer", "said", "status"), [("0", "", 143), ("600", "written\n", 0), ("0.2", "", 143)])
def test_a_process_that_knows_what_it_waits_for_may_write_it_before_it_is_ended(
    longer: str, said: str, status: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, longer, "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SOURCE)}) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == said
            assert process.wait(60) == status
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("longer", "at_least", "reason"),
    [
        ("0", 0.5, shutdown.BLOCKED),
        ("3", 3, "a new file took too long"),
    ],
)
def test_a_process_that_is_ended_says_after_how_long_and_why(longer: str, at_least: float, reason: str) -> None:
    command = [sys.executable, "-c", PROGRAM, longer, "600"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SOURCE)}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            said = re.fullmatch(r"ended after ([\d.]+) s: (.+)\n", process.stderr.read())
            assert said is not None
            assert float(said[1]) >= at_least
            assert said[2] == reason
        finally:
            process.kill()


WORKERS = """
import os, signal, sys, time
from functools import partial
from graph_agent.processes import shutdown

shutdown.STOP_SECONDS = 1.0

def serve(settings, sockets, *, announces):
    def stop(number, frame):
        # As the exporter of traces does while it makes its file.
        shutdown.takes_longer(600, what="a new file")
        time.sleep(4)
        os.write(1, b"written\\n")
        shutdown.exit_now(0)

    signal.signal(signal.SIGTERM, stop)
    os.write(1, b"ready\\n")
    time.sleep(600)

def main():
    from graph_agent.serving.workers import serve_with_workers
    from graph_agent.settings import Settings

    shutdown.watch_signals()
    settings = Settings(port=int(sys.argv[1]), tracing=sys.argv[2], tracking_uri=sys.argv[3] or None, metrics="off")
    shutdown.exit_now(serve_with_workers(settings, 2, serve))
"""


@pytest.mark.parametrize(
    ("tracing", "uri", "written", "status"),
    [("on", "", 2, 0), ("on", "sqlite:///traces.db", 2, 0), ("on", "databricks", 0, 143), ("off", "", 0, 143)],
)
def test_the_parent_of_workers_waits_for_the_local_file_of_their_traces(
    tmp_path: Path, tracing: str, uri: str, written: int, status: int
) -> None:
    (tmp_path / "some_workers.py").write_text(WORKERS)
    command = [sys.executable, "-c", "import some_workers; some_workers.main()", str(free_port()), tracing, uri]
    environ = {"PYTHONPATH": f"{SOURCE}{os.pathsep}{tmp_path}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            for _ in range(2):
                # The log is there too.
                assert "ready\n" in lines
            process.send_signal(signal.SIGTERM)
            assert list(lines).count("written\n") == written
            assert process.wait(60) == status
        finally:
            process.kill()
