"""A few calls at once, in threads that nothing waits for when the process ends."""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

AT_ONCE = 4
"""Traces on their way at once. One by one, at 60 ms a call, a process could store five in a second."""

Item = TypeVar("Item")


def run_concurrently(act: Callable[[Item], None], items: Iterable[Item]) -> None:
    """`act` on each, several at once. After the first failure, which is raised, none is begun."""
    waiting, errors = queue.SimpleQueue[Item](), list[Exception]()
    for item in items:
        waiting.put(item)

    def work() -> None:
        try:
            while not errors:
                act(waiting.get_nowait())
        except queue.Empty:
            return
        except Exception as error:
            errors.append(error)

    # Daemons, unlike a pool's: the interpreter's exit does not wait for them.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, waiting.qsize()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
