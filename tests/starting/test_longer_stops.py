"""How long a process may take to end after SIGTERM."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent.parent / "src"

PROGRAM = """
import os, sys, time
from graph_agent.processes import shutdown

shutdown.STOP_SECONDS = 0.5
shutdown.watch_signals()
longer = float(sys.argv[1])

def stop(number, frame):
    if longer:
        shutdown.takes_longer(longer)
    time.sleep(2)
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
    command = [sys.executable, "-c", PROGRAM, longer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SOURCE)}) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == said
            assert process.wait(60) == status
        finally:
            process.kill()
