"""The floor: the least code that a careful developer would write to stream a LangGraph graph over HTTP.

It is one `astream` loop with the modes that a chat needs: `messages` for tokens, `updates` for tool calls and their
results, and `subgraphs=True` so that nested graphs stream too. It sends one small frame for each token, call and
result, written with orjson. It has no validation, ids, item or response events, limits, cancellation, errors or traces.

With a place in `BENCH_SAVER`, each turn is a thread of its own in LangGraph's saver for SQLite or PostgreSQL, with one
checkpoint at its end, as of graph-agent. That is all it stores: no response, no items, no events, and nobody else is
kept from the thread meanwhile.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
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


SAVER = os.environ.get("BENCH_SAVER", "")
"""`sqlite:FILE`, the URL of a PostgreSQL database, or nothing."""


async def _frames(messages: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    stored: dict[str, Any] = {}
    if SAVER:
        stored = {"config": {"configurable": {"thread_id": uuid.uuid4().hex}}, "durability": "exit"}
    run: Any = graph.astream({"messages": messages}, stream_mode=["messages", "updates"], subgraphs=True, **stored)
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


@asynccontextmanager
async def _saving(_: Starlette) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if SAVER:
            graph.checkpointer = await _saver(stack)
        yield


async def _saver(stack: AsyncExitStack) -> Any:
    # Not before: the other floor does not need them.
    kind, _, path = SAVER.partition(":")
    if kind == "sqlite":
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        return await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(path))
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    how: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: Any = AsyncConnectionPool(SAVER, max_size=10, kwargs=how, open=False)
    saver = AsyncPostgresSaver(await stack.enter_async_context(pool))
    await saver.setup()
    return saver


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/stream", stream, methods=["POST"])], lifespan=_saving))
