"""Child processes that must not outlive this process, however it ends."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 10.0
"""The time for an orderly end. After that, the child and everything it started are killed."""

_alive: set["ChildProcess"] = set()


class ChildProcess:
    """A command in its own session. So Ctrl-C in a terminal reaches only this process, which then decides.

    The child's standard input closes when this process ends, however it ends. A child that watches for that ends too
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
        """`output` receives the child's standard output. By default the child shares that of this process."""
        # A Ctrl-C between the start and the next line would leave a process that `kill_children` does not know.
        with _interrupts_held_back():
            self._process = subprocess.Popen(
                command, env=environ, cwd=folder, stdin=subprocess.PIPE, stdout=output, start_new_session=True
            )
            _alive.add(self)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the process group of everything the child starts."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, or `None` while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until it has ended. Returns the exit status."""
        return self._process.wait()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the child to end and kill it after `seconds`. Everything that it left behind is killed too."""
        try:
            self._process.terminate()
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # In `finally`, because a second Ctrl-C may end the wait.
            self.kill()

    def kill(self) -> None:
        """Kill the child and everything it started."""
        _alive.discard(self)
        # The group may be gone already. macOS answers PermissionError for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)


def end_with_this_process(pid: int) -> None:
    """Also kill this process in `kill_children`. For processes that were started by other means, such as workers."""
    _adopted.add(pid)


def kill_children() -> None:
    """Kill every child."""
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
    received: list[int] = []
    # A handler and not a signal mask, because the child would inherit the mask.
    before: dict[int, Any] = {
        number: signal.signal(number, lambda given, _: received.append(given))
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
