"""What a store keeps of steers: messages of a user for a response in progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

SteerStatus = Literal["queued", "taken", "failed"]
"""`taken`: the messages are among the input of the response `StoredSteer.successor`."""


SUCCESSOR_FAILED = "successor_creation_failed"
"""The code of messages that were accepted, and that no response could begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSteer:
    """Messages for a response in progress, as they are accepted."""

    id: str
    response: str
    """The id of the response that they steer."""

    input: Sequence[dict[str, Any]]
    """The messages, as items."""

    size: int
    """The bytes of their JSON."""

    digest: str
    """Identifies the messages, so that the same request is recognized when it is sent again."""

    key: str | None = None
    """The `Idempotency-Key` of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSteer:
    """Messages for a response, and what became of them."""

    id: str
    response: str
    """The id of the response that they steer."""

    input: Sequence[dict[str, Any]]
    """The messages, as items."""

    created_at: float
    """Seconds since 1970."""

    status: SteerStatus
    successor: str | None = None
    """The id of the response that has the messages, once they are taken."""

    error: str | None = None
    """The code with which they were given back, if they failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteerLimits:
    """How much may be queued for one response."""

    most: int
    most_bytes: int


class SteersQueued(Exception):
    """A response cannot end as it was about to: messages are queued for it that its end does not deal with."""

    def __init__(self, steers: Sequence[StoredSteer]) -> None:
        super().__init__(f"{len(steers)} steers")
        self.steers = steers
        """All that are queued, in order."""
