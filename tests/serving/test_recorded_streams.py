"""One run per dialect, every field of every event, as in `recorded/*.jsonl`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import Service
from tests.wire import Ids, frames, told

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parent / "recorded"
DIALECTS = pytest.mark.parametrize(
    ("address", "recording"),
    [
        ("/invocations", "databricks"),
        ("/api/invocations", "databricks"),
        ("/responses", "databricks"),
        ("/api/responses", "databricks"),
        ("/v1/responses", "openai"),
    ],
)


def recorded(name: str) -> list[Any]:
    """The events of a recording, one a line."""
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text().splitlines()]


@DIALECTS
async def test_a_whole_stream_is_as_recorded(service: Service, address: str, recording: str) -> None:
    async with service.client() as client:
        answer = await client.post(address, json={"model": "team", "input": "Weather?", "stream": True, "store": False})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, done = frames(answer.text)
    assert done == "[DONE]"
    assert told(events) == recorded(recording)


@DIALECTS
async def test_a_reply_is_the_response_of_the_streams_last_event(
    service: Service, address: str, recording: str
) -> None:
    async with service.client() as client:
        answer = await client.post(address, json={"model": "team", "input": "Weather?", "store": False})
    assert answer.headers["content-type"] == "application/json"
    # Ids are numbered by appearance, and a stream shows them all before its last event: in the same order.
    assert told(answer.json()) == Ids().told(recorded(recording)[-1]["response"])


@pytest.mark.parametrize(
    ("address", "recording"),
    [("/invocations", "failed-invocations"), ("/responses", "failed-databricks"), ("/v1/responses", "failed-openai")],
)
async def test_a_stream_that_fails_after_a_tool_call_is_as_recorded(
    service: Service, address: str, recording: str
) -> None:
    body = {"model": "failing", "input": "Go.", "stream": True, "store": False, "custom_inputs": {"fail": "tool"}}
    async with service.client() as client:
        answer = await client.post(address, json=body)
    *events, done = frames(answer.text)
    assert done == "[DONE]"
    assert told(events) == recorded(recording)
