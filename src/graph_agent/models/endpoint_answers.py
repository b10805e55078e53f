"""How a chat endpoint of the workspace is asked, and how its answers are read.

`ChatDatabricks` turns lists of content into JSON text, drops calls without an index, and fails on any answer that
differs from OpenAI's.

Imports OpenAI's client, which takes a second: import this module where a model is created.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
import openai
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from graph_agent.lazy import IMPORT_LOCK
from graph_agent.models.completion_faults import TOO_LARGE
from graph_agent.models.completions import (
    ENDPOINT,
    EXTRAS,
    CompletionReader,
    kind_of_body,
    read_completion,
    result_as_chunk,
)
from graph_agent.models.content import content_to_resend
from graph_agent.models.model_errors import InvalidModelAnswer
from graph_agent.sse_events import MOST_BYTES, EventReader, EventTooLarge
from graph_agent.threads import run_in_call_thread

CANNOT_STREAM = (400, 405, 406, 415, 422, 501)
"""Statuses with which endpoints refuse to stream. Their message then mentions streaming."""


class EndpointAnswers:
    """The methods of a chat model that LangChain calls, for an endpoint that may answer in any of the forms that
    endpoints use; see `completions`. A model class inherits from it first, and has what is declared here."""

    if TYPE_CHECKING:
        model: str
        client: Any
        async_client: Any
        _streams: bool
        _has_resources: bool

        def _prepare_inputs(
            self, messages: list[BaseMessage], stop: list[str] | None = None, stream: bool = False, **kwargs: Any
        ) -> dict[str, Any]: ...

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        """One answer, piece by piece, or in one piece from an endpoint that cannot stream.

        Raises:
            InvalidModelAnswer: the answer is an error or not a completion.
            openai.OpenAIError, httpx.HTTPError: as the client raises them.
        """
        ask = self._streamed if self._streams else self._in_one_piece
        chunks: Any = ask(messages, stop, kwargs)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        """One complete answer. Raises the same as `_astream`."""
        request = self._request(messages, stop, kwargs)
        completions = await self._completions()
        answer = await completions.with_raw_response.create(**request)
        return read_completion(answer.content, self.model)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        """One complete answer, in the calling thread. Raises the same as `_astream`."""
        answer = self.client.chat.completions.with_raw_response.create(**self._request(messages, stop, kwargs))
        return read_completion(answer.content, self.model)

    async def aclose(self) -> None:
        """Close its connections."""
        self.client.close()
        await self.async_client.close()

    async def _streamed(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs, stream=True)
        completions = await self._completions()
        try:
            async with completions.with_streaming_response.create(**request) as answer:
                async for chunk in _chunks(answer.http_response, self.model):
                    yield chunk
            return
        except openai.APIStatusError as error:
            if not _cannot_stream(error):
                raise
        async for chunk in self._in_one_piece(messages, stop, kwargs):
            # Only after a success: later calls skip the attempt to stream.
            self._streams = False
            yield chunk

    async def _completions(self) -> Any:
        """The completions of the client, whose first use imports OpenAI's resources: half a second, in a thread."""
        if not self._has_resources:
            await run_in_call_thread(self._import_resources)
            self._has_resources = True
        return self.async_client.chat.completions

    def _import_resources(self) -> None:
        with IMPORT_LOCK:
            _ = self.async_client.chat.completions

    async def _in_one_piece(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield result_as_chunk(await self._agenerate(messages, stop, **kwargs))

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any], *, stream: bool = False
    ) -> dict[str, Any]:
        """The request, with those parts of earlier answers that the endpoint expects back, and no others."""
        kwargs = {key: value for key, value in kwargs.items() if key not in ("stream", "stream_usage")}
        request: dict[str, Any] = self._prepare_inputs(list(map(self._known, messages)), stop, stream=stream, **kwargs)
        for message, sent in zip(messages, request["messages"], strict=True):
            if extras := message.additional_kwargs.get(EXTRAS):
                for call in sent.get("tool_calls") or ():
                    call.update(extras.get(call["id"], {}))
        return request

    def _known(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, AIMessage) or isinstance(message.content, str):
            return message
        content = content_to_resend(message.content, signed=message.response_metadata.get(ENDPOINT) == self.model)
        return message.model_copy(update={"content": content})


async def _chunks(response: httpx.Response, endpoint: str) -> AsyncIterator[ChatGenerationChunk]:
    """The chunks of a body: of a stream, or of a complete answer from an endpoint that ignored `stream`."""
    reader, events = CompletionReader(endpoint), EventReader()
    pieces = response.aiter_bytes()
    # The first character tells which of the two it is; the content type does not, as some endpoints send a wrong one.
    first = await anext(pieces, b"")
    # Blank lines may come first.
    while not first.strip() and (more := await anext(pieces, b"")):
        first += more
    if kind_of_body(first) != "stream":
        yield result_as_chunk(read_completion(await _rest(first, pieces), endpoint))
        return
    try:
        while first:
            for event in events.feed(first):
                for chunk in reader.read(event):
                    yield chunk
            first = b"" if reader.done else await anext(pieces, b"")
    except EventTooLarge as error:
        raise InvalidModelAnswer(TOO_LARGE) from error
    for event in events.end():
        for chunk in reader.read(event):
            yield chunk
    for chunk in reader.end():
        yield chunk


async def _rest(first: bytes, pieces: AsyncIterator[bytes]) -> bytes:
    held, size = [first], len(first)
    async for piece in pieces:
        size += len(piece)
        if size > MOST_BYTES:
            raise InvalidModelAnswer(TOO_LARGE)
        held.append(piece)
    return b"".join(held)


def _cannot_stream(error: openai.APIStatusError) -> bool:
    # Only the word tells this apart from any other refused request.
    return error.status_code in CANNOT_STREAM and "stream" in error.response.text.lower()
