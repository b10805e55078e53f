"""A stream's run outlives its reader for the time of grace, and nothing of the request's surroundings reaches it."""

import json
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
