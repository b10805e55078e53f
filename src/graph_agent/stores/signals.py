"""News between the processes that share a store: who listens in this process, and what SQLite has in place of news."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from contextvars import Context

from graph_agent.errors import StoreUnavailable

POLL_SECONDS = 0.05
"""How often a SQLite file is asked whether somebody has written to it, while anybody listens."""


class Listener:
    """See `store.Listening`."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is something new."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """See `store.Listening.wait`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()


class Listeners:
    """The listeners of one process, by topic."""

    def __init__(self) -> None:
        self._by_topic: dict[str, set[Listener]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_topic)

    @asynccontextmanager
    async def listening(self, topic: str) -> AsyncIterator[Listener]:
        """See `store.Signals.listening`."""
        listener = Listener()
        self._by_topic.setdefault(topic, set()).add(listener)
        try:
            yield listener
        finally:
            self._by_topic[topic].discard(listener)
            if not self._by_topic[topic]:
                del self._by_topic[topic]

    def wake(self, topics: Collection[str]) -> None:
        """Wake those that listen to one of these topics."""
        for topic in topics:
            for one in self._by_topic.get(topic, ()):
                one.wake()

    def wake_all(self) -> None:
        """Wake everybody: something has happened, and nobody knows what."""
        for some in self._by_topic.values():
            for one in some:
                one.wake()


class PolledSignals:
    """The signals of a SQLite file, which can be asked whether somebody has written to it, and of memory."""

    def __init__(self, version: Callable[[], Awaitable[int]] | None) -> None:
        """`version` is a number that changes when another process has written. `None`: there is no other."""
        self._listeners = Listeners()
        self._version = version
        self._loop: asyncio.AbstractEventLoop | None = None
        self._polling: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin, on the running event loop."""
        self._loop = asyncio.get_running_loop()

    async def aclose(self) -> None:
        """Stop."""
        polling, self._polling, self._loop = self._polling, None, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    @asynccontextmanager
    async def listening(self, topic: str) -> AsyncIterator[Listener]:
        """See `store.Signals.listening`."""
        async with self._listeners.listening(topic) as listener:
            if self._version is not None and (self._polling is None or self._polling.done()):
                self._polling = asyncio.create_task(self._poll(self._version), context=Context())
            yield listener

    def announce(self, topics: Collection[str]) -> None:
        """Wake the listeners of this process. For any thread."""
        if self._loop is not None and self._listeners:
            with suppress(RuntimeError):
                # The loop may have been closed.
                self._loop.call_soon_threadsafe(self._listeners.wake, topics)

    async def _poll(self, version: Callable[[], Awaitable[int]]) -> None:
        seen: int | None = None
        while self._listeners:
            with suppress(StoreUnavailable):
                now = await version()
                if seen not in (None, now):
                    self._listeners.wake_all()
                seen = now
            await asyncio.sleep(POLL_SECONDS)
