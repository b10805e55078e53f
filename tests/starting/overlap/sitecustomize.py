"""Put on the path of a starting process, this forces the overlap in which a first start hung for good.

A finder runs with Python's own import lock held. In any thread but the main one, the first import that gets here waits
until some other thread holds logging's lock, as who configures logging does, and then wants that lock too, as
setuptools' finder does. It also goes on once the service answers: then nothing can overlap any more.
"""

import logging
import os
import socket
import sys
import threading
import time

PATIENCE_SECONDS = 60


class Overlap:
    """A finder that finds nothing."""

    waited = False

    def find_spec(self, name, path=None, target=None):
        """Wait, once."""
        if self.waited or threading.current_thread() is threading.main_thread():
            return
        self.waited = True
        ends = time.monotonic() + PATIENCE_SECONDS
        while _is_free(logging._lock) and not _serves() and time.monotonic() < ends:
            time.sleep(0.001)
        logging.getLogger("overlap.forced")
        sys.stderr.write(f"overlap forced at {name}\n")


def _is_free(lock) -> bool:
    if lock.acquire(blocking=False):
        lock.release()
        return True
    return False


def _serves() -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(("127.0.0.1", int(os.environ["GRAPH_AGENT_PORT"])))
            probe.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return probe.recv(15).startswith(b"HTTP/1.")
        except OSError:
            return False


if "GRAPH_AGENT_PORT" in os.environ:
    sys.meta_path.insert(0, Overlap())
