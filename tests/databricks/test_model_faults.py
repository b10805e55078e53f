"""What a caller of the service is told on each bad day of a model endpoint, and that the event loop stays free.

The time each takes is recorded as the property `seconds` of the test (`--junitxml=FILE -o junit_family=xunit1`).
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.databricks.service import service_here, text_of
from tests.standin.server import StandIn, dead_host, delta, says, stand_in
from tests.standin.stalls import stalls

MODEL = "/serving-endpoints/chat/completions"
TOKEN = "/oidc/v1/token"
ASK = {"model": "asking", "input": "What colour?"}
BLOCKED_SECONDS = 0.1
LATE = 5.0
"""Longer than any limit set below."""

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients", "imported")]


@pytest.fixture(scope="module")
def imported() -> None:
    """The client's import takes seconds of the first call."""
    import databricks_langchain  # noqa: F401


@dataclass
class Day:
    """A bad day: what happens, and what the caller is told."""

    arrange: Callable[[StandIn], None]
    status: int = 200
    code: str = ""
    says: str = ""
    calls: int = 1
    settings: dict[str, str] = field(default_factory=dict)


def failing(status: int, *, times: int = 99, **options: Any) -> Callable[[StandIn], None]:
    return lambda standing: standing.fail(MODEL, status, times=times, **options)


def speaking(*pieces: Any) -> Callable[[StandIn], None]:
    def arrange(standing: StandIn) -> None:
        standing.model.script = lambda body: pieces

    return arrange


