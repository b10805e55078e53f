"""Recognizes a request that has begun a run before, so that it gets the answer of that run and does not start another.

A request with an `Idempotency-Key` is recognized by the key, as long as the store keeps it. Without a key, a request is
recognized that names its conversation and asks for the same while its run is in progress, or soon after that run has
failed with a tool called, or has ended without that anybody heard of it: its client has lost the connection and tries
again, as the stock chat page does.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any

from graph_agent.errors import IdempotencyKeyUsed, ResponseNotFound
from graph_agent.identity.owner import Owner
from graph_agent.protocol.item_shapes import CLIENT_CALLS, OUTPUTS
from graph_agent.runs.request import RunRequest
from graph_agent.runs.waiting_lines import WaitingLines

if TYPE_CHECKING:
    from graph_agent.runs.observers import Status
    from graph_agent.runs.run import Run
    from graph_agent.stores.store import Store

SOON_SECONDS = 30.0
"""How long after the end of its run a request without a key is recognized. Clients that try again by themselves do so
within seconds, and later a person may have asked."""

CALLS = frozenset({*CLIENT_CALLS, *OUTPUTS, "mcp_call"})
"""The items that a tool call leaves in the output."""


class BegunBefore(Exception):
    """The request has begun a run before."""

    def __init__(self, response_id: str) -> None:
        super().__init__(response_id)
        self.response_id = response_id


class Repeats:
    """The requests of one process that may be repeated. All of it belongs to one event loop."""

    def __init__(self) -> None:
        self._lines = WaitingLines()
        self._asked: dict[tuple[Owner, str], _Asked] = {}

    @asynccontextmanager
    async def alone(self, request: RunRequest) -> AsyncIterator[None]:
        """Wait until no equal request of this process is about to begin its run."""
        name = _name_of(request)
        if name is None:
            yield
            return
        async with self._lines.place(name) as first:
            await first.wait()
            yield

    async def find(self, request: RunRequest, store: "Store") -> str | None:
        """The id of the response that this request has begun before, or `None`.

        A request without a key that is new does not touch the store.

        Raises:
            IdempotencyKeyUsed: the key was sent with another request.
        """
        if request.key is not None:
            return await keyed_response(store, request)
        owner = Owner.of(request.owner)
        asked = self._asked.get((owner, request.digest or ""))
        if asked is None or not asked.is_repeated():
            return None
        if asked.is_over:
            try:
                await store.responses.get(owner, asked.response_id)
            except ResponseNotFound:
                # It was deleted.
                return None
        return asked.response_id

    def began(self, request: RunRequest, run: "Run") -> None:
        """The request has begun this run."""
        if request.digest is None or request.key is not None:
            return
        name, asked = (Owner.of(request.owner), request.digest), _Asked(run.id)
        self._asked[name] = asked

        def forget() -> None:
            if self._asked.get(name) is asked:
                del self._asked[name]

        def ended() -> None:
            asked.ended(run.status, run.output)
            # In an empty context: it must not keep alive what belongs to a request.
            asyncio.get_running_loop().call_later(SOON_SECONDS, forget, context=Context())

        run.when_over(ended)

    def told(self, request: RunRequest, response_id: str) -> None:
        """The client of this request has got the whole answer."""
        asked = self._asked.get((Owner.of(request.owner), request.digest or ""))
        if asked is not None and asked.response_id == response_id:
            asked.is_told = True


class _Asked:
    """One request without a key, and what became of its run."""

    def __init__(self, response_id: str) -> None:
        self.response_id = response_id
        self.is_told = False
        self._status: Status | None = None
        self._called = False

    def ended(self, status: "Status", output: Sequence[Mapping[str, Any]]) -> None:
        self._status, self._called = status, has_called(output)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._status is not None

    def is_repeated(self) -> bool:
        """Whether the same request means this run."""
        match self._status:
            case None:
                return True
            case "failed":
                # Otherwise the tools would run again.
                return self._called
            case "cancelled":
                return False
        # A person who has the answer may ask the same again.
        return not self.is_told


async def keyed_response(store: "Store", request: RunRequest) -> str | None:
    """The id of the response that was begun with the key of this request, or `None`.

    Raises:
        IdempotencyKeyUsed: the key was sent with another request.
    """
    assert request.key is not None
    keyed = await store.runs.with_key(Owner.of(request.owner), request.key)
    if keyed is None:
        return None
    if keyed.digest != request.digest:
        raise IdempotencyKeyUsed(
            "the `Idempotency-Key` was sent before with another request: choose another key for this one"
        )
    return keyed.response


async def begun_elsewhere(store: "Store", request: RunRequest, other: str, *, was_running: bool) -> str | None:
    """The id of the response that this request has begun before, perhaps in another process, or `None`.

    `other` is the response that keeps the conversation busy, or without `was_running` its newest one, which has failed.

    Raises:
        IdempotencyKeyUsed: the key was sent with another request.
    """
    if request.key is not None:
        return await keyed_response(store, request)
    if request.digest is None:
        return None
    owner = Owner.of(request.owner)
    run = await store.runs.get(owner, other)
    if run is None or run.digest != request.digest:
        return None
    if was_running:
        # It may have ended since.
        return other
    if run.ended_at is not None and run.ended_at < time.time() - SOON_SECONDS:
        return None
    return other if has_called((await store.responses.get(owner, other)).output) else None


def has_called(output: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a tool was called for this output."""
    return any(item.get("type") in CALLS for item in output)


def _name_of(request: RunRequest) -> tuple[Owner, str, str] | None:
    owner = Owner.of(request.owner)
    if request.key is not None:
        return owner, "key", request.key
    return None if request.digest is None else (owner, "digest", request.digest)
