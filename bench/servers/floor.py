"""The floor: the least code that a careful developer would write to stream a LangGraph graph over HTTP.

It is one `astream` loop with the modes that a chat needs: `messages` for tokens, `updates` for tool calls and their
results, and `subgraphs=True` so that nested graphs stream too. It sends one small frame for each token, call and
result, written with orjson. It has no validation, ids, item or response events, limits, cancellation, errors or traces.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from bench.scripted import graph
from bench.servers import serve


def _frame(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def _frames(messages: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    run: Any = graph.astream({"messages": messages}, stream_mode=["messages", "updates"], subgraphs=True)
    async with aclosing(run) as parts:
        async for _, mode, data in parts:
            if mode == "messages":
                message, _ = data
                if isinstance(message, AIMessageChunk) and message.content:
                    yield _frame({"delta": message.content})
                continue
            for update in data.values():
                for message in update["messages"]:
                    if isinstance(message, AIMessage) and message.tool_calls:
                        yield _frame({"tool_calls": message.tool_calls})
                    elif isinstance(message, ToolMessage):
                        yield _frame({"tool": message.name, "output": message.content})
    yield b"data: [DONE]\n\n"


async def stream(request: Request) -> StreamingResponse:
    body = await request.json()
    return StreamingResponse(_frames(body["input"]), media_type="text/event-stream")


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/stream", stream, methods=["POST"])]))