DAYS = {
    "429 once": Day(failing(429, times=1), calls=2),
    "429 once, retry-after 1": Day(failing(429, times=1, headers={"retry-after": "1"}), calls=2),
    **{
        f"too long: {said}": Day(
            failing(400, body={"error_code": "BAD_REQUEST", "message": said}),
            400,
            "context_length_exceeded",
            "too long",
        )
        for said in (
            "This model's maximum context length is 8192 tokens.",
            '{"external_model_error": {"error": {"code": "context_length_exceeded"}}}',
            "prompt is too long: 208310 tokens > 200000 maximum",
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            "the prompt does not fit the local model's window: send a shorter conversation",
        )
    },
    "too large": Day(failing(413), 400, "context_length_exceeded", "too long"),
    "429 for good": Day(failing(429), 429, "model_rate_limited", "tried 3 times", calls=3),
    "500 once": Day(failing(500, times=1), calls=2),
    "500 for good": Day(failing(500), 502, "model_failed", "failed (500), tried 3 times", calls=3),
    "503 once": Day(failing(503, times=1), calls=2),
    "503 for good": Day(failing(503), 502, "model_failed", "not available (503)", calls=3),
    "400": Day(failing(400), 502, "model_failed", "does not accept the request"),
    "401": Day(failing(401), 502, "model_failed", "DATABRICKS_CLIENT_SECRET"),
    "403": Day(failing(403), 502, "model_failed", "service principal needs CAN_QUERY"),
    "404": Day(failing(404), 502, "model_failed", "'local-model' does not exist"),
    "cut after two pieces": Day(
        lambda standing: standing.hang_up(MODEL, after=2), 502, "model_failed", "ended its answer early"
    ),
    "an error within the stream": Day(
        speaking(delta(content="It "), {"error": {"message": "out of memory"}}), 502, "model_failed", "with an error"
    ),
    "silent from the start": Day(
        lambda standing: standing.slow(MODEL, LATE, times=9),
        504,
        "model_timed_out",
        "sent nothing for 0.5 s",
        calls=3,
        settings={"GRAPH_AGENT_SILENCE_SECONDS": "0.5"},
    ),
    "silent midway": Day(
        speaking(delta(content="It "), LATE, *says("late")),
        504,
        "model_timed_out",
        "sent nothing for 0.5 s",
        settings={"GRAPH_AGENT_SILENCE_SECONDS": "0.5"},
    ),
    "never silent, never done": Day(
        speaking(*[delta(content="and "), 0.1] * 100),
        504,
        "model_timed_out",
        "within 3 s",
        settings={"GRAPH_AGENT_MODEL_SECONDS": "3"},
    ),
    "asks to wait longer than a person would": Day(
        failing(429, headers={"retry-after": "30"}), 429, "model_rate_limited", "try again in 30 s"
    ),
    "asks to wait longer than a call may take": Day(
        failing(429, headers={"retry-after": "8"}),
        504,
        "model_timed_out",
        "within 3 s",
        settings={"GRAPH_AGENT_MODEL_SECONDS": "3"},
    ),
    "signing in is slow": Day(lambda standing: standing.slow(TOKEN, 1.0)),
    "signing in is refused": Day(
        lambda standing: standing.fail(TOKEN, 401, times=9), 502, "workspace_unavailable", "CLIENT_ID", calls=0
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("day", DAYS)
async def test_the_caller_is_told_what_to_change_or_never_notices(
    standing: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    day: str,
    stream: bool,
) -> None:
    bad = DAYS[day]
    for name, value in bad.settings.items():
        monkeypatch.setenv(name, value)
    async with service_here() as client, stalls() as found:
        bad.arrange(standing)
        began = time.monotonic()
        answer = await client.post("/invocations", json=ASK | {"stream": stream})
        record_property("seconds", round(time.monotonic() - began, 2))
    record_property("blocked", round(found.worst, 3))
    status, code, text = told(answer)
    assert (status, code) == (200 if stream else bad.status, bad.code)
    assert (bad.says or "It is blue.") in text
    assert len(standing.calls(MODEL)) == bad.calls
    assert found.worst < BLOCKED_SECONDS
    assert not stream or answer.text.endswith("data: [DONE]\n\n")
    # The endpoint's own message is not shown.
    assert "a test asked for this error" not in answer.text
    assert "out of memory" not in answer.text


async def test_a_workspace_that_dies_under_the_service_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as alive:
        standing = alive.enter_context(stand_in(tmp_path / "workspace"))
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        async with service_here() as client:
            assert text_of(await client.post("/invocations", json=ASK)) == "It is blue."
            await asyncio.to_thread(alive.close)
            async with stalls() as found:
                began = time.monotonic()
                answer = await client.post("/invocations", json=ASK)
                record_property("seconds", round(time.monotonic() - began, 2))
    status, code, text = told(answer)
    assert (status, code) == (502, "model_failed")
    assert "cannot be reached, tried 3 times" in text
    assert found.worst < BLOCKED_SECONDS


async def test_a_workspace_that_was_never_there_costs_seconds_not_minutes(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    with dead_host() as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        monkeypatch.setenv("DATABRICKS_CLIENT_ID", "nobody")
        monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "nothing")
        async with service_here() as client, stalls() as found:
            began = time.monotonic()
            answers = await asyncio.gather(*(client.post("/invocations", json=ASK) for _ in range(4)))
            seconds = time.monotonic() - began
    record_property("seconds", round(seconds, 2))
    # They share one attempt, which takes 12 s: four in a row would take four times as long.
    assert seconds < 40
    assert {told(answer)[:2] for answer in answers} == {(502, "workspace_unavailable")}
    assert "check DATABRICKS_HOST" in told(answers[0])[2]
    assert found.worst < BLOCKED_SECONDS


def told(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, the error's code, and what the caller reads: the error's message or the answer."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        error = answer.json().get("error")
        return answer.status_code, *((error["code"], error["message"]) if error else ("", text_of(answer)))
    frames = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(frame) for frame in frames if frame != "[DONE]"]
    ends = events[-1].get("databricks_output", {}).get("error")
    text = "".join(event.get("delta", "") for event in events)
    return answer.status_code, *((ends["error_code"], ends["message"]) if ends else ("", text))
