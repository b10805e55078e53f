"""Slots limit how many runs may be active at the same time."""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from graph_agent.errors import TooManyRuns

RETRY_AFTER_SECONDS = 2


class Slot:
    """The right to one run. As a context manager, it is released at the end of the block unless a run has it then."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release
        self.has_run = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.has_run:
            self.free()

    def give(self, release: Callable[[], None]) -> None:
        """Take the slot again after it was released."""
        self._release = release

    def free(self) -> None:
        """Release the slot. A second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Slots:
    """The slots of one registry of runs."""

    def __init__(self, most: int | None = None) -> None:
        """`most` is the number of slots, or `None` for no limit."""
        self._most = most
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken

    @property
    def most(self) -> int | None:
        """How many slots there are, or `None` for no limit."""
        return self._most

    def require_free(self) -> None:
        """Check that a slot is free now, without taking it.

        Raises:
            TooManyRuns: all slots are taken.
        """
        if self._most is not None and self._taken >= self._most:
            raise self._too_many()

    def take(self) -> Slot:
        """Take a slot.

        Raises:
            TooManyRuns: all slots are taken.
        """
        self.require_free()
        self._taken += 1
        return Slot(self._release)

    async def take_again(self, slot: Slot, *, within_seconds: float) -> None:
        """Take a slot again that was released, and wait until one is free. Those that wait go first.

        Raises:
            TooManyRuns: none became free in time.
        """
        if self._most is None or self._taken < self._most:
            self._taken += 1
        else:
            await self._one_free(within_seconds)
        slot.give(self._release)

    async def _one_free(self, within_seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=within_seconds)
        except BaseException:
            if turn.done():
                self._release()
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
        if not turn.done():
            raise self._too_many()

    def _release(self) -> None:
        if self._waiting:
            # The slot changes hands and is never free in between.
            self._waiting.popleft().set_result(None)
        else:
            self._taken -= 1

    def _too_many(self) -> TooManyRuns:
        return TooManyRuns(f"{self._most} runs are active; try again shortly", retry_after=RETRY_AFTER_SECONDS)
