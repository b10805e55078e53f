"""The smoke test: one question to the deployed app, streamed, with the token a user would bring."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from graph_agent.errors import DeployFailed

QUESTION = "Say in one sentence what you can do."


@dataclass(frozen=True, slots=True)
class Answered:
    """How the app answered, in seconds."""

    first_word: float
    all: float


def ask_once(url: str, headers: Mapping[str, str], *, ready_seconds: float, answer_seconds: float) -> Answered:
    """Wait until the app at `url` is ready, then stream one question.

    Raises:
        DeployFailed: it was not ready in time, refused, or its answer did not stream to `response.completed`.
    """
    timeout = httpx.Timeout(answer_seconds, connect=10)
    with httpx.Client(base_url=url, headers=dict(headers), timeout=timeout) as client:
        _wait(client, ready_seconds)
        try:
            return _stream(client, time.monotonic() + answer_seconds)
        except httpx.HTTPError as error:
            raise DeployFailed(f"the app's answer broke off ({type(error).__name__})") from error


def _wait(client: httpx.Client, seconds: float) -> None:
    # The proxy answers 502 and 503 while the app is being exchanged.
    ends, seen = time.monotonic() + seconds, "no answer"
    while True:
        try:
            status = client.get("/ready", timeout=10).status_code
        except httpx.HTTPError as error:
            seen = type(error).__name__
        else:
            if status == 200:
                return
            _check(status)
            seen = f"status {status}"
        if time.monotonic() > ends:
            raise DeployFailed(f"the deployed app was not ready in {seconds:g} s ({seen})")
        time.sleep(min(1.0, seconds / 10))


def _check(status: int) -> None:
    if status in (301, 302, 303, 307, 401, 403):
        raise DeployFailed(
            f"the deployed app did not accept the deployer's token (status {status}); it needs an OAuth token of this"
            " workspace and CAN_USE"
        )


def _stream(client: httpx.Client, ends: float) -> Answered:
    began, first = time.monotonic(), None
    body = {"input": QUESTION, "stream": True}
    with client.stream("POST", "/responses", json=body) as response:
        _check(response.status_code)
        if response.status_code != 200:
            raise DeployFailed(f"the deployed app answered with status {response.status_code}")
        for line in response.iter_lines():
            if time.monotonic() > ends:
                raise DeployFailed("the deployed app's answer took too long")
            event = _event(line)
            match event.get("type"):
                case "response.output_text.delta":
                    first = first or time.monotonic()
                case "response.completed":
                    if first is None:
                        raise DeployFailed("the deployed app answered, but streamed no text")
                    return Answered(first - began, time.monotonic() - began)
                case "response.failed" | "response.incomplete" as ending:
                    raise DeployFailed(f"the deployed app's answer ended as {ending}{_code(event)}")
    raise DeployFailed("the deployed app's answer ended without response.completed")


def _event(line: str) -> Mapping[str, Any]:
    if not line.startswith("data: {"):
        return {}
    try:
        event = json.loads(line.removeprefix("data: "))
    except ValueError:
        raise DeployFailed("the deployed app streamed something that is not JSON") from None
    return event if isinstance(event, dict) else {}


def _code(event: Mapping[str, Any]) -> str:
    """The error's stable name, never its message."""
    error = (event.get("response") or {}).get("error") or {}
    code = error.get("code") if isinstance(error, dict) else None
    return f" ({code})" if isinstance(code, str) and code.isidentifier() else ""
