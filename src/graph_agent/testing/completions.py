"""Converts the replies of a script to the chat completions of a Databricks endpoint, whole and streamed."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from graph_agent.testing.errors import BadScript
from graph_agent.testing.script import Blocks, Call, Finish, Reasoning, Script, Usage, Wait, shown

USAGE = Usage(input=11, output=7)
"""The usage that is reported for a reply without a `Usage`."""

Json = dict[str, Any]


async def scripted_chunks(script: Script, body: Mapping[str, Any]) -> AsyncIterator[Json]:
    """Yield the chunks of the next reply. The last one has the usage and the finish reason.

    A mapping among the pieces is sent unchanged as a chunk, to imitate an endpoint with unusual chunks. A reply with
    such a chunk must contain its own usage and finish reason.

    Raises:
        ScriptError: no reply is left, or the reply contains something that is not a piece.
        Exception: the exceptions among the pieces of the reply.
    """
    messages = body["messages"]
    reply = script.reply(body, said=_said(messages), describe=lambda: _described(body))
    made = sum(len(message.get("tool_calls") or ()) for message in messages)
    calls = 0
    finish: Json = {}
    usage = USAGE
    for piece in reply:
        match piece:
            case Wait():
                await piece.over()
            case Call():
                for chunk in _call_chunks(piece, calls, piece.id or f"call_{made + calls + 1}"):
                    yield chunk
                calls += 1
            case Usage():
                usage = piece
            case Finish(metadata):
                finish |= metadata
            case Mapping():
                yield dict(piece)
            case _:
                yield _delta(_content(piece))
    if not any(isinstance(piece, Mapping) for piece in reply):
        end = {"finish_reason": "tool_calls" if calls else "stop"} | finish
        yield _delta({}, **end) | {"usage": _usage(usage)}


class ScriptedCompletion:
    """An ASGI response with one chat completion, whole or as server-sent events. It stops when the client disconnects.

    The body of the request must have been read, because this response waits for `http.disconnect`.
    """

    def __init__(self, script: Script, body: Mapping[str, Any]) -> None:
        self._stream = bool(body.get("stream"))
        self._chunks = scripted_chunks(script, body)
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.get("model")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = asyncio.ensure_future(self._answer(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait([answer, leaving], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
        finally:
            answer.cancel()
            leaving.cancel()
            await asyncio.gather(answer, leaving, return_exceptions=True)

    async def _answer(self, send: Send) -> None:
        if not self._stream:
            whole = self._head | completion([chunk async for chunk in self._chunks])
            await _send_json(send, orjson.dumps(whole))
            return
        # An error before the first chunk can still become a status, so the headers must wait for that chunk.
        first = await anext(self._chunks)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await self._write(first, send)
        async for chunk in self._chunks:
            await self._write(chunk, send)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _write(self, chunk: Json, send: Send) -> None:
        frame = b"data: " + orjson.dumps({"object": "chat.completion.chunk"} | self._head | chunk) + b"\n\n"
        await send({"type": "http.response.body", "body": frame, "more_body": True})


def completion(chunks: Sequence[Json]) -> Json:
    """Merge chunks into a whole completion."""
    text: list[str] = []
    blocks: list[Any] = []
    calls: dict[int, Json] = {}
    whole: Json = {"finish_reason": None}
    usage: Json = {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            whole |= {key: value for key, value in choice.items() if key not in ("index", "delta") and value}
            delta = choice.get("delta") or {}
            content = delta.get("content") or ""
            if isinstance(content, str):
                text.append(content)
            else:
                blocks += content
            for call in delta.get("tool_calls") or ():
                _join(calls, call)
    said = "".join(text)
    message: Json = {"role": "assistant", "content": [*blocks, *_text_block(said)] if blocks else said}
    if calls:
        message["tool_calls"] = list(calls.values())
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, **whole}], "usage": usage}


async def _left(receive: Receive) -> None:
    # Other messages belong to the body, which may still have an empty last piece.
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_json(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _content(piece: Any) -> Json:
    match piece:
        case str():
            return {"content": piece}
        case Reasoning(text):
            summary = [{"type": "summary_text", "text": text}]
            return {"content": [{"type": "reasoning", "summary": summary}]}
        case Blocks(blocks):
            return {"content": [dict(block) for block in blocks]}
        case BaseException() | type():
            raise piece
    raise BadScript(
        f"a reply contains a {type(piece).__name__}; use texts, Call, Reasoning, Blocks, Usage, Finish, Wait, "
        "exceptions, and mappings that are chunks of a chat completion"
    )


def _call_chunks(call: Call, place: int, id: str) -> list[Json]:
    first, *more = call.chunks
    whole = {"index": place, "id": id, "type": "function", "function": {"name": call.name, "arguments": first}}
    pieces = [whole, *({"index": place, "function": {"arguments": args}} for args in more)]
    return [_delta({"tool_calls": [piece]}) for piece in pieces]


def _delta(content: Json, **more: Any) -> Json:
    return {"choices": [{"index": 0, "delta": content, "finish_reason": None, **more}]}


def _usage(usage: Usage) -> Json:
    counted: Json = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    if usage.cached:
        counted["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.reasoning:
        counted["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return counted


def _join(calls: dict[int, Json], piece: Mapping[str, Any]) -> None:
    """Add a piece to its call. The id and the name arrive once, and the arguments in several pieces."""
    function = piece.get("function") or {}
    empty = {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}}
    joined = calls.setdefault(piece.get("index", 0), empty)["function"]
    joined["name"] += function.get("name") or ""
    joined["arguments"] += function.get("arguments") or ""


def _text_block(text: str) -> list[Json]:
    return [{"type": "text", "text": text}] if text else []


def _said(messages: Sequence[Mapping[str, Any]]) -> int:
    said = 0
    for message in messages:
        said = 0 if message["role"] == "user" else said + (message["role"] == "assistant")
    return said


def _described(body: Mapping[str, Any]) -> str:
    last = body["messages"][-1]
    tools = ", ".join(tool.get("function", {}).get("name", "") for tool in body.get("tools") or ()) or "none"
    return (
        f"{last['role']} message {shown(str(last.get('content')))}, the last of {len(body['messages'])}; "
        f"tools bound: {tools}"
    )
