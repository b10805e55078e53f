"""`python -m graph_agent.local.tethered MODULE …`: a module run as a process that ends when its parent does.

The parent holds the other end of its standard input, which closes with the parent however that ends.
"""

import os
import runpy
import signal
import sys
import threading
import time

END_SECONDS = 10
"""For an orderly end; then the process is gone in any case."""


def end_with_parent() -> None:
    """From now on, the end of standard input is this process's SIGTERM, and soon its end."""
    # A descriptor of its own: `multiprocessing` closes standard input in the processes it starts.
    threading.Thread(target=_wait, args=(os.dup(sys.stdin.fileno()),), daemon=True).start()


def _wait(pipe: int) -> None:
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    end_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
