"""How long the model calls and searches of one run took."""

import time
from uuid import UUID

MOST_TIMES = 1_000
"""The most calls of each kind of which a run keeps the time."""


class CallTimes:
    """The times of one run in seconds, in the order in which the calls ended. Calls of several threads may end at once.

    A call within another one of its kind is part of that one and has no time of its own.
    """

    def __init__(self) -> None:
        self.models: list[float] = []
        self.searches: list[float] = []
        self._models: dict[UUID, float] = {}
        self._searches: dict[UUID, float] = {}

    def model_began(self, run_id: UUID) -> None:
        """A model call begins."""
        self._models[run_id] = time.monotonic()

    def model_ended(self, run_id: UUID) -> None:
        """A model call has ended, in whatever way."""
        _ended(self._models, run_id, self.models)

    def search_began(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        """A LangChain retriever begins."""
        if parent_run_id not in self._searches:
            self._searches[run_id] = time.monotonic()

    def search_ended(self, run_id: UUID) -> None:
        """A LangChain retriever has ended, in whatever way."""
        _ended(self._searches, run_id, self.searches)

    def searched(self, seconds: float) -> None:
        """A search without a LangChain retriever took so long."""
        _keep(self.searches, seconds)


def _ended(began: dict[UUID, float], run_id: UUID, times: list[float]) -> None:
    at = began.pop(run_id, None)
    if at is not None:
        _keep(times, time.monotonic() - at)


def _keep(times: list[float], seconds: float) -> None:
    if len(times) < MOST_TIMES:
        times.append(max(seconds, 0.0))
