"""Limits on the bytes that one caller, and all callers together, may send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from graph_agent.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, RunCancelled, TooManyRuns

RETRY_AFTER_SECONDS = 2

MOST_PARSED_HERE = 4096
"""The largest body, in bytes, that is parsed on the event loop, which takes at most 10 ms. A larger body is parsed in a
thread, after it has a slot."""

MOST_BODIES = 16
"""How many bodies of the largest size may be in memory before their runs start: 128 MB with the default of 8 MB."""

BYTES_A_SECOND = 65_536
"""The slowest rate at which a body may arrive after the first `seconds`."""

STEP = 8_192
"""Bytes after which a body that arrives gets more time. Most bodies are smaller."""

TOO_MANY_BODIES = "too many request bodies are being sent; try again shortly"

MOST_DIGITS = 18
"""The most digits of a `Content-Length`. No body is that long."""


class Bodies:
    """The request bodies that are being received: each of at most `most` bytes, together at most `MOST_BODIES` times
    that."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._held = 0

    def is_small(self, request: Request) -> bool:
        """Whether the request declares a body that is small enough to be parsed on the event loop."""
        # Without a declared length, as in a chunked request, it may be any size.
        declared = request.headers.get("content-length", "")
        return declared.isdecimal() and len(declared) <= MOST_DIGITS and int(declared) <= MOST_PARSED_HERE

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read the request's body. Its bytes count against the limit until the block ends.

        Raises:
            BodyTooLarge: its `Content-Length` is too large, or more bytes than the limit arrived.
            BodyTooSlow: it took longer than `seconds` plus one second for each 64 KiB that arrived.
            InvalidRequest: `Content-Length` is not a number.
            RunCancelled: the caller left while sending.
            TooManyRuns: the bodies of other requests use up the memory for bodies.
        """
        self._check_length(request.headers.get("content-length"))
        body = bytearray()
        try:
            await self._fill(body, request)
            yield bytes(body)
        except ClientDisconnect:
            raise RunCancelled("the caller left while sending") from None
        finally:
            self._held -= len(body)

    def take(self, size: int) -> None:
        """Count bytes that have arrived in another way, such as those of a message that waits. Give them back in the
        end.

        Raises:
            BodyTooLarge: it is more than one body may have.
            TooManyRuns: the bodies of other requests use up the memory for bodies.
        """
        if size > self._most:
            raise self._too_large()
        if self._held + size > MOST_BODIES * self._most:
            raise TooManyRuns(TOO_MANY_BODIES, retry_after=RETRY_AFTER_SECONDS)
        self._held += size

    def give_back(self, size: int) -> None:
        """Count the bytes of `take` no longer."""
        self._held -= size

    async def passed(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body in pieces that are not kept. It may be as large and as slow as one that is read.

        The time in which the reader of the pieces does not ask for the next one does not count.

        Raises:
            BodyTooLarge, BodyTooSlow, InvalidRequest, RunCancelled: as in `read`.
        """
        self._check_length(request.headers.get("content-length"))
        chunks = request.stream()
        loop, size, waited = asyncio.get_running_loop(), 0, 0.0
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(self._seconds + size / BYTES_A_SECOND - waited):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise self._too_slow() from None
            except ClientDisconnect:
                raise RunCancelled("the caller left while sending") from None
            if chunk is None:
                return
            waited += loop.time() - began
            size += len(chunk)
            if size > self._most:
                raise self._too_large()
            yield chunk

    async def _fill(self, body: bytearray, request: Request) -> None:
        ends = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(ends) as limit:
                counted = 0
                async for chunk in request.stream():
                    self._hold(body, chunk)
                    # A large body over a slow line is fine as long as it makes progress.
                    if len(body) - counted >= STEP:
                        counted = len(body)
                        limit.reschedule(ends + counted / BYTES_A_SECOND)
        except TimeoutError:
            raise self._too_slow() from None

    def _check_length(self, declared: str | None) -> None:
        if declared is not None and not declared.isdecimal():
            raise InvalidRequest("Content-Length is not a number")
        # Counts the digits first: `int()` raises ValueError for a number with thousands of digits.
        if declared is not None and (len(declared.lstrip("0")) > MOST_DIGITS or int(declared) > self._most):
            raise self._too_large()

    def _hold(self, body: bytearray, chunk: bytes) -> None:
        if len(body) + len(chunk) > self._most:
            raise self._too_large()
        if self._held + len(chunk) > MOST_BODIES * self._most:
            raise TooManyRuns(TOO_MANY_BODIES, retry_after=RETRY_AFTER_SECONDS)
        body += chunk
        self._held += len(chunk)

    def _too_slow(self) -> BodyTooSlow:
        return BodyTooSlow(f"the body did not arrive within {self._seconds:g} s; send it again, faster")

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._most} bytes; send less, or raise GRAPH_AGENT_MAX_BODY_BYTES"
        )
