"""Clients that ask for the steps of a run get them at every address, however they read the answer."""

from typing import Any

import pytest
from tests.runs.stepping import NODE, check_steps, nodes_in
from tests.serving.conftest import Service
from tests.serving.joining import joined
from tests.wire import frames

pytestmark = pytest.mark.anyio

ADDRESSES = ["/invocations", "/api/invocations", "/responses", "/api/responses", "/v1/responses"]
NODES_OF_THE_TEAM = [
    (name, "completed") for name in ("think", "planner", "tools", "researchers", "researchers/research", "planner")
]
ASKED = {"model": "team", "input": "Weather?", "include": ["graph_agent.steps"]}


async def streamed(service: Service, address: str, **fields: Any) -> list[Any]:
    async with service.client() as client:
        answer = await client.post(address, json={**ASKED, "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    *events, done = frames(answer.text)
    assert done == "[DONE]"
    return events


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_stream_has_the_nodes_and_its_end_repeats_them(service: Service, address: str) -> None:
    events = await streamed(service, address, store=False)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    steps = check_steps(events)
    assert [("/".join(one["path"]), one["status"]) for one in steps] == NODES_OF_THE_TEAM


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_reply_has_the_steps(service: Service, address: str) -> None:
    async with service.client() as client:
        reply = (await client.post(address, json={**ASKED, "store": False})).json()
    steps = reply["custom_outputs"]["steps"]
    assert [("/".join(one["path"]), one["status"]) for one in steps] == NODES_OF_THE_TEAM


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_whoever_joins_and_whoever_reads_it_later_gets_them_too(
    service: Service, prefix: str, background: bool
) -> None:
    events = await streamed(service, f"{prefix}/responses", store=True, background=background)
    id_ = events[-1]["response"]["id"]
    async with service.client() as client:
        again = await joined(client, f"{prefix}/responses/{id_}?stream=true")
        later = (await client.get(f"{prefix}/responses/{id_}")).json()
    assert again.events == events
    assert later["custom_outputs"]["steps"] == check_steps(events)


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
async def test_a_run_that_fails_closes_its_nodes_on_the_wire(service: Service, address: str) -> None:
    fields = {"model": "failing", "store": False, "custom_inputs": {"fail": "tool"}}
    events = await streamed(service, address, **fields)
    assert check_steps(events)[-1]["status"] == "failed"
    assert nodes_in(events)


async def test_a_repeated_request_without_the_steps_finds_the_run_that_has_them(service: Service) -> None:
    body, headers = {**ASKED, "store": True}, {"idempotency-key": "steps-1"}
    async with service.client(headers=headers) as client:
        first = (await client.post("/responses", json=body)).json()
        again = (await client.post("/responses", json={**body, "include": []})).json()
    assert again["id"] == first["id"]
    assert again["custom_outputs"] == first["custom_outputs"]


async def test_other_values_of_include_add_nothing(service: Service) -> None:
    events = await streamed(service, "/v1/responses", store=False, include=["reasoning.encrypted_content"])
    assert not [one for one in events if one["type"] == NODE]
    assert "steps" not in events[-1]["response"].get("custom_outputs", {})


async def test_a_misspelled_value_of_include_is_refused_by_name(service: Service) -> None:
    async with service.client() as client:
        answer = await client.post("/responses", json={**ASKED, "include": ["graph_agent.step"]})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "include[0]")
    assert "graph_agent.steps" in error["message"]
