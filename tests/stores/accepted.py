"""Runs as a service hands them to its store."""

import time
from typing import Any

from tests.stores.turns import ANN, LEASE, Clock, message, response_object

from graph_agent.identity.owner import Owner
from graph_agent.stores.records import Continuation, EndedResponse, NewResponse, ResponseStatus
from graph_agent.stores.run_records import FOREVER, ClaimedRun, EventBatch, NewRun, Right, RunLimits
from graph_agent.stores.store import Listening, Store

HERE, THERE = "process_here", "process_there"

SOON = 20.0
"""Much longer than any news takes, and how long a listener may wait for it in vain."""

GONE = -1.0
"""The seconds of a lease that has expired already, as that of a dead process."""

PLENTY = RunLimits(here=100, per_owner=100, in_all=100)


def event(number: int) -> bytes:
    return b'{"sequence_number":%d}' % number


def events(first: int, count: int) -> tuple[bytes, ...]:
    return tuple(event(number) for number in range(first, first + count))


def batch(right: Right, first: int, count: int) -> EventBatch:
    return EventBatch(right=right, first=first, events=events(first, count))


class Accepted:
    """The runs that one process has accepted, each in a conversation of its own."""

    def __init__(self, store: Store, clock: Clock, process: str = HERE) -> None:
        self.store = store
        self.clock = clock
        self.process = process

    async def queue(self, response: str, *, owner: Owner = ANN, **run: Any) -> None:
        """Accept a run in the background."""
        given = {"request": "{}", "seconds": 600.0, **run}
        await self._begin(response, owner, NewRun(background=True, process=self.process, **given), FOREVER)

    async def start(self, response: str, *, owner: Owner = ANN, **run: Any) -> Right:
        """Start a run in the foreground."""
        new = NewRun(background=False, process=self.process, **run)
        await self._begin(response, owner, new, self.clock() + LEASE)
        return Right(owner=owner, response=response, attempt=1)

    async def _begin(self, response: str, owner: Owner, run: NewRun, busy_until: float) -> None:
        at = Continuation(conversation=f"conv_{response}", thread=f"thread_{owner.key}_{response}", is_new=True)
        new = NewResponse(
            id=response,
            continuation=at,
            graph="assistant",
            family="openai",
            created_at=self.clock(),
            input=[message(f"to {response}", f"in_{response}")],
            run=run,
        )
        await self.store.responses.begin(owner, new, busy_until=busy_until)

    async def claim(self, *, limits: RunLimits = PLENTY, busy_seconds: float = 60) -> list[ClaimedRun]:
        """Claim runs for this process."""
        return list(await self.store.runs.claim(self.process, limits=limits, busy_seconds=busy_seconds))

    async def run(self, response: str, *, busy_seconds: float = 60, **run: Any) -> Right:
        """Accept a run in the background, and claim it."""
        await self.queue(response, **run)
        return (await self.claim(busy_seconds=busy_seconds))[-1].right

    async def finish(
        self, right: Right, *, status: ResponseStatus = "completed", last: EventBatch | None = None
    ) -> None:
        """Record the end of a run, with its last events."""
        output = [message(f"of {right.response}", f"out_{right.response}")]
        ended = EndedResponse(
            status=status,
            response=response_object(right.response, output, status),
            checkpoint=None,
            right=right,
            events=last,
        )
        await self.store.responses.finish(right.owner, right.response, ended)


def names(claimed: list[ClaimedRun]) -> list[str]:
    return [one.response for one in claimed]


async def wakes(listener: Listening, *, within: float = SOON) -> bool:
    """Whether there is news."""
    began = time.monotonic()
    await listener.wait(within)
    return time.monotonic() - began < within
