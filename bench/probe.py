"""Asks `/health` again and again, as a platform does, while a server streams."""

import socket
import threading
import time

PAUSE_SECONDS = 0.02
"""Seconds between an answer and the next request."""

LONGEST_SECONDS = 60.0

REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Probe:
    """A thread that measures how long each answer takes, over one connection. Any status is an answer: the floor has no
    such route. A thread, because the client's event loop is busy with the streams."""

    def __init__(self, port: int) -> None:
        self.seconds: list[float] = []
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=LONGEST_SECONDS) as connection:
            while not self._over.is_set():
                began = time.perf_counter()
                connection.sendall(REQUEST)
                if not connection.recv(65_536):
                    return
                self.seconds.append(time.perf_counter() - began)
                self._over.wait(PAUSE_SECONDS)


def nearly_longest(seconds: list[float]) -> float:
    """The time that 99 of 100 do not exceed. With none at all, it is infinite."""
    return sorted(seconds)[len(seconds) * 99 // 100] if seconds else float("inf")
