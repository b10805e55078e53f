"""Turns of a conversation as a service stores them."""

from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

from graph_agent.identity.owner import Owner
from graph_agent.stores.records import (
    Continuation,
    EndedResponse,
    Fingerprints,
    Item,
    NewResponse,
    ResponseStatus,
    StoredResponse,
)
from graph_agent.stores.store import ResponseStore

ANN, BOB = Owner("ann"), Owner("bob")

LEASE = 10.0

_numbers = count()


class Clock:
    """A clock that moves only when a test moves it, and by a thousandth at each look."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def message(text: str, id_: str | None = None) -> Item:
    return {"id": id_ or f"msg_{next(_numbers)}", "type": "message", "role": "user", "content": text}


def response_object(id_: str, output: Sequence[Item] = (), status: str = "completed") -> dict[str, Any]:
    return {"id": id_, "object": "response", "status": status, "output": list(output), "metadata": {}}


class WithResponses(Protocol):
    """The part of a store that a turn needs."""

    @property
    def responses(self) -> ResponseStore: ...


class Turns:
    """The turns of one conversation."""

    def __init__(self, store: WithResponses, clock: Clock, conversation: str = "conv_1", owner: Owner = ANN) -> None:
        self.store = store
        self.clock = clock
        self.conversation = conversation
        self.owner = owner
        self.thread = f"thread_{owner.key}_{conversation}"
        self.known = False

    async def begin(
        self,
        id_: str,
        *,
        after: str | None = None,
        input: Sequence[Item] = (),
        title: str | None = None,
        at_head: bool = False,
    ) -> None:
        """Begin a run that follows the response `after`."""
        at = Continuation(
            conversation=self.conversation,
            thread=self.thread,
            parent=after,
            is_new=not self.known,
            at_head=at_head,
        )
        new = NewResponse(
            id=id_,
            continuation=at,
            graph="assistant",
            family="openai",
            created_at=self.clock(),
            input=input or [message(f"to {id_}", f"in_{id_}")],
            title=title,
        )
        await self.store.responses.begin(self.owner, new, busy_until=self.clock() + LEASE)
        self.known = True

    async def finish(
        self,
        id_: str,
        *,
        status: ResponseStatus = "completed",
        output: Sequence[Item] = (),
        checkpoint: str | None = None,
        prints: Fingerprints | None = None,
    ) -> None:
        """End the run."""
        ended = EndedResponse(
            status=status,
            response=response_object(id_, output or [message(f"of {id_}", f"out_{id_}")], status),
            checkpoint=checkpoint,
            fingerprints=prints,
        )
        await self.store.responses.finish(self.owner, id_, ended)

    async def turn(
        self,
        id_: str,
        *,
        after: str | None = None,
        checkpoint: str | None = "some",
        prints: Fingerprints | None = None,
    ) -> StoredResponse:
        """A whole turn."""
        await self.begin(id_, after=after)
        await self.finish(id_, checkpoint=checkpoint and f"checkpoint_{id_}", prints=prints)
        return await self.store.responses.get(self.owner, id_)


def ids(found: Sequence[Any]) -> list[str]:
    return [one.id for one in found]
