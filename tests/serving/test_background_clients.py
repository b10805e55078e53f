"""Unmodified clients of OpenAI, Databricks and MLflow that start background runs and read their events."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from databricks_langchain import ChatDatabricks
from databricks_openai import DatabricksOpenAI
from langchain_core.messages import AIMessageChunk, HumanMessage
from mlflow.types.responses import (
    ResponsesAgentResponse,
    ResponsesAgentStreamEvent,
    responses_agent_output_reducer,
)
from openai import OpenAI
from openai.types.responses import ResponseQueuedEvent
from tests.serving.conftest import Service
from tests.serving.test_databricks_clients import ANSWER, Workspace
from tests.serving.test_openai_clients import check_team
from tests.wire import frames

BEGINNING = ["response.created", "response.queued", "response.in_progress"]


def until_over(look: Callable[[], Any]) -> Any:
    """What `look` returns once it is a response that has ended."""
    for _ in range(400):
        response = look()
        if response.status not in ("queued", "in_progress"):
            return response
        time.sleep(0.02)
    raise AssertionError("the run did not end")


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


# -- OpenAI -------------------------------------------------------------------------------------------------------


def test_the_openai_sdk_starts_a_run_and_looks_at_it_until_it_is_over(client: OpenAI) -> None:
    queued = client.responses.create(model="team", input="Weather?", background=True)
    assert (queued.status, queued.background, queued.output, queued.usage) == ("queued", True, [], None)
    response = until_over(lambda: client.responses.retrieve(queued.id))
    assert (response.id, response.background) == (queued.id, True)
    check_team(response)


def test_the_openai_sdk_streams_a_background_run(client: OpenAI) -> None:
    events = list(client.responses.create(model="plain", input="Hello?", background=True, stream=True))
    assert [event.type for event in events[:3]] == BEGINNING
    assert isinstance(events[1], ResponseQueuedEvent)
    states = [event.response.status for event in events if hasattr(event, "response")]
    assert states == ["queued", "queued", "in_progress", "completed"]
    assert {event.response.background for event in events if hasattr(event, "response")} == {True}
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_the_openai_sdks_accumulator_reads_a_background_run_to_its_end(client: OpenAI) -> None:
    with client.responses.stream(model="team", input="Weather?", background=True) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[:3] == BEGINNING
    check_team(final)


def test_the_openai_sdk_joins_a_background_run_anywhere(client: OpenAI) -> None:
    queued = client.responses.create(model="team", input="Weather?", background=True)
    whole = list(client.responses.retrieve(queued.id, stream=True))
    assert [event.type for event in whole[:3]] == BEGINNING
    for after in (0, 1, 2, len(whole) - 2):
        rest = list(client.responses.retrieve(queued.id, stream=True, starting_after=after))
        assert [event.to_dict() for event in rest] == [event.to_dict() for event in whole[after + 1 :]]


# -- Databricks and MLflow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/responses", "/api/responses", "/invocations", "/api/invocations"])
@pytest.mark.parametrize("graph", ["plain", "team", "echo"])
def test_mlflow_validates_and_reduces_the_events_of_a_background_run(
    service: Service, address: str, graph: str
) -> None:
    body = {"model": graph, "input": "Weather?", "stream": True, "background": True}
    *events, done = frames(httpx.post(service.url + address, json=body, timeout=10).text)
    assert done == "[DONE]"
    assert [event["type"] for event in events[:3]] == BEGINNING
    validated = [ResponsesAgentStreamEvent(**event) for event in events]
    assert [event.type for event in validated] == [event["type"] for event in events]
    reduced = responses_agent_output_reducer(events)["output"]
    assert [item["type"] for item in reduced] == [item["type"] for item in events[-1]["response"]["output"]]
    ResponsesAgentResponse(**events[-1]["response"])


@pytest.mark.filterwarnings("ignore:Invalid status. queued")
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_mlflow_reads_the_answer_to_a_background_request(service: Service, prefix: str) -> None:
    body = {"model": "plain", "input": "Hello?", "background": True}
    queued = httpx.post(f"{service.url}{prefix}/responses", json=body, timeout=10).json()
    # MLflow knows no queue, and only warns.
    assert ResponsesAgentResponse(**queued).output == []

    def look() -> Any:
        return ResponsesAgentResponse(**httpx.get(f"{service.url}{prefix}/responses/{queued['id']}").json())

    assert until_over(look).output[0].content[0]["text"] == "Hello world."


def test_databricks_openai_starts_streams_and_looks_at_a_background_run(service: Service) -> None:
    workspace: Any = Workspace(service.url)
    with DatabricksOpenAI(workspace_client=workspace, base_url=service.url) as client:
        queued = client.responses.create(model="team", input="Weather?", background=True)
        assert (queued.status, queued.background) == ("queued", True)
        response = until_over(lambda: client.responses.retrieve(queued.id))
        events = list(client.responses.create(model="team", input="Weather?", background=True, stream=True))
    assert response.output_text.endswith(ANSWER)
    assert [event.type for event in events[:3]] == BEGINNING
    assert events[-1].type == "response.completed"
    assert [item.type for item in events[-1].response.output] == [item.type for item in response.output]


def test_chat_databricks_streams_a_background_run_and_doubles_nothing(service: Service) -> None:
    workspace: Any = Workspace(service.url)
    chat = ChatDatabricks.model_construct(model="team", use_responses_api=True, workspace_client=workspace)
    with DatabricksOpenAI(workspace_client=workspace, base_url=service.url) as client:
        chat.__dict__["client"] = client
        chunks = list(chat.stream([HumanMessage("Weather?")], background=True))
    texts = [chunk.text for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    assert "".join(texts) == f"Let me look that up.Notes: two cities.{ANSWER}"
