"""Until when an exchange may take, and its being left before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Deadline:
    """The end of one exchange, `seconds` from now or whenever it is brought `forward`."""

    def __init__(self, seconds: float) -> None:
        self.ends = asyncio.get_running_loop().time() + seconds
        self._waiting: asyncio.Timeout | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """What stands under it is cancelled at the end, and raises `TimeoutError`."""
        async with asyncio.timeout_at(self.ends) as self._waiting:
            try:
                yield
            finally:
                self._waiting = None

    def forward(self) -> None:
        """Let it end now."""
        self.ends = asyncio.get_running_loop().time()
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self.ends)
