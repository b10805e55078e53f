"""Writes what a run's watch has seen between the parts of the graph's stream, and as soon as it has seen it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any
from uuid import UUID

from graph_agent.runs.step_watch import StepWatch


class StepEvents:
    """The watch of one run, and when it is read. All methods are for the run's event loop."""

    def __init__(self, write: Callable[[StepWatch], None], *, is_private: Callable[[UUID | None], bool]) -> None:
        """`write` writes what the watch has seen to the run's log."""
        self._write = write
        self._loop: asyncio.AbstractEventLoop | None = None
        self._called = False
        self.watch = StepWatch(is_private=is_private, notify=self._notify)
        """The callback for the graph."""

    def tell(self) -> None:
        """Write what the watch has seen."""
        self._called = False
        self._write(self.watch)

    async def before_each(self, parts: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """The parts of the stream. What the watch saw before a part is written before it."""
        self._loop = asyncio.get_running_loop()
        try:
            async for part in parts:
                self.tell()
                yield part
        finally:
            await parts.aclose()

    def _notify(self) -> None:
        """Something was seen, perhaps in a thread, which may outlive the loop."""
        if self._called or self._loop is None:
            return
        self._called = True
        try:
            self._loop.call_soon_threadsafe(self.tell)
        except RuntimeError:
            return
