"""Runs a few calls at the same time, in threads that the end of the process does not wait for."""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

MOST_CONCURRENT = 4
"""Traces that are sent at the same time. One at a time, with 60 ms a call, a process could store only five a second."""

Item = TypeVar("Item")


def run_concurrently(act: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call `act` for each item, several at the same time. The first failure is raised, and no more calls start."""
    waiting, errors = queue.SimpleQueue[Item](), list[Exception]()
    for item in items:
        waiting.put(item)

    def work() -> None:
        try:
            while not errors:
                act(waiting.get_nowait())
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001 - carried to the calling thread, which raises it
            errors.append(error)

    # Daemon threads, because the interpreter waits for the threads of a pool when it exits.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(MOST_CONCURRENT, waiting.qsize()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
