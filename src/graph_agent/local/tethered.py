"""`python -m graph_agent.local.tethered MODULE …`: a module run as a process that ends when its parent does.

The parent holds the other end of its standard input, which closes with the parent however that ends.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """From now on, the end of standard input is this process's SIGTERM."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
