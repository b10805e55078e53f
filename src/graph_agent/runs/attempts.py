"""One attempt at a run that the store knows: its right to write, its log, and how it gives the run away."""

from dataclasses import dataclass, field
from typing import Literal

from graph_agent.identity.owner import Owner
from graph_agent.runs.journal import Journal, JournaledLog
from graph_agent.runs.request import RunRequest
from graph_agent.stores.run_records import NewRun, Right

Fate = Literal["queued", "parked", "lost"]
"""What became of a run that this process does not end: it waits for another process, or for its user's token, or
another process has it already."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at a run."""

    process: str
    kept: JournaledLog
    background: bool
    """Whether another process can take the run over."""

    may_wait: bool = False
    """Whether the run goes back into the queue, rather than fail, if the store does not answer its graph. A run that
    has come further does so in any case."""

    fate: Fate | None = field(default=None)
    """`None`: this process ends the run."""

    @property
    def right(self) -> Right:
        """The right to write."""
        return self.kept.right

    @property
    def is_first(self) -> bool:
        """Whether no process has begun to run it before."""
        return self.right.attempt == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What is needed for a run in the foreground which the store must know."""

    process: str
    journal: Journal

    def attempt(self, request: RunRequest, response_id: str) -> Attempt:
        """The only attempt at such a run."""
        right = Right(owner=Owner.of(request.owner), response=response_id, attempt=1)
        return Attempt(process=self.process, kept=self.journal.log_of(right), background=False)

    def new(self, request: RunRequest) -> NewRun:
        """What the store is told of it."""
        return NewRun(background=False, process=self.process, key=request.key, digest=request.digest)
