"""Chat completions from a `ChatBackend`: whole or as server-sent events, stopped when the client leaves."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Protocol, runtime_checkable

import orjson
from starlette.types import Receive, Scope, Send

from graph_agent.local.model.completion import Completion
from graph_agent.local.rest.http import ApiError, bad_request, json_response, number, whole_number

ROLES = ("assistant", "developer", "system", "tool", "user")
EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
MOST_TOKENS = 1_000_000
"""Largest `max_tokens` that is accepted. It only rules out values that cannot be meant."""


MOST_LIKELIEST = 20
"""Largest `top_logprobs`, as in OpenAI's API."""


class ChatBackend(Protocol):
    """A chat model. Closing or cancelling the iterator must stop the work behind it."""

    def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Answer a chat completions request with `chat.completion.chunk` objects. The last one has the usage.

        May raise any `AgentError`. If it is raised before the first chunk, it becomes the status of the answer.
        """


@runtime_checkable
class TokenCounter(Protocol):
    """A chat model that can count."""

    async def count_tokens(self, body: Mapping[str, Any]) -> int:
        """How many tokens it would read for a chat completions request. May raise any `AgentError`."""


class ChatAnswer:
    """An ASGI response that owns the backend's iterator, and closes it before the response ends, on every path."""

    def __init__(self, backend: ChatBackend, body: Mapping[str, Any]) -> None:
        self._backend = backend
        self._body = body
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body["model"]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._stream(send) if self._body.get("stream") else self._whole(scope, receive, send)
        await cancel_when_left(receive, answer)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        completion = Completion()
        async with aclosing(self._backend.stream_chat(self._body)) as chunks:
            async for chunk in chunks:
                completion.add(chunk)
        await json_response(self._head | completion.reply())(scope, receive, send)

    async def _stream(self, send: Send) -> None:
        async with aclosing(self._backend.stream_chat(self._body)) as chunks:
            # The status is sent after the first chunk is there. Later errors can only be reported in the stream.
            first = await anext(chunks, None)
            await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
            ending = await self._forward(first, chunks, send)
        await send({"type": "http.response.body", "body": ending})

    async def _forward(
        self, first: dict[str, Any] | None, rest: AsyncGenerator[dict[str, Any], None], send: Send
    ) -> bytes:
        """Send the chunks, and return the last frame of the stream."""
        try:
            if first is not None:
                await self._write(first, send)
            async for chunk in rest:
                await self._write(chunk, send)
        except Exception as error:  # noqa: BLE001 - the status is sent, so any error must become the last frame
            fault = ApiError.of(error)
            return frame({"error": {"message": fault.message, "type": "server_error", "code": fault.code}})
        return b"data: [DONE]\n\n"

    async def _write(self, chunk: dict[str, Any], send: Send) -> None:
        # The head comes last, so that all chunks have the id and model of this answer, whatever the backend sends.
        event = {"object": "chat.completion.chunk"} | chunk | self._head
        await send({"type": "http.response.body", "body": frame(event), "more_body": True})


async def cancel_when_left(receive: Receive, answer: Coroutine[Any, Any, None]) -> None:
    """Run `answer`, and cancel it when the client leaves. The body of the request must have been read before."""
    tasks = [asyncio.ensure_future(answer), asyncio.ensure_future(client_left(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        # Wait until the cancellation is complete, so that the backend has stopped when this returns.
        await asyncio.gather(*tasks, return_exceptions=True)


async def client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def frame(event: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def check_chat(body: Mapping[str, Any]) -> None:
    """Check a request body. Raises `ApiError` with the name of the field if no backend could answer it."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("'messages' must be a list with at least one message.")
    for position, message in enumerate(messages):
        check_message(message, f"messages[{position}]")
    if body.get("stream") not in (None, True, False):
        raise bad_request("'stream' must be true or false.")
    whole_number(body, "max_tokens", default=1, least=1, most=MOST_TOKENS)
    number(body, "temperature", default=0.0)
    if body.get("logprobs") not in (None, True, False):
        raise bad_request("'logprobs' must be true or false.")
    whole_number(body, "top_logprobs", default=0, least=0, most=MOST_LIKELIEST)
    check_tools(body.get("tools"))


def check_message(message: Any, name: str) -> None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise bad_request(f"'{name}' must be an object whose role is one of {', '.join(ROLES)}.")
    if not isinstance(message.get("content"), str | list | None):
        raise bad_request(f"'{name}.content' must be a string or a list of parts.")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(has_named_function(call) for call in calls):
        raise bad_request(f"'{name}.tool_calls' must be a list of calls, each with the name of a function.")


def check_tools(tools: Any) -> None:
    if tools is not None and not (isinstance(tools, list) and all(has_named_function(tool) for tool in tools)):
        raise bad_request("'tools' must be a list of functions, each with a name.")


def has_named_function(value: Any) -> bool:
    function = value.get("function") if isinstance(value, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)
