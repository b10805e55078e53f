"""Lets runs begin one after the other when many are asked for at the same time."""

import asyncio
from collections import deque

SECONDS_EACH = 0.01
"""In a turn of the event loop that takes longer than this, more than one may pass: one for each of these. The beginning
of a run takes about half of it, so the other half is left for the runs that have begun."""


class Turnstile:
    """Lets one through in each turn of the event loop, in the order in which they came.

    The beginning of a run takes milliseconds, in a dozen short steps. asyncio runs the steps of all that are ready
    before it looks for anything else. So hundreds that begin together would hold up every token, every probe and each
    other for as long as all of their steps take, and all their first events would come last. One after the other, a
    turn of the loop takes about as long as one run.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop in whose present turn one has passed."""
        self._since = 0.0
        """When that turn began, about, in terms of the loop's time."""

    async def passed(self) -> None:
        """Wait for one's turn. Who comes alone does not wait."""
        loop = asyncio.get_running_loop()
        # An app may be started again on another loop.
        if self._loop is not loop:
            self._loop = loop
            self._waiting.clear()
            self._ask_again(loop)
            return
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _ask_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._since = loop.time()
        loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        left = max(int((loop.time() - self._since) / SECONDS_EACH), 1)
        passed = False
        while self._waiting and left:
            first = self._waiting.popleft()
            # Not one whose caller has left.
            if not first.done():
                first.set_result(None)
                passed, left = True, left - 1
        if passed:
            self._ask_again(loop)
        else:
            self._loop = None
