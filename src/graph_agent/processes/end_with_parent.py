"""`python -m graph_agent.processes.end_with_parent SECONDS MODULE …` runs a module as a process that ends when its
parent ends.

The parent holds the other end of the process's standard input, which closes when the parent ends, however it ends.
`SECONDS` is how long an orderly end may take then; with 0 the process ends immediately.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from multiprocessing.connection import wait

END_SECONDS = 10
"""The time for an orderly end. Then the process exits in any case."""


def end_with_parent(seconds: float = END_SECONDS) -> None:
    """From now on, send this process SIGTERM when its standard input ends, and exit `seconds` later."""
    # A duplicate, because `multiprocessing` closes standard input in the processes it starts. Read with `os.read`: a
    # thread that reads `sys.stdin` holds its lock, and the interpreter aborts if that lock is held when it exits.
    threading.Thread(target=_wait, args=(os.dup(sys.stdin.fileno()), seconds), daemon=True).start()


def end_worker_with_parent() -> None:
    """Send this process SIGTERM when the parent ends that started it with `multiprocessing`.

    A parent that was killed cannot stop its workers, and a worker left behind would keep the port.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_terminate_after, args=(parent.sentinel,), daemon=True).start()


def _terminate_after(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _wait(pipe: int, seconds: float) -> None:
    while os.read(pipe, 4096):
        pass
    if seconds > 0:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
    os._exit(1)


if __name__ == "__main__":
    end_with_parent(float(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
