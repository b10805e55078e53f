"""The end of a process that was told to go, kept by a thread: the main one may hang in an import, a lock or a node.

Python runs a signal's handler in the main thread, and only between two of its steps. The operating system's part runs
at once, and writes the signal's number where the thread here reads it (`signal.set_wakeup_fd`).
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
"""For an orderly end after a second Ctrl-C."""

STOP_SECONDS = 13.5
"""From SIGTERM to the end in any case; Databricks Apps kills after 15 s."""

LAST_WORDS_SECONDS = 0.5

INTERRUPTED = 130
"""The exit status shells give for Ctrl-C."""


def watch_signals() -> None:
    """From now on a second Ctrl-C ends this process within two seconds, and SIGTERM within fifteen, whatever it does.

    What it started through `child` ends too. Does nothing outside the main thread, which owns the signals.
    """
    if threading.current_thread() is not threading.main_thread() or _watching:
        return
    told, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    _watching.append(tells)
    threading.Thread(target=_watch, args=(told,), name="stopping", daemon=True).start()


def exit_now(status: int) -> NoReturn:
    """End the process now: threads of synchronous nodes and native libraries would hold the interpreter open."""
    kill_children()
    for handler in logging.getLogger().handlers:
        handler.flush()
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            os.fsync(stream)
    os._exit(status)


_watching: list[socket.socket] = []


def _watch(told: socket.socket) -> None:
    interrupts, ends = 0, float("inf")
    status = INTERRUPTED
    while True:
        told.settimeout(None if ends == float("inf") else max(ends - time.monotonic(), 0.001))
        try:
            numbers = told.recv(64)
        except TimeoutError:
            _end(status)
        interrupts += numbers.count(signal.SIGINT)
        now = time.monotonic()
        if interrupts >= 2 and now + SECOND_INTERRUPT_SECONDS < ends:
            ends, status = now + SECOND_INTERRUPT_SECONDS, INTERRUPTED
        elif signal.SIGTERM in numbers and ends == float("inf"):
            ends, status = now + STOP_SECONDS, 128 + signal.SIGTERM


def _end(status: int) -> NoReturn:
    # In a thread of its own: whatever holds the main thread may hold a lock of the log too.
    words = threading.Thread(target=_last_words, args=(status,), daemon=True)
    words.start()
    words.join(LAST_WORDS_SECONDS)
    kill_children()
    os._exit(status)


def _last_words(status: int) -> None:
    if status != INTERRUPTED:
        logger.error("ended after %g s: something held up the orderly end, such as a node that blocks", STOP_SECONDS)
        for handler in logging.getLogger().handlers:
            handler.flush()
