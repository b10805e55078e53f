"""`python -m graph_agent.processes.end_with_parent SECONDS MODULE …`: a module run as a process that ends when its
parent does.

The parent holds the other end of its standard input, which closes with the parent however that ends. `SECONDS` is how
long an orderly end may take then; with 0 it ends at once.
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
"""For an orderly end; then the process is gone in any case."""


def end_with_parent(seconds: float = END_SECONDS) -> None:
    """From now on, the end of standard input is this process's SIGTERM, and after so many seconds its end."""
    # A descriptor of its own: `multiprocessing` closes standard input in the processes it starts. Read as it is: a
    # thread that reads `sys.stdin` holds its lock, and the interpreter aborts where it finds that held at its exit.
    threading.Thread(target=_wait, args=(os.dup(sys.stdin.fileno()), seconds), daemon=True).start()


def end_worker_with_parent() -> None:
    """Send this process, which `multiprocessing` started, SIGTERM when its parent ends.

    A parent that was killed stops nobody, and a worker left behind would hold the port.
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
