"""Only Starlette: a loop sends as many frames as the floor. This is the overhead of HTTP and SSE without a graph."""

from collections.abc import AsyncIterator

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from bench.client import TOKENS
from bench.servers import serve


async def _frames() -> AsyncIterator[bytes]:
    yield b'data: {"tool_calls":["look_up"]}\n\n'
    yield b'data: {"tool":"look_up"}\n\n'
    for number in range(TOKENS):
        yield b"data: " + orjson.dumps({"delta": f"word{number} "}) + b"\n\n"
    yield b"data: [DONE]\n\n"


async def stream(request: Request) -> StreamingResponse:
    await request.json()
    return StreamingResponse(_frames(), media_type="text/event-stream")


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/stream", stream, methods=["POST"])]))
