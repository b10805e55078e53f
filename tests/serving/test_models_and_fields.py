"""Which graph `model` means at each address, and what the response says of the request."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.serving.conftest import Service
from tests.wire import frames, named_frames

pytestmark = pytest.mark.anyio

DATABRICKS = ["/invocations", "/api/invocations", "/responses", "/api/responses"]
EVERY = [*DATABRICKS, "/v1/responses"]


@pytest.mark.parametrize("address", DATABRICKS)
@pytest.mark.parametrize("model", ["chat-model", "", "databricks-claude", "paln"])
async def test_any_name_means_the_default_graph_at_the_databricks_addresses(
    service: Service, address: str, model: str
) -> None:
    async with service.client() as client:
        answer = await client.post(address, json={"model": model, "input": "Hello?"})
    assert (answer.status_code, answer.json()["model"]) == (200, "plain")


async def test_a_graphs_name_means_that_graph_at_every_address(service: Service) -> None:
    async with service.client() as client:
        for address in EVERY:
            answer = await client.post(address, json={"model": "echo", "input": "Hello?"})
            assert answer.json()["model"] == "echo"


async def test_an_unknown_name_is_a_404_on_v1(service: Service) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/responses", json={"model": "chat-model", "input": "Hello?"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_graph")


async def test_a_fallback_answers_on_v1_where_there_is_one_and_the_default_elsewhere(serve: Callable[..., Any]) -> None:
    with serve(fallback_graph="echo") as service:
        async with service.client() as client:
            answered = {
                address: (await client.post(address, json={"model": "gpt-5", "input": "Hi"})).json()["model"]
                for address in EVERY
            }
    assert answered == dict.fromkeys(DATABRICKS, "plain") | {"/v1/responses": "echo"}


SAID = {
    "instructions": "Be short.",
    "temperature": 0.2,
    "top_p": 0.9,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "max_output_tokens": 77,
    "max_tool_calls": 5,
    "parallel_tool_calls": False,
    "safety_identifier": "someone",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "truncation": "auto",
    "user": "u",
    "metadata": {"ticket": "7"},
}
UNSAID = {
    "instructions": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_logprobs": 0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "previous_response_id": None,
    "tool_choice": "auto",
    "tools": [],
    "store": False,
    "background": False,
    "error": None,
    "incomplete_details": None,
}


@pytest.mark.parametrize("address", EVERY)
async def test_a_response_repeats_what_the_request_said(service: Service, address: str) -> None:
    asked = {"text": {"verbosity": "low"}, "store": False, "service_tier": "flex"}
    body = {"model": "plain", "input": "Hi"} | asked | SAID
    async with service.client() as client:
        whole = (await client.post(address, json=body)).json()
        *events, _ = frames((await client.post(address, json=body | {"stream": True})).text)
    # The tier is the one that served the request.
    said = SAID | {"text": {"verbosity": "low", "format": {"type": "text"}}, "store": False, "service_tier": "default"}
    for response in [whole, *(event["response"] for event in events if "response" in event)]:
        assert {name: response[name] for name in said} == said


@pytest.mark.parametrize("address", EVERY)
async def test_a_response_is_complete_whatever_the_request_left_out(service: Service, address: str) -> None:
    async with service.client() as client:
        whole = (await client.post(address, json={"model": "plain", "input": "Hi", "store": False})).json()
    assert {name: whole[name] for name in UNSAID} == UNSAID
    assert isinstance(whole["completed_at"], int)
    assert whole["created_at"] <= whole["completed_at"] < whole["created_at"] + 60


@pytest.mark.parametrize("address", EVERY)
async def test_usage_is_null_before_the_end_on_v1_and_absent_elsewhere(service: Service, address: str) -> None:
    async with service.client() as client:
        answer = await client.post(address, json={"model": "plain", "input": "Hi", "stream": True})
    created, *_, completed, _ = frames(answer.text)
    assert created["response"].get("usage", "absent") == (None if address == "/v1/responses" else "absent")
    assert created["response"]["completed_at"] is None
    assert completed["response"]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("address", EVERY)
async def test_every_event_is_named_by_a_line_of_its_own_on_v1_alone(service: Service, address: str) -> None:
    body = {"model": "failing", "input": "Hi", "stream": True, "custom_inputs": {"fail": "after"}}
    async with service.client() as client:
        *events, done = named_frames((await client.post(address, json=body)).text)
    assert done == (None, "[DONE]")
    assert len(events) > 3
    for name, event in events:
        assert name == (event["type"] if address == "/v1/responses" else None)


async def test_a_run_that_was_cut_or_failed_was_never_completed(service: Service) -> None:
    async with service.client() as client:
        body = {"model": "busy", "input": "Please talk.", "max_output_tokens": 3}
        cut = (await client.post("/v1/responses", json=body)).json()
        body = {"model": "failing", "input": "Hi", "stream": True, "custom_inputs": {"fail": "after"}}
        *_, failed, _ = frames((await client.post("/v1/responses", json=body)).text)
    assert (cut["status"], cut["completed_at"]) == ("incomplete", None)
    assert (failed["response"]["status"], failed["response"]["completed_at"]) == ("failed", None)


async def test_an_image_of_five_megabytes_passes_by_default(service: Service) -> None:
    image = "data:image/png;base64," + "A" * (5 * 1024 * 1024 * 4 // 3 + 4)
    content = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": image}]
    async with service.client() as client:
        answer = await client.post("/responses", json={"input": [{"role": "user", "content": content}]})
    assert answer.status_code == 200
