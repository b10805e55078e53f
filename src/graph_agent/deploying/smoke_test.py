"""The smoke test: one streamed question to the deployed app, with an OAuth token as a user has it."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from graph_agent.errors import DeployFailed
from graph_agent.sse_lines import data_of_line, read_lines

ADDRESS = "/api/responses"
QUESTION = "Say in one sentence what you can do."


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """How fast the app answered, in seconds."""

    first_word: float
    all: float


def run_smoke_test(
    url: str, headers: Mapping[str, str], *, startup_wait_seconds: float, answer_seconds: float
) -> AnswerTimes:
    """Stream one question to the app at `url`. Retries while the platform is still replacing the app.

    Raises:
        DeployFailed: the app did not answer in time, refused, or its stream did not end with `response.completed`.
    """
    timeout = httpx.Timeout(answer_seconds, connect=10)
    ends = time.monotonic() + startup_wait_seconds
    with httpx.Client(base_url=url, headers=dict(headers), timeout=timeout) as client:
        while True:
            try:
                return _stream(client, time.monotonic() + answer_seconds)
            except _NotThere as absent:
                if time.monotonic() > ends:
                    raise DeployFailed(
                        f"the deployed app did not answer within {startup_wait_seconds:g} s ({absent})"
                    ) from None
            except httpx.HTTPError as error:
                raise DeployFailed(f"the app's answer was cut off ({type(error).__name__})") from error
            time.sleep(min(2.0, startup_wait_seconds / 10))


class _NotThere(Exception):
    """The app did not answer: the proxy answered while the app is being replaced, or nothing answered."""


def _check(status: int) -> None:
    # The proxy redirects a caller without a valid token to a sign-in page.
    if status in (301, 302, 303, 307, 401, 403):
        raise DeployFailed(
            f"the deployed app did not accept your token (status {status}); sign in with OAuth to this workspace, and"
            " get CAN_USE on the app"
        )


def _stream(client: httpx.Client, ends: float) -> AnswerTimes:
    began, first = time.monotonic(), None
    body = {"input": QUESTION, "stream": True, "store": False}
    with _posted(client, body) as response:
        _check(response.status_code)
        # The proxy answers these while the app is being replaced.
        if response.status_code in (502, 503, 504):
            raise _NotThere(f"status {response.status_code}")
        if response.status_code != 200:
            raise DeployFailed(f"the deployed app answered with status {response.status_code}")
        for line in read_lines(response.iter_bytes()):
            # The client's timeout limits each read only. An app that sends a byte now and then would never end.
            if time.monotonic() > ends:
                raise DeployFailed("the deployed app's answer took too long")
            event = _event(line)
            match event.get("type"):
                case "response.output_text.delta":
                    first = first or time.monotonic()
                case "response.completed":
                    if first is None:
                        raise DeployFailed("the deployed app answered, but streamed no text")
                    return AnswerTimes(first - began, time.monotonic() - began)
                case "response.failed" | "response.incomplete" as ending:
                    raise DeployFailed(f"the deployed app's answer ended as {ending}{_code(event)}")
    raise DeployFailed("the deployed app's answer ended without response.completed")


@contextmanager
def _posted(client: httpx.Client, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
    # ADDRESS is below /api/, because Databricks documents token access only for those paths.
    request = client.build_request("POST", ADDRESS, json=body)
    try:
        response = client.send(request, stream=True)
    except httpx.ConnectError as error:
        raise _NotThere(type(error).__name__) from error
    try:
        yield response
    finally:
        response.close()


def _event(line: str) -> Mapping[str, Any]:
    data = data_of_line(line)
    if data is None or not data.startswith("{"):
        return {}
    try:
        event = json.loads(data)
    except ValueError:
        raise DeployFailed("the deployed app streamed something that is not JSON") from None
    return event if isinstance(event, dict) else {}


def _code(event: Mapping[str, Any]) -> str:
    """The error's stable name, never its message."""
    error = (event.get("response") or {}).get("error") or {}
    code = error.get("code") if isinstance(error, dict) else None
    return f" ({code})" if isinstance(code, str) and code.isidentifier() else ""
