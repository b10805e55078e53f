"""The end of a deployed app's log, for the person whose deployment failed; the way back replaces that log."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from graph_agent.deploying.error_text import last_lines

ADDRESS = "/logz/batch"
"""Answered by the platform's proxy, not by the app, also for an app that does not start: a list of entries with
`source`, `timestamp` and `message`. `databricks apps logs` reads the same entries from `/logz/stream`."""

LINES = 25
MOST_BYTES = 16_000_000
"""Of an answer; a longer one is not read to its end, and so not understood."""

SECONDS = 10.0
"""For the whole answer."""


def log_tail(url: str, headers: Mapping[str, str], *, name: str) -> Iterator[str]:
    """The last lines, without secrets and without what a terminal obeys; never raises.

    Where the log cannot be had, the one line says how a person gets it.
    """
    lines = last_lines(_text(url, headers), LINES)
    if not lines:
        yield f"the app's log could not be read here; `databricks apps logs {name}` shows it, and so does {url}/logz"
        return
    yield f"the end of the app's log ({url}/logz has all of it):"
    for line in lines:
        yield f"  | {line}"


def _text(url: str, headers: Mapping[str, str]) -> str:
    try:
        entries = json.loads(_read(url, headers))
    except (httpx.HTTPError, ValueError, RecursionError):
        return ""
    found = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    return "\n".join(str(one.get("message", "")).rstrip() for one in sorted(found, key=_when))


def _read(url: str, headers: Mapping[str, str]) -> bytes:
    ends, body = time.monotonic() + SECONDS, b""
    with (
        httpx.Client(base_url=url, headers=dict(headers), timeout=SECONDS) as client,
        client.stream("GET", ADDRESS) as response,
    ):
        response.raise_for_status()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MOST_BYTES or time.monotonic() > ends:
                break
    return body


def _when(entry: Mapping[str, Any]) -> float:
    at = entry.get("timestamp")
    return float(at) if isinstance(at, int | float) else 0.0
