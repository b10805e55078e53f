"""A run that has ended leaves memory with its events, at once, and not when the garbage collector comes round."""

import gc
import json
from collections import Counter
from typing import Any

import httpx
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from graph_agent import Settings, create_app
from graph_agent.runs.run import Run
from graph_agent.serving.sse import EventStreamResponse
from graph_agent.testing import ScriptedChatModel
from graph_agent.testing.loopback import on_loopback

FREED = (Run, EventStreamResponse, RequestResponseCycle)
"""The run, the answer that is a stream, and the server's object for the request."""


def _held() -> Counter[type[Any]]:
    return Counter(one.__class__ for one in gc.get_objects() if isinstance(one, FREED))


@pytest.mark.parametrize("path", ["/invocations", "/v1/responses", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_run_that_has_ended_is_freed_without_the_garbage_collector(path: str, stream: bool) -> None:
    model = ScriptedChatModel(*["one two three"] * 6)

    async def node(state: MessagesState) -> dict[str, object]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    app = create_app(Settings(tracing="off", store="memory"), {"g": graph})
    asked = {"messages": [{"role": "user", "content": "hi"}]} if "chat" in path else {"input": "hi", "store": False}
    with on_loopback(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        ask = {**asked, "stream": stream}
        assert "one two three" in client.post(path, json={**asked, "stream": False}).text
        gc.collect()
        before = _held()
        gc.disable()
        try:
            for _ in range(5):
                assert client.post(
                    path, content=json.dumps(ask), headers={"content-type": "application/json"}
                ).is_success
            # The last one may still be about to be let go.
            assert max((_held() - before).values(), default=0) <= 1
        finally:
            gc.enable()
