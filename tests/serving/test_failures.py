"""A run that fails: what is told, that it is told once, and that no exception's own words are told anywhere."""

import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.serving.conftest import Service
from tests.wire import frames

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2"
ADDRESSES = pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
PLACES = {
    "before": (500, "graph_failed"),
    "after": (500, "graph_failed"),
    "model": (502, "model_failed"),
    "tool": (500, "graph_failed"),
    "interrupt": (501, "approval_needs_store"),
    "late": (500, "graph_failed"),
    "exit": (500, "graph_failed"),
}
FAILURES = pytest.mark.parametrize("fail", PLACES)
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def discreet(service: Service, *texts: str) -> None:
    """The password is neither in `texts` nor in the log."""
    gc.collect()
    assert [text for text in (*texts, *service.log) if PASSWORD in text] == []


def unstored(fail: str) -> dict[str, bool]:
    """A stored run that asks a person does not fail."""
    return {"store": False} if fail == "interrupt" else {}


@ADDRESSES
@FAILURES
async def test_a_stream_that_fails_ends_once_and_leaks_nothing(service: Service, address: str, fail: str) -> None:
    body = {"model": "failing", "input": "Go.", "stream": True, "custom_inputs": {"fail": fail}} | unstored(fail)
    async with service.client() as client:
        answer = await client.post(address, json=body)
    assert answer.status_code == 200
    *events, done = frames(answer.text)
    kinds = [event["type"] for event in events]
    assert done == "[DONE]"
    assert [kind for kind in kinds if kind in TERMINAL] == ([] if address == "/invocations" else ["response.failed"])
    error = events[kinds.index("error")]
    assert error["code"] == PLACES[fail][1]
    assert kinds[kinds.index("error") :] == (["error"] if address == "/invocations" else ["error", "response.failed"])
    _everything_opened_is_closed(events)
    discreet(service, answer.text, str(answer.headers))


@ADDRESSES
@FAILURES
async def test_a_reply_that_fails_is_an_error_with_the_same_code(service: Service, address: str, fail: str) -> None:
    body = {"model": "failing", "input": "Go.", "custom_inputs": {"fail": fail}} | unstored(fail)
    async with service.client() as client:
        answer = await client.post(address, json=body)
    status, code = PLACES[fail]
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, code, "server_error")
    assert answer.json()["detail"] == error["message"]
    discreet(service, answer.text, str(answer.headers))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "reply"])
async def test_a_failed_runs_id_is_in_its_answer_and_in_the_log(serve: Callable[..., Any], stream: bool) -> None:
    body = {"model": "failing", "input": "Go.", "stream": stream, "custom_inputs": {"fail": "before"}}
    with serve() as service:
        async with service.client() as client:
            answer = await client.post("/responses", json=body)
        assert [line for line in service.log if answer.headers["x-request-id"] in line] == service.log
        assert len(service.log) == 1
        assert "Unreachable at " in service.log[0]


@ADDRESSES
async def test_a_failing_tool_the_graph_survives_leaks_nothing(service: Service, address: str) -> None:
    async with service.client() as client:
        for stream in (True, False):
            answer = await client.post(address, json={"model": "team", "input": "Weather?", "stream": stream})
            assert "the tool 'broken' failed" in answer.text
            discreet(service, answer.text)


@ADDRESSES
async def test_a_half_answer_says_on_invocations_that_it_is_one(service: Service, address: str) -> None:
    body = {"model": "failing", "input": "Go.", "stream": True, "custom_inputs": {"fail": "after"}}
    async with service.client() as client:
        *events, _ = frames((await client.post(address, json=body)).text)
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    done = [event["text"] for event in events if event["type"] == "response.output_text.done"]
    (error,) = [event for event in events if event["type"] == "error"]
    message = error["error"] if address == "/invocations" else error["message"]
    sentence = f"\n\nI stopped here because of an error: {message}."
    assert text.endswith(sentence) == (address == "/invocations")
    assert text.removesuffix(sentence)
    assert done == [text]


@ADDRESSES
async def test_a_run_that_fails_before_its_answer_adds_no_text(service: Service, address: str) -> None:
    body = {"model": "failing", "input": "Go.", "stream": True, "custom_inputs": {"fail": "before"}}
    async with service.client() as client:
        answer = await client.post(address, json=body)
    assert "I stopped here" not in answer.text


async def test_private_thoughts_reach_nobody(service: Service) -> None:
    async with service.client() as client:
        for stream in (True, False):
            answer = await client.post("/responses", json={"model": "team", "input": "Weather?", "stream": stream})
            assert "SECRET" not in answer.text


async def test_runs_go_on_beside_one_that_fails(service: Service) -> None:
    async with service.client() as client:
        body = {"model": "failing", "input": "Go.", "custom_inputs": {"fail": "before"}}
        assert (await client.post("/responses", json=body)).status_code == 500
        assert (await client.post("/responses", json={"model": "plain", "input": "Hi"})).status_code == 200


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "reply"])
async def test_what_json_cannot_say_is_written_all_the_same(service: Service, stream: bool) -> None:
    async with service.client() as client:
        answer = await client.post("/responses", json={"model": "odd", "input": "Hi", "stream": stream, "store": False})
    assert answer.status_code == 200
    response = frames(answer.text)[-2]["response"] if stream else answer.json()
    assert response["status"] == "completed"
    # Half of a surrogate pair is nothing UTF-8 can write.
    assert response["output"][0]["content"][0]["text"] == "half \ufffd of a face"
    assert response["custom_outputs"] == {
        "set": ["one"],
        "bytes": "(bytes)",
        "nan": None,
        "thing": "(Thing)",
        "when": "2026-01-01T00:00:00",
        "half": "\ufffd",
        "7": "seven",
        "model": {"name": "m"},
        "large": "36893488147419103232",
    }


def _everything_opened_is_closed(events: list[Any]) -> None:
    def indices(kind: str) -> list[int]:
        return sorted(event["output_index"] for event in events if event["type"] == f"response.output_item.{kind}")

    assert indices("added") == indices("done"), json.dumps(events)
