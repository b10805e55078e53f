"""`x-mlflow-return-trace-id`: the trace's id for who asks for it, whatever becomes of the tracking server."""

from collections.abc import Iterator

import pytest
from tests.serving.conftest import Service, serving
from tests.wire import frames

pytestmark = pytest.mark.anyio

ADDRESSES = pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
ASKING = {"x-mlflow-return-trace-id": "true"}
QUESTION = {"model": "plain", "input": "Hello?"}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service whose tracking server is not there."""
    with serving(tracing="on", tracking_uri="http://127.0.0.1:9") as running:
        yield running


@ADDRESSES
async def test_a_stream_tells_it_in_a_frame_of_its_own_before_the_end(service: Service, address: str) -> None:
    async with service.client(headers=ASKING) as client:
        answer = await client.post(address, json=QUESTION | {"stream": True})
    *_, completed, trace, done = frames(answer.text)
    assert completed["type"] == "response.completed"
    assert list(trace) == ["trace_id"]
    assert trace["trace_id"].startswith("tr-")
    assert done == "[DONE]"


@ADDRESSES
async def test_a_failed_stream_tells_it_too(service: Service, address: str) -> None:
    body = {"model": "failing", "input": "Hi", "stream": True, "custom_inputs": {"fail": "after"}}
    async with service.client(headers=ASKING) as client:
        answer = await client.post(address, json=body)
    assert frames(answer.text)[-2]["trace_id"].startswith("tr-")


@ADDRESSES
async def test_a_reply_tells_it_in_its_metadata(service: Service, address: str) -> None:
    async with service.client(headers=ASKING) as client:
        answer = await client.post(address, json=QUESTION | {"metadata": {"ticket": "7"}})
    metadata = answer.json()["metadata"]
    assert metadata.pop("trace_id").startswith("tr-")
    assert metadata["ticket"] == "7"


@ADDRESSES
async def test_who_does_not_ask_is_not_told(service: Service, address: str) -> None:
    async with service.client(headers={"x-mlflow-return-trace-id": "false"}) as client:
        streamed = await client.post(address, json=QUESTION | {"stream": True})
        replied = await client.post(address, json=QUESTION)
    assert frames(streamed.text)[-2]["type"] == "response.completed"
    assert "trace_id" not in replied.json()["metadata"]
