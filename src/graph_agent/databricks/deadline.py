"""The time limit of an exchange, which its caller can bring forward."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Deadline:
    """The end of one exchange, `seconds` from now or when `forward` is called."""

    def __init__(self, seconds: float) -> None:
        self.ends = asyncio.get_running_loop().time() + seconds
        self._waiting: asyncio.Timeout | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Cancel the block at the deadline and raise `TimeoutError`."""
        async with asyncio.timeout_at(self.ends) as self._waiting:
            try:
                yield
            finally:
                self._waiting = None

    def forward(self) -> None:
        """End it now."""
        self.ends = asyncio.get_running_loop().time()
        # An expired timeout refuses to be rescheduled.
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self.ends)
