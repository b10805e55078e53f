"""What a store keeps of a run that outlives its connection: who runs it, its events, and the key it was asked with."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from graph_agent.identity.owner import Owner
from graph_agent.stores.schedule_records import Tick

RunState = Literal["queued", "running", "parked", "ended"]
"""`parked` runs wait for a token of their user, and no process has them."""

FOREVER = 1e15
"""The end of the lease of a conversation whose run is in the background. Its run has a lease of its own, and another
process takes it over when that one expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What is recorded of a run together with its response."""

    background: bool
    """Whether it is queued for any process. Otherwise it has been started by `process`."""

    process: str
    """The id of the process that accepted it."""

    request: str | None = None
    """The request as JSON, if another process may have to run it."""

    digest: str | None = None
    """Identifies what was asked, so that the same request is recognized when it is sent again."""

    key: str | None = None
    """The `Idempotency-Key` of the request."""

    needs_token: bool = False
    """Whether it acts for its user, so that only a process with the user's token can run it."""

    seconds: float = 0.0
    """How long it may take from its first start on."""

    most_queued: int | None = None
    """The most runs that may be queued."""

    events: tuple[bytes, ...] = ()
    """The first events, each as JSON on one line."""

    webhook: str | None = None
    """The target of the webhook that is sent when it has ended."""

    tick: Tick | None = None
    """The time of a schedule at which it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as it is now."""

    owner: Owner
    response: str
    background: bool
    state: RunState
    process: str | None
    """The process that runs it. `None` if none does, or if its lease has expired."""

    attempt: int
    """How often a process has begun to run it."""

    events: int
    """How many of its events are committed."""

    has_events: bool
    """Whether its log is still there."""

    cancelled: bool
    """Whether somebody asked to cancel it."""

    accepted_at: float
    """Seconds since 1970."""

    ended_at: float | None
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRun:
    """A run that this process now has."""

    owner: Owner
    response: str
    attempt: int
    """The right to write. It is lost when another process has a higher one."""

    request: str
    """As it was recorded."""

    events: int
    """How many events earlier attempts have committed."""

    crashes: int
    """How many attempts in a row ended without a word and without a new checkpoint."""

    cancelled: bool
    needs_token: bool
    seconds_left: float
    """Until its deadline."""

    is_steered: bool = False
    """Whether steers wait for its response."""

    @property
    def right(self) -> "Right":
        """The right to write for it."""
        return Right(owner=self.owner, response=self.response, attempt=self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How many background runs may be active."""

    here: int
    """How many more this process may take."""

    per_owner: int
    in_all: int
    alone: bool = True
    """Whether this process has no runs now, so that it may take a suspect: a run that was there when two processes in a
    row ended without a word. It is taken alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """The right of one attempt to write for its run. Every write compares it in its own transaction."""

    owner: Owner
    response: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """Events of one run that follow each other."""

    right: Right
    first: int
    """The number of the first event."""

    events: tuple[bytes, ...]
    """Each as JSON on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What a process learns when it renews the leases of its runs."""

    lost: Collection[str]
    """The ids of those that are not its own any more."""

    cancelled: Collection[str]
    """The ids of those that somebody asked to cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRun:
    """The run that was asked for with an `Idempotency-Key`."""

    response: str
    digest: str
