"""Ends a process in time after a signal. A thread does that, since the main thread may hang in an import, a lock or a
node.

Python runs the handler of a signal in the main thread, between two bytecodes. The C-level handler runs immediately and
writes the number of the signal to a socket that the thread here reads (`signal.set_wakeup_fd`).
"""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from typing import NoReturn

from graph_agent.processes.child import kill_children

logger = logging.getLogger(__name__)

SECOND_INTERRUPT_SECONDS = 1.2
"""The time for an orderly end after a second Ctrl-C."""

STOP_SECONDS = 13.5
"""The longest time from SIGTERM to the end, unless something `takes_longer`. Databricks Apps kills the process after
15 s."""

TRACES_SECONDS = 65.0
"""How much longer it may take while a new local file is made for traces. MLflow's imports and the tables of that file
take seconds of CPU, and more on a busy machine. Databricks Apps has no such file."""

LAST_WORDS_SECONDS = 0.5

INTERRUPTED = 130
"""The exit status that shells use for Ctrl-C."""


def watch_signals() -> None:
    """From now on a second Ctrl-C ends this process within two seconds, and SIGTERM within fifteen, whatever it does.

    Children started through `child` end too. Does nothing outside the main thread, which owns the signals.
    """
    if threading.current_thread() is not threading.main_thread() or _watching:
        return
    receiver, sender = socket.socketpair()
    # Python requires a non-blocking socket here: the signal handler must never wait.
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    # Kept alive: a collected socket would close the descriptor to which signals are written.
    _watching.append(sender)
    threading.Thread(target=_watch, args=(receiver,), name="stopping", daemon=True).start()


def takes_longer(seconds: float, *, what: str) -> None:
    """Let an orderly end after SIGTERM take at least so long from now, because it is known what it waits for. The log
    names `what`, such as "a new file", if the time is not enough.

    A second Ctrl-C ends the process all the same. Do not call it on Databricks Apps, which kills the process.
    """
    _longer.append((time.monotonic() + seconds, what))


def exit_now(status: int) -> NoReturn:
    """End the process immediately. A normal exit would wait for threads of synchronous nodes and native libraries."""
    kill_children()
    for handler in logging.getLogger().handlers:
        handler.flush()
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            os.fsync(stream)
    os._exit(status)


_watching: list[socket.socket] = []

_longer: list[tuple[float, str]] = []
"""Until when an orderly end may take, in terms of `time.monotonic()`, and for what."""

BLOCKED = "something blocked the shutdown, such as a node that never returns"
"""Why a process is ended that nothing gave more time."""


def _watch(receiver: socket.socket) -> None:
    interrupts, began, ends = 0, 0.0, float("inf")
    status, reason = INTERRUPTED, BLOCKED
    while True:
        # Not below 0.001: a timeout of 0 would make the socket non-blocking.
        receiver.settimeout(None if ends == float("inf") else max(ends - time.monotonic(), 0.001))
        try:
            numbers = receiver.recv(64)
        except TimeoutError:
            longest, what = max(_longer, default=(0.0, ""))
            now = time.monotonic()
            if status == INTERRUPTED or longest <= now:
                _end(status, f"ended after {now - began:.1f} s: {reason}")
            ends, reason = longest, f"{what} took too long"
            continue
        interrupts += numbers.count(signal.SIGINT)
        now = time.monotonic()
        if interrupts >= 2 and now + SECOND_INTERRUPT_SECONDS < ends:
            ends, status = now + SECOND_INTERRUPT_SECONDS, INTERRUPTED
        elif signal.SIGTERM in numbers and ends == float("inf"):
            began, ends, status = now, now + STOP_SECONDS, 128 + signal.SIGTERM


def _end(status: int, words: str) -> NoReturn:
    if status != INTERRUPTED:
        # In a separate thread with a time limit: the thread that hangs may hold a lock of the log.
        speaking = threading.Thread(target=_say, args=(words,), daemon=True)
        speaking.start()
        speaking.join(LAST_WORDS_SECONDS)
    kill_children()
    os._exit(status)


def _say(words: str) -> None:
    logger.error("%s", words)
    for handler in logging.getLogger().handlers:
        handler.flush()
