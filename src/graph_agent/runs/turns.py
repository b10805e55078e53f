"""Begins stored runs: finds their place in their conversation, and lets them wait while another run is in progress."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from graph_agent.errors import ConversationBusy, IdempotencyKeyUsed, ServiceStopping
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.runs.compacting import Compaction
from graph_agent.runs.repeats import BegunBefore, begun_elsewhere
from graph_agent.runs.request import RunRequest
from graph_agent.runs.slots import Slot, Slots
from graph_agent.runs.waiting_lines import WaitingLines

if TYPE_CHECKING:
    from graph_agent.protocol.compaction import Window
    from graph_agent.protocol.item_shapes import Item
    from graph_agent.runs.attempts import Tracked
    from graph_agent.runs.leases import Leases
    from graph_agent.runs.recent_messages import RecentMessages
    from graph_agent.runs.run import Run
    from graph_agent.stores.store import Store

POLL_SECONDS = 0.5
"""How often a request asks again for a conversation in which a run of another process is in progress."""


class Recorded(Protocol):
    """What is recorded when its turn comes: a run, or a request for the queue."""

    async def record_in(
        self,
        store: "Store",
        leases: "Leases",
        recent: "RecentMessages | None" = None,
        *,
        tracked: "Tracked | None" = None,
    ) -> None:
        """Begin the record. Raises `ConversationBusy` if another run of the conversation is in progress."""


Begun = TypeVar("Begun", bound=Recorded)


class Turns:
    """Begins the stored runs of one registry."""

    def __init__(
        self,
        *,
        waits: bool,
        slots: Slots,
        find: "Callable[[str], Run | None]",
        end_left: Callable[[str], Coroutine[Any, Any, bool]],
        writing: Callable[[Owner, str], str | None],
        is_stopping: Callable[[], bool],
        rejects_unanswered: bool = False,
        compaction: Compaction | None = None,
    ) -> None:
        """With `waits`, a request waits while its conversation is busy; otherwise it is refused.

        With `rejects_unanswered`, a message while the graph waits for a decision counts as a rejection.

        `find` is a run of this process by its id. `end_left` ends a run that only waits for a reader to come back, and
        says whether it was one. `writing` is the id of the owner's run of this process that has sent an item.
        `compaction` opens compacted histories.
        """
        self._waits = waits
        self._slots = slots
        self._find = find
        self._end_left = end_left
        self._writing = writing
        self._is_stopping = is_stopping
        self._rejects_unanswered = rejects_unanswered
        self._compaction = compaction or Compaction()
        self._lines = WaitingLines()
        self._leases: Leases | None = None
        self._recent: RecentMessages | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait for their conversation."""
        return len(self._lines)

    def forget(self, thread: str) -> None:
        """Forget the messages of a thread that was deleted."""
        if self._recent is not None:
            self._recent.drop(thread)

    async def begin(
        self,
        request: RunRequest,
        *,
        store: "Store",
        graph: str,
        keeps_messages: bool,
        run_of: "Callable[[RunRequest], Begun]",
        slot: Slot | None,
        seconds: float,
        tracked: "Tracked | None" = None,
    ) -> Begun:
        """A run that is recorded in `store` and has not started. `run_of` makes it.

        `tracked` is given if other processes must know of the run.

        `graph` is the name of the graph, and `keeps_messages` whether it finds earlier messages in its state.

        The request waits for at most `seconds`, without its slot. One that is only put into the queue has no slot.

        Raises:
            AgentError: the run cannot begin. Its slot may be free then.
            BegunBefore: this request has begun a run before, perhaps in another process.
        """
        until = time.monotonic() + seconds
        recognize = True
        async with AsyncExitStack() as line:
            first: asyncio.Event | None = None
            while True:
                planned = None
                try:
                    planned = await self._planned(request, store, graph, keeps_messages, recognize=recognize)
                    if planned.turn is None or planned.turn.repeats is not None:
                        return run_of(planned)
                    if first is None and _conversation(planned) in self._lines:
                        first = await line.enter_async_context(self._lines.place(_conversation(planned)))
                    else:
                        run = run_of(planned)
                        leases = self._leases_in(store)
                        await run.record_in(store, leases, self._recent, tracked=tracked)
                        return run
                    running = None
                except IdempotencyKeyUsed:
                    await self._require_new(request, store, "", was_running=True)
                    raise
                except ConversationBusy as busy:
                    await self._require_new(request, store, busy.running, was_running=True)
                    if await self._end_left(busy.running):
                        continue
                    if planned is not None and planned.turn is not None and planned.turn.inferred:
                        # Nothing in the request names the conversation, so another one is as good.
                        recognize = False
                        continue
                    if not self._waits or time.monotonic() >= until:
                        raise
                    running = busy.running
                    if first is None:
                        key = (request.keeper, running) if planned is None else _conversation(planned)
                        first = await line.enter_async_context(self._lines.place(key))
                await self._wait(first, running, slot, until)

    async def history(
        self, caller: Caller, items: "Sequence[Item]", *, store: "Store", previous: str | None, conversation: str | None
    ) -> "Window":
        """What a graph would read of a stored conversation and these items: see `Continuing.history`.

        Raises:
            AgentError: an item, the response or the conversation does not exist, is in progress, or cannot be opened.
        """
        from graph_agent.runs.continuing import Continuing

        continuing = Continuing(
            store.responses, writing=self._writing, sealer=lambda: self._compaction.sealer(caller, store)
        )
        return await continuing.history(Owner.of(caller), items, previous=previous, conversation=conversation)

    async def _wait(self, first: asyncio.Event, running: str | None, slot: Slot | None, until: float) -> None:
        """Wait for the first place in the line and for the end of the run in progress, and take the slot again."""
        if slot is not None:
            slot.free()
        while not first.is_set() and time.monotonic() < until:
            await _either(first.wait())
            self._require_service()
        run = None if running is None else self._find(running)
        if run is not None and not run.over:
            while not run.over and time.monotonic() < until and not await self._end_left(run.id):
                await _either(run.ended())
                self._require_service()
        elif running is not None:
            # Of another process, or one whose end could not be recorded: its lease must expire.
            await asyncio.sleep(POLL_SECONDS)
            self._require_service()
        if slot is not None:
            await self._slots.take_again(slot, within_seconds=max(until - time.monotonic(), 0.0))

    async def _planned(
        self, request: RunRequest, store: "Store", graph: str, keeps_messages: bool, *, recognize: bool
    ) -> RunRequest:
        """The request with its messages and, if it is stored, with its place in its conversation."""
        # Late: it imports LangChain, and the port is bound before that.
        from graph_agent.runs.continuing import Continuing

        if request.turn is not None:
            return request
        owner = request.keeper
        continuing = Continuing(
            store.responses,
            rejects_unanswered=self._rejects_unanswered,
            retried=lambda failed: self._require_new(request, store, failed, was_running=False),
            writing=self._writing,
            sealer=lambda: self._compaction.sealer(request.owner, store),
        )
        if not request.invocation.stored and request.connection is None:
            return replace(request, invocation=await continuing.resolve(owner, request.invocation))
        invocation, turn = await continuing.plan(
            owner, request.invocation, graph=graph, keeps_messages=keeps_messages, recognize=recognize
        )
        return replace(request, invocation=invocation, turn=turn)

    async def _require_new(self, request: RunRequest, store: "Store", other: str, *, was_running: bool) -> None:
        """Check that the request has not begun a run before: `other`, or the one with its key."""
        if (begun := await begun_elsewhere(store, request, other, was_running=was_running)) is not None:
            raise BegunBefore(begun)

    def _require_service(self) -> None:
        if self._is_stopping():
            raise ServiceStopping("the service is stopping; send the request again")

    def memory_of(self, store: "Store") -> "tuple[Leases, RecentMessages | None]":
        """The leases and the recent messages of the runs in this store."""
        return self._leases_in(store), self._recent

    def _leases_in(self, store: "Store") -> "Leases":
        # Late: it imports the store's interface, which a process that stores nothing does not need.
        from graph_agent.runs.leases import Leases
        from graph_agent.runs.recent_messages import RecentMessages

        if self._leases is None or self._leases.responses is not store.responses:
            self._leases = Leases(store.responses)
            self._recent = RecentMessages()
        return self._leases


def _conversation(request: RunRequest) -> tuple[Owner, str]:
    assert request.turn is not None
    return request.keeper, request.turn.continuation.conversation


async def _either(waiting: Coroutine[Any, Any, object]) -> None:
    """Wait for this or for a short time, after which the service may be stopping."""
    task = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait([task], timeout=POLL_SECONDS)
    finally:
        task.cancel()
