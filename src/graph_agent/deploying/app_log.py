"""The end of a deployed app's log, printed when a deployment fails. It must be read first: a rollback replaces it."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from graph_agent.deploying.error_text import last_lines

ADDRESS = "/logz/batch"
"""The platform's proxy answers it, not the app, so it also works for an app that does not start. It returns a list of
entries with `source`, `timestamp` and `message`. `databricks apps logs` reads the same entries from `/logz/stream`."""

LINES = 25
"""Lines of the log that are printed."""

MOST_BYTES = 16_000_000
"""The largest answer that is read. A longer one is cut off, and then it is not valid JSON."""

SECONDS = 10.0
"""The time limit for the whole answer."""


def log_tail(url: str, headers: Mapping[str, str], *, name: str) -> Iterator[str]:
    """The last lines, without secrets and control characters. Never raises.

    If the log cannot be read, the only line says how to read it.
    """
    lines = last_lines(_text(url, headers), LINES)
    if not lines:
        yield f"could not read the app's log; run `databricks apps logs {name}`, or open {url}/logz"
        return
    yield f"the end of the app's log (the whole log is at {url}/logz):"
    for line in lines:
        yield f"  | {line}"


def _text(url: str, headers: Mapping[str, str]) -> str:
    try:
        entries = json.loads(_read(url, headers))
    except (httpx.HTTPError, ValueError, RecursionError):
        # RecursionError: a body of thousands of nested brackets, which is possible if something else answers.
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
    # An entry without a valid timestamp sorts first. The answer is not ours, so it may have any form.
    at = entry.get("timestamp")
    return float(at) if isinstance(at, int | float) else 0.0
