"""What a store keeps of the use of models: who has used how much, and what is reserved for calls in progress.

A day is a day of UTC, written as `2026-11-30`, and a minute is `2026-11-30T18:40`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, get_args

from graph_agent.identity.owner import Owner
from graph_agent.settings import Limits

DAY_SECONDS, MINUTE_SECONDS = 86_400.0, 60.0

FORGOTTEN = "deleted"
"""The owner of what people used who have deleted everything of theirs. The keys of owners have a colon."""

Whose = Literal["user", "all"]
Unit = Literal["requests", "tokens"]
Period = Literal["minute", "day"]


def day_of(now: float) -> str:
    """The day of a time in seconds since 1970."""
    return _day(int(now // DAY_SECONDS))


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    # Every model call asks for its day.
    return datetime.fromtimestamp(number * DAY_SECONDS, UTC).strftime("%Y-%m-%d")


def minute_of(now: float) -> str:
    """The minute of a time in seconds since 1970."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M")


def days_before(now: float, days: int) -> str:
    """The day that many days before a time in seconds since 1970."""
    return (datetime.fromtimestamp(now, UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One model call, as far as it is known when it begins."""

    day: str
    """The day on which it began, and against which it counts."""

    owner: Owner
    graph: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Tokens for a call that begins: those of its prompt, as estimated, and the most that it may write."""

    id: str
    call: Call
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a call has used."""

    call: Call
    input_tokens: int = 0
    cached_tokens: int = 0
    """Those of the input that the endpoint had in its cache."""

    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Those of the output that are reasoning."""

    calls: int = 1
    reservation: str | None = None
    """The id of the reservation that ends with this."""

    @property
    def tokens(self) -> int:
        """What counts against limits."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request that wants to start a run."""

    owner: Owner
    counts: bool = True
    """Whether it counts against the limits of requests. Otherwise it only asks whether tokens are left."""

    asks: bool = False
    """Whether its run can ask its user to go on, so that the user's own limit of tokens does not refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A user goes on over the own limit of a day."""

    id: str
    """That of the approval. The same one again changes nothing."""

    owner: Owner
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A limit, and what is left of it."""

    limit: int
    left: int
    resets_at: float
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is left for a user: of the limits of requests, and of tokens, the one that is reached first."""

    requests: Window | None = None
    tokens: Window | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A limit that refuses something."""

    whose: Whose
    unit: Unit
    period: Period
    window: Window
    standing: Standing


@dataclass(frozen=True, slots=True)
class Later:
    """The tokens are reserved for calls in progress, and may be left when those have ended."""

    reached: Reached


Outcome = Standing | Reached | Later | None
"""Of an admission: `Standing` or `Reached`. Of a reservation: `None` if it is made, else `Reached` or `Later`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBatch:
    """Changes in one transaction, in the order of these fields."""

    limits: Limits
    now: float
    """In seconds since 1970."""

    busy_seconds: float
    """How long a reservation is valid without being renewed."""

    usage_days: int
    """How many days are kept of who used how much. 0: nothing is written of it."""

    charges: Sequence[Charge] = ()
    renewed: Sequence[str] = ()
    """Reservations whose calls are in progress."""

    grants: Sequence[Grant] = ()
    admissions: Sequence[Admission] = ()
    reservations: Sequence[Reservation] = ()
    cleans: bool = False
    """Whether what is too old is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of a batch."""

    admissions: Sequence[Standing | Reached] = ()
    reservations: Sequence[Reached | Later | None] = ()


UsageKey = Literal["day", "user", "graph", "model"]

USAGE_KEYS: tuple[UsageKey, ...] = get_args(UsageKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What was used, summed by some of the keys. The others are `None`."""

    day: str | None = None
    user: str | None = None
    """The key of an owner."""

    graph: str | None = None
    model: str | None = None
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    lost_tokens: int
    """Those that calls had reserved whose process is gone."""

    @property
    def total_tokens(self) -> int:
        """What counts against limits."""
        return self.input_tokens + self.output_tokens + self.lost_tokens
