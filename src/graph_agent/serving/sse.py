"""Server-sent events over ASGI. Whatever happens, the reader leaves its run."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from graph_agent.errors import ServiceStopping
from graph_agent.protocol.json_encoding import encode
from graph_agent.runs.event_log import Entry
from graph_agent.runs.registry import Reader
from graph_agent.serving.chunks import Chunks

logger = logging.getLogger(__name__)

PIECE = 65_536
"""The most bytes in one write. Small writes distinguish a slow client, which finishes some, from one that reads
nothing."""

WRITE_SECONDS = 30.0
"""How long one write may wait for the client."""

LATE_READER_SECONDS = 300.0
"""How long a slow client may take to read the rest of a run that is over. The events stay in memory until then."""

KEEPALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    # nginx and similar proxies buffer a stream without this header.
    (b"x-accel-buffering", b"no"),
)


def frames(batch: Sequence[Entry], *, named: bool = False, numbered: bool = False) -> bytes:
    """Write events as `data:` frames, which every client reads. `named` adds an `event:` line with each type, and
    `numbered` an `id:` line with each number, which browsers send as `Last-Event-ID` when they come back."""
    if numbered and named:
        return b"".join(b"id: %d\nevent: %b\ndata: %b\n\n" % (no, kind.encode(), data) for no, kind, data in batch)
    if numbered:
        return b"".join(b"id: %d\ndata: %b\n\n" % (entry.number, entry.data) for entry in batch)
    if named:
        return b"".join(b"event: %b\ndata: %b\n\n" % (entry.type.encode(), entry.data) for entry in batch)
    return b"data: " + b"\n\ndata: ".join([entry.data for entry in batch]) + b"\n\n"


async def disconnected(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStreamResponse:
    """An ASGI response that writes the events of a reader, several in one write when they are waiting. It keeps a quiet
    stream open with comments.

    Starlette's `StreamingResponse` does not close its source when the client leaves. Here the reader leaves its run on
    every path. `trailers` returns frames that are sent after the last event, before `done`. `named` adds `event:`
    lines, and `numbered` adds `id:` lines. `written` writes a batch of events in another form; nothing, if nothing of
    them is told. `done` is the end of the stream.

    A client is disconnected when a write of at most `PIECE` bytes does not return within `write_seconds`.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        headers: Mapping[str, str],
        trailers: Callable[[], Awaitable[Iterable[Mapping[str, Any]]]] | None = None,
        named: bool = False,
        numbered: bool = False,
        written: Callable[[Sequence[Entry]], bytes] | None = None,
        done: bytes = DONE,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._frames = partial(frames, named=named, numbered=numbered)
        self._written = written or self._frames
        self._done = done
        self._write_seconds = write_seconds
        self._writing_since: float | None = None
        self._reader = reader
        self._headers = [*HEADERS, *((k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items())]
        self._trailers = trailers
        self._over = False
        self._writer: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._chunks: Chunks | None = None

    def end_within(self, seconds: float) -> None:
        """Disconnect the client if it has not read everything within this time from now."""
        if not self._over:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._cut)

    def _cut(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    def _watch(self) -> None:
        # One timer for all writes: a timeout around each write would take longer than most writes.
        now, since = time.monotonic(), self._writing_since
        if since is not None and now - since >= self._write_seconds:
            logger.warning("a client read nothing for %g s and was disconnected", self._write_seconds)
            self._cut()
            return
        remaining = self._write_seconds if since is None else since + self._write_seconds - now
        self._watching = asyncio.get_running_loop().call_later(remaining, self._watch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._watch()
        chunks = self._chunks = Chunks.past(scope, send)
        if self._reader.outlet is not None and chunks is not None and self._written is self._frames:
            self._reader.outlet.take = partial(self._take, chunks)
        writer = self._writer = asyncio.ensure_future(self._write(send))
        leaver = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait([writer, leaver], return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and not writer.cancelled():
                # Breaks the connection off: the stream has no end, so that its client comes back.
                with suppress(ServiceStopping):
                    writer.result()
        finally:
            self._over, self._writer = True, None
            if self._reader.outlet is not None:
                # Otherwise this would hold itself, and the run.
                self._reader.outlet.take = None
            for timer in (self._timer, self._watching):
                if timer is not None:
                    timer.cancel()
            for task in (writer, leaver):
                task.cancel()
            # First: the run must stop even if one of the tasks takes long to end.
            await self._reader.leave()
            await asyncio.gather(writer, leaver, return_exceptions=True)

    def _take(self, chunks: Chunks, batch: Sequence[Entry]) -> bool:
        """Write events while the writer waits for them, if the client reads."""
        body = self._frames(batch)
        return len(body) <= PIECE and chunks.write(body)

    async def _write(self, send: Send) -> None:
        self._join()
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self._headers})
        async for batch in self._reader:
            await self._write_batch(send, batch)
        trailers = () if self._trailers is None else await self._trailers()
        # Not numbered events of the run: only this reader asked for them.
        tail = b"".join(b"data: %b\n\n" % encode(one) for one in trailers)
        self._join()
        await self._send(send, {"type": "http.response.body", "body": tail + self._done, "more_body": False})

    async def _write_batch(self, send: Send, batch: Sequence[Entry]) -> None:
        # A function of its own, so that what was written is freed before the next batch is awaited.
        is_last = bool(batch) and batch[-1].is_last
        if is_last:
            # What follows has nothing to wait for, unless the log has more.
            self._join()
        body = self._written(batch) if batch else KEEPALIVE
        for start in range(0, len(body), PIECE):
            await self._send(
                send, {"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True}
            )
        if not is_last:
            self._part()

    def _join(self) -> None:
        if self._chunks is not None:
            self._chunks.join()

    def _part(self) -> None:
        if self._chunks is not None:
            self._chunks.part()

    async def _send(self, send: Send, message: Message) -> None:
        self._writing_since = time.monotonic()
        await send(message)
        self._writing_since = None
