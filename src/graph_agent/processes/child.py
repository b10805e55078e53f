"""Processes that this one starts and that must not outlive it, however it ends."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 10.0
"""For an orderly end; then the child and all it started are killed."""

_alive: set["ChildProcess"] = set()


class ChildProcess:
    """A command in a session of its own: Ctrl-C in a terminal reaches this process alone, which then decides.

    Its standard input closes with this process, however that ends; what waits for that end goes with it
    (`graph_agent.processes.end_with_parent`).
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        folder: Path | str | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        """`output` takes what it writes to its standard output; by default that goes where this process's goes."""
        # A Ctrl-C between the start and the next line would leave a process that nobody knows of.
        with _interrupts_held_back():
            self._process = subprocess.Popen(
                command, env=environ, cwd=folder, stdin=subprocess.PIPE, stdout=output, start_new_session=True
            )
            _alive.add(self)

    @property
    def pid(self) -> int:
        """The process, and the group of all that it starts."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status; `None` while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Until it has ended; the exit status."""
        return self._process.wait()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it in order within the time, else at once; whatever it started and left behind is killed."""
        try:
            self._process.terminate()
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also where a second Ctrl-C ends the wait.
            self.kill()

    def kill(self) -> None:
        """End it and all it started now."""
        _alive.discard(self)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)


def end_with_this_process(pid: int) -> None:
    """Have a process that was started otherwise, such as a worker, ended with this one too."""
    _adopted.add(pid)


def kill_children() -> None:
    """End every child now."""
    for child in list(_alive):
        child.kill()
    for pid in list(_adopted):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


_adopted: set[int] = set()


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    # A handler, not a mask: a child would inherit the mask.
    before: dict[int, Any] = {
        number: signal.signal(number, lambda given, _: came.append(given))
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
