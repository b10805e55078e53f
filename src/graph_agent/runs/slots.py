"""Slots limit how many runs may be active at the same time."""

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

    def require_free(self) -> None:
        """Check that a slot is free now, without taking it.

        Raises:
            TooManyRuns: all slots are taken.
        """
        if self._most is not None and self._taken >= self._most:
            raise TooManyRuns(f"{self._most} runs are active; try again shortly", retry_after=RETRY_AFTER_SECONDS)

    def take(self) -> Slot:
        """Take a slot.

        Raises:
            TooManyRuns: all slots are taken.
        """
        self.require_free()
        self._taken += 1
        return Slot(self._release)

    def _release(self) -> None:
        self._taken -= 1
