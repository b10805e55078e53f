"""The event stream that answers one MCP request, over as many HTTP responses as the server splits it into."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import httpx

from graph_agent.databricks.deadline import Deadline
from graph_agent.databricks.mcp_body import MOST_BYTES, pause, read_pieces
from graph_agent.databricks.mcp_failure import ExchangeFailed
from graph_agent.databricks.mcp_messages import AnswerUnreadable, read_event, session_is_lost
from graph_agent.sse_events import EventReader

EVENTS = "text/event-stream"

DEFAULT_RETRY = 0.5
"""Seconds to wait before resuming a stream that the server closed, when the server names no `retry`."""

SHORTEST_RETRY = 0.1
"""Seconds between two attempts to resume, even when the server asks for less."""

MOST_CUTS = 2
"""How many broken streams of one answer are resumed. A stream that the server closes in order does not count."""

Resume = Callable[[str], Awaitable[httpx.Response]]


class EventStream(httpx.AsyncByteStream):
    """Passes on the answer and the server's own requests, and always ends with an answer.

    The SDK's reader waits forever on a stream that ends without one. A server may close the stream and expect the
    client to resume it: `resume` sends that request with the id of the last event.
    """

    def __init__(self, response: httpx.Response, request_id: Any, deadline: Deadline, resume: Resume) -> None:
        self._response = response
        self._id = request_id
        self._deadline = deadline
        self._resume = resume

    async def __aiter__(self) -> AsyncIterator[bytes]:
        in_session = "mcp-session-id" in self._response.request.headers
        try:
            # `aclosing`: leaving early must close the HTTP response now, not when the generator is collected.
            async with aclosing(self._messages()) as messages:
                async for data in messages:
                    if (message := read_event(data, self._id)) is None:
                        continue
                    if message.answers and in_session and session_is_lost(message.error):
                        raise ExchangeFailed("forgotten")
                    yield _frame(message.body)
                    if message.answers:
                        return
        except ExchangeFailed as failure:
            yield _frame(failure.answer(self._id))
        except AnswerUnreadable as failure:
            yield _frame(ExchangeFailed(failure.reason).answer(self._id))

    async def aclose(self) -> None:
        await self._response.aclose()

    async def _messages(self) -> AsyncGenerator[bytes, None]:
        """The data of the messages, across all responses of the stream."""
        last_id, retry, cuts = None, DEFAULT_RETRY, 0
        while True:
            events = EventReader(most_bytes=MOST_BYTES)
            try:
                async with aclosing(_data(self._response, events, self._deadline)) as found:
                    async for data in found:
                        yield data
            except ExchangeFailed as failure:
                cuts += 1
                if failure.reason != "cut" or cuts > MOST_CUTS:
                    raise
            last_id = events.last_id or last_id
            # Without an event id the server has no place to resume from.
            if last_id is None:
                raise ExchangeFailed("cut")
            retry = retry if events.retry is None else events.retry
            await pause(max(retry, SHORTEST_RETRY), self._deadline)
            self._response = await self._resume(last_id)


def _frame(body: bytes) -> bytes:
    return b"event: message\ndata: " + body + b"\n\n"


async def _data(response: httpx.Response, events: EventReader, deadline: Deadline) -> AsyncGenerator[bytes, None]:
    """The data of the messages in one body."""
    async with aclosing(read_pieces(response, deadline)) as pieces:
        async for piece in pieces:
            for event in events.feed(piece):
                # Events of any other name are not messages of the protocol.
                if event.name in ("", "message"):
                    yield event.data.encode()
    if events.last_id is None:
        # A stream that cannot be resumed may still hold its last event without the closing blank line. One that can
        # be resumed gets the incomplete event again.
        for event in events.end():
            yield event.data.encode()
