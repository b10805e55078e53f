"""A model hub as the first source of weights. It is tried briefly, downloads resume, and it is never required."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from graph_agent.local.weights.known_weights import Weights

HUB_SECONDS = 2.0
"""How long to wait for a hub. Without a network, every start with missing weights waits this long."""

STALL_SECONDS = 30.0
"""A download without data for this long is given up."""


def file_url(hub_url: str, weights: Weights) -> str:
    """The URL of the official file on a hub."""
    return f"{hub_url.rstrip('/')}/{weights.hub_repo}/resolve/main/{weights.hub_file}"


def hub_offers(url: str, *, size: int, seconds: float = HUB_SECONDS) -> bool:
    """Whether the hub answers within `seconds` and has a file of that size."""
    answers: queue.Queue[bool] = queue.Queue(maxsize=1)
    # In a thread, because httpx has no timeout for the DNS lookup, which can take half a minute offline.
    asking = threading.Thread(target=lambda: answers.put(_head_matches(url, size=size, seconds=seconds)), daemon=True)
    asking.start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return False


def _head_matches(url: str, *, size: int, seconds: float) -> bool:
    try:
        answer = httpx.head(url, follow_redirects=True, timeout=seconds)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK and answer.headers.get("content-length") == str(size)


def hub_download(url: str, partial: Path, *, size: int, progress: Callable[[int, int], None]) -> bool:
    """Resume the download into `partial`. Returns false if the hub breaks off or sends something else."""
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"range": f"bytes={start}-"} if 0 < start < size else {}
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=STALL_SECONDS) as answer:
            if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                return False
            # A server without support for ranges answers 200 with the whole file.
            resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
            done = start if resumed else 0
            with partial.open("ab" if resumed else "wb") as target:
                for block in answer.iter_bytes(1 << 20):
                    target.write(block)
                    progress(done := done + len(block), size)
    except httpx.HTTPError:
        return False
    return done == size
