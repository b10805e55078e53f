"""Compacted conversations over a WebSocket, as the Open Responses specification of 2026-04-24 has it."""

from collections.abc import Iterator

import httpx
import pytest
from tests.serving.conftest import Service, serving
from tests.serving.talking import talking, text_of
from tests.serving.test_compaction import ASKS, LONG, TALK, reading
from tests.serving.test_open_responses import check_response, message

from graph_agent.testing import FakeWorkspace, Usage

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with (
        FakeWorkspace([Usage(40, 7), "They agreed on Tuesday."], each_turn=True) as workspace,
        serving(workspace.environment(), graphs={"a": reading()}, model="databricks:m", max_seconds=120.0) as running,
    ):
        yield running


@pytest.mark.parametrize("store", [True, False])
async def test_a_compacted_history_begins_a_new_chain(service: Service, store: bool) -> None:
    async with talking(service) as talk, service.client() as http:
        # The first call imports the client of the workspace.
        http.timeout = httpx.Timeout(120)
        compacted = await http.post("/v1/responses/compact", json={"model": "a", "input": TALK})
        asked = [*compacted.json()["output"], message("user", "When?")]
        first = await talk.ask(input=asked, store=store, tools=[])
        check_response(first)
        second = await talk.ask(input="Sure?", store=store, previous_response_id=first["id"])
    assert text_of(first).endswith("They agreed on Tuesday. | When?")
    assert text_of(second).endswith("They agreed on Tuesday. | When? | Sure?")


@pytest.mark.parametrize("store", [True, False])
async def test_a_conversation_that_is_too_long_is_compacted_where_it_is_remembered(
    service: Service, store: bool
) -> None:
    async with talking(service) as talk:
        first = await talk.ask(input=LONG, store=store)
        second = await talk.ask(input="When?", store=store, previous_response_id=first["id"], context_management=ASKS)
        assert [item["type"] for item in second["output"]] == ["compaction", "message"]
        third = await talk.ask(input="Sure?", store=store, previous_response_id=second["id"])
    assert "They agreed on Tuesday." in text_of(second)
    assert text_of(third).endswith("When? | Sure?")


@pytest.mark.parametrize("store", [True, False])
async def test_a_call_in_a_compacted_history_can_be_answered(service: Service, store: bool) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
    async with talking(service) as talk, service.client() as http:
        http.timeout = httpx.Timeout(120)
        compacted = await http.post("/v1/responses/compact", json={"model": "a", "input": [*TALK, call]})
        answer = await talk.ask(input=[*compacted.json()["output"], result], store=store)
        assert text_of(answer).endswith("They agreed on Tuesday. | seen")
        refused = await talk.refused(input=[*compacted.json()["output"], {**result, "call_id": "c2"}], store=store)
    assert (refused["status"], refused["param"]) == (400, "input[2].call_id")
