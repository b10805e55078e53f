"""A stream's run outlives its reader for the time of grace, and nothing of the request's surroundings reaches it."""

import json
import re
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.serving.conftest import Upstream, ask, leave, settled

from graph_agent import Settings, create_app

pytestmark = pytest.mark.anyio

FOREIGN: ContextVar[str] = ContextVar("foreign_of_a_middleware", default="")

NAMES = '''
"""Says which context variables are set in a node."""
import json
from contextvars import copy_context
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


async def names(state):
    return {"messages": [AIMessage(json.dumps([variable.name for variable in copy_context()]))]}


builder = StateGraph(MessagesState)
builder.add_node("names", names)
builder.add_edge(START, "names")
graph = builder.compile()
'''


async def test_a_run_goes_on_after_its_reader_has_left_and_holds_its_slot(
    serve: Callable[..., Any], upstream: Upstream
) -> None:
    with serve(max_runs=1, grace_seconds=0.5) as service:
        before = service.tasks()
        with anyio.fail_after(10):
            _, writer = await ask(service, upstream, stream=True)
            await leave(writer)
            async with service.client() as client:
                # Until its grace is over, the run that nobody reads holds the only slot.
                refused = await client.post("/responses", json={"model": "plain", "input": "Hi"})
                await upstream.left.wait()
                await settled(service, before)
                answer = await client.post("/responses", json={"model": "plain", "input": "Hi"})
    assert refused.status_code == 429
    assert answer.status_code == 200


@pytest.mark.parametrize("busy", ["reject", "wait"])
@pytest.mark.parametrize("address", ["/responses", "/v1/responses"])
async def test_the_next_message_does_not_wait_for_a_reader_that_has_left(
    serve: Callable[..., Any], upstream: Upstream, busy: str, address: str
) -> None:
    named = {"context": {"conversation_id": "mine"}}
    with serve(busy=busy, grace_seconds=20.0, max_seconds=60.0) as service, anyio.fail_after(10):
        async with service.client() as client:
            reader, writer = await ask(service, upstream, address=address, stream=True, **named)
            upstream.say("So far.")
            await reader.readuntil(b"So far.")
            await leave(writer)
            body = {"model": "echo", "input": "Two", **named}
            # The service may not have noticed yet that the reader has left.
            while (answer := await client.post(address, json=body)).status_code == 409:
                assert answer.json()["error"]["code"] == "conversation_busy"
            await upstream.left.wait()
            listed = await client.get("/conversations/mine/responses")
    said = json.loads(answer.json()["output"][-1]["content"][0]["text"])
    assert [text for _, text, *_ in said] == ["Hi", "So far.", "Two"]
    assert [one["previous_response_id"] for one in listed.json()["data"]] == [listed.json()["data"][1]["id"], None]


@pytest.mark.parametrize("store", [True, False])
async def test_a_client_may_refer_to_what_it_has_read_of_an_answer_that_it_has_left(
    serve: Callable[..., Any], upstream: Upstream, store: bool
) -> None:
    with serve(grace_seconds=20.0, max_seconds=60.0) as service, anyio.fail_after(10):
        async with service.client() as client:
            reader, writer = await ask(service, upstream, address="/v1/responses", stream=True)
            upstream.say("So far.")
            read = await reader.readuntil(b"So far.")
            [item] = set(re.findall(r'"(msg_[0-9a-f]+)"', read.decode()))
            reference = {"type": "item_reference", "id": item}
            history = [{"role": "user", "content": "Hi"}, reference, {"role": "user", "content": "Two"}]
            body = {"model": "echo", "input": history, "store": store}
            # It is not stored yet, and belongs to a run that has a reader.
            refused = await client.post("/v1/responses", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conversation_busy")
            await leave(writer)
            while (answer := await client.post("/v1/responses", json=body)).status_code == 409:
                pass
            assert answer.status_code == 200, answer.text
    said = json.loads(answer.json()["output"][-1]["content"][0]["text"])
    assert [text for _, text, *_ in said] == ["Hi", "So far.", "Two"]


async def test_an_item_of_a_strangers_run_is_one_that_is_not_stored(
    serve: Callable[..., Any], upstream: Upstream
) -> None:
    token = {"authorization": "Bearer open sesame"}
    with (
        serve(grace_seconds=20.0, max_seconds=60.0, bearer_token="open sesame", user_header="X-User") as service,
        anyio.fail_after(10),
    ):
        async with service.client() as client:
            asked = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}, "stream": True}
            hers, his = ({**token, "x-user": name} for name in ("ann", "bob"))
            async with client.stream("POST", "/v1/responses", json=asked, headers=hers) as stream:
                upstream.say("So far.")
                async for line in stream.aiter_lines():
                    if "So far." in line:
                        break
                item = json.loads(line.removeprefix("data: "))["item_id"]
                answers = [
                    await client.post(
                        "/v1/responses",
                        json={"input": [{"type": "item_reference", "id": one}, {"role": "user", "content": "Two"}]},
                        headers=his,
                    )
                    for one in (item, f"msg_{'0' * 24}")
                ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()


async def test_a_caller_with_a_key_is_waited_for(serve: Callable[..., Any], upstream: Upstream) -> None:
    with serve(grace_seconds=20.0) as service, anyio.fail_after(10):
        async with service.client() as client:
            named = {"context": {"conversation_id": "mine"}}
            keyed = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}, **named}
            key = {"idempotency-key": "one"}
            with anyio.move_on_after(10) as leaves:
                async with anyio.create_task_group() as tasks:

                    async def first() -> None:
                        await client.post("/responses", json=keyed, headers=key)

                    tasks.start_soon(first)
                    await upstream.asked.wait()
                    leaves.cancel()
            for _ in range(20):
                refused = await client.post("/responses", json={"model": "echo", "input": "Two", **named})
                assert refused.status_code == 409
            upstream.say("Yes.")
            upstream.end()
            again = await client.post("/responses", json=keyed, headers=key)
    assert again.json()["output"][0]["content"][0]["text"] == "Yes."


class Foreign:
    """A host's middleware that sets a context variable for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        FOREIGN.set("of this request")
        await self._app(scope, receive, send)


async def test_a_context_variable_of_a_middleware_is_not_set_in_a_node(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(dedent(NAMES))
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"names": "./names.py:graph"}}))
    app = create_app(Settings(config=tmp_path / "langgraph.json", tracing="off", store="memory"), environ={})
    app.add_middleware(Foreign)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            answer = await client.post("/responses", json={"input": "Hi"})
    seen = json.loads(answer.json()["output"][0]["content"][0]["text"])
    assert FOREIGN.name not in seen
    assert "graph_agent_log_facts" in seen
