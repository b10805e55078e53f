"""How many bytes one caller, and all callers together, may send to the service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from graph_agent.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, RunCancelled, TooManyRuns

RETRY_AFTER_SECONDS = 2

MOST_PARSED_HERE = 4096
"""Bytes of a body that is parsed on the event loop, in at most 10 ms; a greater one in a thread, with a slot."""

AT_ONCE = 16
"""Of the largest bodies that are held in memory before they are runs: 128 MB with the default of 8 MB."""

BYTES_A_SECOND = 65_536
"""Of a body: what came lengthens the time for the rest."""

MOST_DIGITS = 18
"""Of a `Content-Length`; nothing has as many bytes."""


class Bodies:
    """Request bodies on their way in: each of at most `most` bytes, all of them together of `AT_ONCE` times that."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._held = 0

    def is_small(self, request: Request) -> bool:
        """Whether the body says that it is no larger than is parsed on the event loop."""
        declared = request.headers.get("content-length", "")
        return declared.isdecimal() and len(declared) <= MOST_DIGITS and int(declared) <= MOST_PARSED_HERE

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body; it counts until the block ends.

        Raises:
            BodyTooLarge: by its `Content-Length`, or once that many bytes have come.
            BodyTooSlow: it took longer than `seconds`, and a second more for each 64 KiB that came.
            InvalidRequest: `Content-Length` is not a number.
            RunCancelled: the caller left while sending.
            TooManyRuns: too much is held for others already.
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

    async def _fill(self, body: bytearray, request: Request) -> None:
        ends = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(ends) as limit:
                async for chunk in request.stream():
                    self._hold(body, chunk)
                    limit.reschedule(ends + len(body) / BYTES_A_SECOND)
        except TimeoutError:
            raise BodyTooSlow(f"the body did not come within {self._seconds:g} s; send it again, faster") from None

    def _check_length(self, declared: str | None) -> None:
        if declared is not None and not declared.isdecimal():
            raise InvalidRequest("Content-Length is not a number")
        # By its digits first: Python refuses to read a number of thousands.
        if declared is not None and (len(declared.lstrip("0")) > MOST_DIGITS or int(declared) > self._most):
            raise self._too_large()

    def _hold(self, body: bytearray, chunk: bytes) -> None:
        if len(body) + len(chunk) > self._most:
            raise self._too_large()
        if self._held + len(chunk) > AT_ONCE * self._most:
            raise TooManyRuns("too many bodies are being sent; try again shortly", retry_after=RETRY_AFTER_SECONDS)
        body += chunk
        self._held += len(chunk)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._most} bytes; send less, or raise GRAPH_AGENT_MAX_BODY_BYTES"
        )
