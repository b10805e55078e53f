"""What connections remember of responses that are not stored, so that they can be continued there.

All connections of an app share one store in memory. Each is an owner of its own in it, so that none finds anything of
another one, not even of the same caller.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from graph_agent.errors import AgentError, ConversationBusy, ConversationNotFound, ResponseNotFound
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.runs.request import RunRequest
from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

MOST_FULL = 16
"""How many connections may remember as much as one may, at the same time."""


class MeasuredStore(Store, Protocol):
    """A store that says how large a conversation is."""

    async def open(self) -> None:
        """Open it."""

    async def aclose(self) -> None:
        """Close it."""

    async def bytes_of(self, owner: Owner, conversation: str) -> int:
        """About how many bytes a conversation takes."""


@dataclass(slots=True, eq=False)
class _Kept:
    """One conversation."""

    memory: "ConnectionMemory"
    conversation: str
    thread: str
    responses: set[str] = field(default_factory=set)
    size: int = 0


class ConnectionMemories:
    """The memories of all connections of an app. They belong to one event loop."""

    def __init__(self, make: Callable[[], MeasuredStore], *, forgotten: Callable[[str], None], most_bytes: int) -> None:
        """Each connection remembers at most `most_bytes`, and all together `MOST_FULL` times that. The conversation
        that was continued least recently is forgotten first. `forgotten` is called with the thread of each that is."""
        self.most_bytes = most_bytes
        self._make = make
        self._forgotten = forgotten
        self._store: MeasuredStore | None = None
        self._opening: asyncio.Future[MeasuredStore] | None = None
        self._recent: OrderedDict[_Kept, None] = OrderedDict()
        self._size = 0
        self._ended: set[Owner] = set()
        """Connections that have ended while a run of theirs had not."""

    def of(self, caller: Caller) -> "ConnectionMemory":
        """The memory of a new connection."""
        return ConnectionMemory(self, caller)

    async def opened(self) -> MeasuredStore:
        """The store. It is opened when it is first needed: most connections need none."""
        if self._store is None:
            if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
                self._opening = asyncio.ensure_future(self._open())
            # Shielded: one opening serves all connections, also after the one that waits here has ended.
            self._store = await asyncio.shield(self._opening)
        return self._store

    async def _open(self) -> MeasuredStore:
        store = self._make()
        await store.open()
        return store

    async def aclose(self) -> None:
        """Forget everything."""
        opening, self._opening, self._store, self._size = self._opening, None, None, 0
        self._recent.clear()
        self._ended.clear()
        if opening is not None:
            await asyncio.wait([opening])
            if opening.exception() is None:
                await opening.result().aclose()

    def used(self, kept: _Kept, size: int) -> None:
        """A conversation was continued, and is so large now."""
        self._recent[kept] = None
        self._recent.move_to_end(kept)
        self._size += size - kept.size
        kept.size = size

    async def shrink(self) -> None:
        """Forget what is beyond the limit of all."""
        while self._size > self.most_bytes * MOST_FULL:
            await self.forget(next(iter(self._recent)))

    async def forget(self, kept: _Kept) -> None:
        """Forget a conversation."""
        self._release(kept)
        if self._store is not None:
            # A run may be in progress there. Then it goes when its connection ends.
            with suppress(ConversationBusy, ConversationNotFound):
                await self._store.responses.delete_conversation(kept.memory.owner, kept.conversation)

    def _release(self, kept: _Kept) -> None:
        if kept in self._recent:
            del self._recent[kept]
            self._size -= kept.size
        kept.memory.conversations.pop(kept.conversation, None)
        for response_id in kept.responses:
            kept.memory.responses.pop(response_id, None)
        self._forgotten(kept.thread)

    async def end(self, memory: "ConnectionMemory") -> None:
        """A connection has ended: forget everything of it."""
        for kept in list(memory.conversations.values()):
            self._release(kept)
        if self._store is None:
            return
        self._ended.add(memory.owner)
        for owner in list(self._ended):
            try:
                await self._store.forget(owner)
            except ConversationBusy:
                # A node ignores that its run was stopped. It is tried again when another connection ends.
                continue
            except AgentError as error:
                logger.error("what a connection remembered could not be deleted: %s", error.code)
            self._ended.discard(owner)


class ConnectionMemory:
    """What one connection remembers."""

    def __init__(self, memories: ConnectionMemories, caller: Caller) -> None:
        self.id = f"socket_{secrets.token_hex(8)}"
        """The id of the connection."""
        self.owner = Owner.of(caller).at(self.id)
        self.conversations: dict[str, _Kept] = {}
        self.responses: dict[str, _Kept] = {}
        self._memories = memories
        self._used = False

    def has(self, response_id: str | None) -> bool:
        """Whether it remembers this response."""
        return response_id in self.responses

    async def store(self) -> MeasuredStore:
        """The store for the next run."""
        self._used = True
        return await self._memories.opened()

    async def keep(self, request: RunRequest, response_id: str) -> None:
        """Remember a response that has ended, and forget what is beyond the limits."""
        assert request.turn is not None
        place = request.turn.continuation
        kept = self.conversations.get(place.conversation) or _Kept(self, place.conversation, place.thread)
        # The one that was continued last is last.
        self.conversations.pop(place.conversation, None)
        self.conversations[place.conversation] = kept
        kept.responses.add(response_id)
        self.responses[response_id] = kept
        self._memories.used(kept, await (await self.store()).bytes_of(self.owner, place.conversation))
        while sum(one.size for one in self.conversations.values()) > self._memories.most_bytes:
            await self._memories.forget(next(iter(self.conversations.values())))
        await self._memories.shrink()

    async def discard(self, response_id: str) -> None:
        """Delete a response that has failed."""
        # A run may be in progress still. Then it goes when the connection ends.
        with suppress(ConversationBusy, ResponseNotFound):
            await (await self.store()).responses.delete(self.owner, response_id)

    async def evict(self, response_id: str) -> None:
        """Forget a response, and its conversation with the last one. Does nothing if it is not remembered."""
        kept = self.responses.pop(response_id, None)
        if kept is not None:
            kept.responses.discard(response_id)
            if not kept.responses:
                await self._memories.forget(kept)

    async def aclose(self) -> None:
        """Forget everything."""
        if self._used:
            await self._memories.end(self)
