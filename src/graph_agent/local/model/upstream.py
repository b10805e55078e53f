"""Chat completions forwarded to any OpenAI-compatible server, such as Ollama or vLLM."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx

from graph_agent.errors import LocalModelFailed, PromptTooLong
from graph_agent.local.model.chunks import Chunk, completion_as_chunks
from graph_agent.sse_lines import data_of_line, read_lines_async

SILENCE_SECONDS = 600.0
"""Wait for the next byte. A server on a small machine can take minutes to read a long prompt."""

CONNECT_SECONDS = 5.0
MOST_BODY_BYTES = 16 << 20
"""Size limit of an answer that is not a stream."""

MOST_REASON = 8_192
"""Bytes of a refusal in which its reason is looked for."""

TOO_LONG = (
    "context length",
    "context_length",
    "context size",
    "context window",
    "exceed_context",
    "prompt is too long",
)
"""What llama.cpp, LM Studio, Ollama and vLLM say of a prompt that does not fit."""

NO_TOOLS = ("does not support tools", "tool choice requires", "tool-call-parser", "tools param requires")
"""What Ollama says of a model that knows no tools, and what llama.cpp and vLLM say if they were started without."""

DONE = "[DONE]"
BLANKS = b"\xef\xbb\xbf \t\r\n"
"""A UTF-8 byte order mark and whitespace, which may come before the content of a body."""

BASE_URL_HINT = (
    "check that GRAPH_AGENT_LOCAL_MODEL is the base URL of an OpenAI-compatible API, such as http://127.0.0.1:11434/v1"
)


class UpstreamModel:
    """The model of another server with the interface of `LocalModel`. Requests pass unchanged except for the model."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._model = model
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        """Answer with the chunks of the server. Closing the iterator closes the connection to the server.

        Some servers ignore `stream` and answer with a whole completion. It is yielded as chunks.

        Raises:
            LocalModelFailed: the server cannot be reached, refused the request, answered with something other than a
                chat completion, or broke off.
            PromptTooLong: the server says that the prompt does not fit.
        """
        # Usage is always requested: the service counts tokens, and a stream reports them only on request.
        wanted = {**body, "model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        try:
            async with self._client.stream("POST", self._url, json=wanted) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _refusal(answer.status_code, await _beginning(answer.aiter_bytes()))
                async for chunk in _chunks(answer.aiter_bytes()):
                    yield chunk
        except httpx.ConnectError as error:
            raise LocalModelFailed(
                "no model server answers at GRAPH_AGENT_LOCAL_MODEL: start the server, or correct the URL"
            ) from error
        except httpx.HTTPError as error:
            raise LocalModelFailed("the model server broke off the answer") from error


def _refusal(status: int, body: bytes) -> LocalModelFailed | PromptTooLong:
    """What to change, by the status and by what the body speaks of. Its words are not shown: they may hold secrets."""
    said = body.decode("utf-8", "replace").casefold()
    answered = f"the model server answered {status}"
    if status in (401, 403):
        return LocalModelFailed(f"{answered}: set GRAPH_AGENT_LOCAL_API_KEY to a key that it accepts")
    if status in (429, 503):
        return LocalModelFailed(f"{answered}: it is busy or still loads its model; try again in a minute")
    if any(one in said for one in TOO_LONG):
        return PromptTooLong(
            f"{answered}, because the prompt does not fit its window: send a shorter conversation, or start it with a "
            "larger window"
        )
    if any(one in said for one in NO_TOOLS):
        return LocalModelFailed(
            f"{answered}, because this model gets no tools there: choose one that knows tools with "
            "GRAPH_AGENT_LOCAL_MODEL_NAME, or start the server with tools (vLLM: --enable-auto-tool-choice and "
            "--tool-call-parser; llama.cpp: --jinja)"
        )
    if status == httpx.codes.NOT_FOUND:
        return LocalModelFailed(
            f"{answered}: set GRAPH_AGENT_LOCAL_MODEL_NAME to a model that it has, and {BASE_URL_HINT}"
        )
    return LocalModelFailed(
        f"{answered}: check GRAPH_AGENT_LOCAL_MODEL, GRAPH_AGENT_LOCAL_MODEL_NAME and the log of the server"
    )


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    read = bytearray()
    async for piece in pieces:
        read += piece
        if len(read) >= MOST_REASON:
            break
    return bytes(read[:MOST_REASON])


async def _chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[Chunk]:
    """The chunks of a body. Its first character tells what it is, because servers send wrong content types."""
    start = await _start_of(pieces)
    match start[:1]:
        # No line of a stream of server-sent events begins with these characters.
        case b"":
            raise LocalModelFailed(f"the model server answered with an empty body: {BASE_URL_HINT}")
        case b"<":
            raise LocalModelFailed(f"the model server answered with a web page (HTML): {BASE_URL_HINT}")
        case b"{" | b"[":
            for chunk in _whole(await _body_of(_joined(start, pieces))):
                yield chunk
        case _:
            async for chunk in _streamed(_joined(start, pieces)):
                yield chunk


async def _streamed(pieces: AsyncIterator[bytes]) -> AsyncIterator[Chunk]:
    is_stream = False
    async for line in read_lines_async(pieces):
        data = data_of_line(line)
        is_stream = is_stream or data is not None
        if data is not None and data.strip() == DONE:
            return
        if data:
            yield _chunk(data)
    if not is_stream:
        raise LocalModelFailed(f"the model server answered with text that is not a chat completion: {BASE_URL_HINT}")
    # Every complete stream ends with `[DONE]`; without it the answer may be cut off.
    raise LocalModelFailed("the model server broke off the answer")


def _chunk(data: str) -> Chunk:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict) or "error" in chunk:
        raise LocalModelFailed("the model server failed while answering")
    return chunk


def _whole(body: bytes) -> list[Chunk]:
    try:
        completion = json.loads(body)
    except (ValueError, RecursionError):
        completion = None
    if isinstance(completion, dict) and completion.get("error"):
        # Some servers report errors with status 200. The message is theirs and may hold secrets, so it is not shown.
        raise LocalModelFailed(
            "the model server answered with an error: check GRAPH_AGENT_LOCAL_MODEL_NAME, GRAPH_AGENT_LOCAL_API_KEY "
            "and the log of the server"
        )
    chunks = completion_as_chunks(completion)
    if not chunks:
        raise LocalModelFailed(f"the model server answered with JSON that is not a chat completion: {BASE_URL_HINT}")
    return chunks


async def _start_of(pieces: AsyncIterator[bytes]) -> bytes:
    """The first piece that is not blank, without the blanks before it; empty if there is none."""
    async for piece in pieces:
        if start := piece.lstrip(BLANKS):
            return start
    return b""


async def _body_of(pieces: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise LocalModelFailed(f"the model server answered with more than {MOST_BODY_BYTES >> 20} MB")
    return bytes(body)


async def _joined(start: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in pieces:
        yield piece
