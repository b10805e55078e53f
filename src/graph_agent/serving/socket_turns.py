"""Begins the runs that are asked for over WebSockets."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from graph_agent.errors import PreviousResponseNotFound, ResponseNotFound
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol.dialects import OPENAI, name_of
from graph_agent.protocol.field_checks import shown
from graph_agent.protocol.item_shapes import REFERENCE
from graph_agent.protocol.steering import SUCCESSOR
from graph_agent.redaction import current_hidden_values
from graph_agent.runs.connection_memory import ConnectionMemory
from graph_agent.runs.event_log import Entry
from graph_agent.runs.joining import Joining
from graph_agent.runs.log_context import current_log_facts
from graph_agent.runs.registry import Reader, Runs
from graph_agent.runs.repeats import BegunBefore, Repeats
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.slots import Slot
from graph_agent.runs.steering import Steering
from graph_agent.serving.gate import Gate
from graph_agent.serving.identity import Identity
from graph_agent.serving.limits import MOST_PARSED_HERE
from graph_agent.serving.routes.not_found import missing_things_named
from graph_agent.serving.routes.repeated import Begun, RepeatedAnswers
from graph_agent.serving.store_gate import StoreGate
from graph_agent.settings import Settings
from graph_agent.threads import run_giving_way

if TYPE_CHECKING:
    from graph_agent.protocol.requests import Invocation
    from graph_agent.runs.run import Run
    from graph_agent.serving.service import Service
    from graph_agent.stores.steer_records import StoredSteer
    from graph_agent.stores.store import Store

NAMES_SUCCESSOR = f'"{SUCCESSOR}"'.encode()
"""What the terminal event of a response that was steered has."""

NOT_REMEMBERED = (
    "Previous response with id '{id}' not found: this connection does not remember it, and it is not stored. Send the "
    "whole history in `input`, without `previous_response_id`."
)

NOT_STORED = (
    "Previous response with id '{id}' not found in the store: only this connection remembers it. Send `store: false`, "
    "too, or the whole history in `input`, without `previous_response_id`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks over a connection."""

    caller: Caller
    headers: Headers
    """Those of the handshake."""

    memory: ConnectionMemory
    """What the connection remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """The run that answers a message, and what it is read with. Call `reader.leave()` in the end."""

    response_id: str
    request: RunRequest
    reader: Reader
    run: "Run | None" = None
    """`None`: the message was sent before, and its run exists."""


class SocketTurns:
    """Begins a run for each `response.create`."""

    def __init__(
        self,
        *,
        settings: Settings,
        identity: Identity,
        gate: Gate,
        runs: Runs,
        store: StoreGate,
        repeats: Repeats,
        repeated: RepeatedAnswers,
        steering: Steering,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._gate = gate
        self._runs = runs
        self._store = store
        self._repeats = repeats
        self._repeated = repeated
        self._joining, self.steering = Joining(runs), steering

    async def begin(self, fields: Mapping[str, Any], *, size: int, asking: Asking) -> Telling:
        """Begin the run that a message of so many bytes asks for.

        Raises:
            AgentError: the message is refused, or the run cannot begin.
        """
        token = self._identity.token(asking.headers)
        with with_user_token(token):
            return await self._begun(fields, size, asking, token)

    async def _begun(self, fields: Mapping[str, Any], size: int, asking: Asking, token: UserToken | None) -> Telling:
        service = await self._gate.passed()
        await service.catalog.refresh()
        parse = partial(service.parse_created, fields)
        with ExitStack() as held:
            slot = None
            if size <= MOST_PARSED_HERE:
                # As over HTTP, without a slot: a malformed message gets its error even when all slots are taken.
                invocation = parse()
            else:
                slot = held.enter_context(self._runs.slot())
                invocation = await run_giving_way(parse)
            if not invocation.stored:
                slot = slot or held.enter_context(self._runs.slot())
                return await self._unstored(service, invocation, asking, token, slot)
            if asking.memory.has(invocation.previous_response_id):
                raise PreviousResponseNotFound(
                    NOT_STORED.format(id=invocation.previous_response_id), param="previous_response_id"
                )
            asked = RunRequest(
                invocation=invocation,
                dialect=OPENAI,
                owner=asking.caller,
                accepted_at=time.time(),
                digest=invocation.digest and f"{name_of(OPENAI)} {invocation.digest}",
            )
            async with self._repeats.alone(asked):
                store = await self._store.passed()
                if asked.digest is not None and (before := await self._repeats.find(asked, store)) is not None:
                    return await self._told_again(Begun(asked, before, store))
                slot = slot or held.enter_context(self._runs.slot())
                try:
                    return await self._run(service, asked, token, slot, store)
                except BegunBefore as begun:
                    return await self._told_again(Begun(asked, begun.response_id, store))

    async def _unstored(
        self, service: "Service", invocation: "Invocation", asking: Asking, token: UserToken | None, slot: Slot
    ) -> Telling:
        """Begin a run that only its connection remembers."""
        memory = asking.memory
        if not memory.has(invocation.previous_response_id) and _needs_store(invocation):
            store = await self._store.passed()
            with _missing_things_named(invocation):
                invocation = await self._runs.with_history(asking.caller, invocation, store=store)
        asked = RunRequest(
            invocation=invocation,
            dialect=OPENAI,
            owner=asking.caller,
            accepted_at=time.time(),
            connection=memory.id,
        )
        return await self._run(service, asked, token, slot, await memory.store())

    async def _run(
        self, service: "Service", asked: RunRequest, token: UserToken | None, slot: Slot, store: "Store"
    ) -> Telling:
        scope = Scope(app=service.app, token=token, hidden=current_hidden_values(), facts=current_log_facts())
        with _missing_things_named(asked.invocation):
            run = await self._runs.start(
                asked, scope, graphs=service.catalog, observers=service.observers(), slot=slot, store=store
            )
        # Nothing is awaited before somebody reads: a connection that ends now must end its run.
        reader = self._runs.read(run, quiet_seconds=self._settings.keepalive_seconds)
        self._repeats.began(asked, run)
        return Telling(response_id=run.id, request=run.request, reader=reader, run=run)

    async def _told_again(self, begun: Begun) -> Telling:
        reader = await self._repeated.reader(begun)
        return Telling(response_id=begun.response_id, request=begun.asked, reader=reader)

    async def steer(self, fields: Mapping[str, Any], *, asking: Asking, telling: Telling) -> "StoredSteer":
        """Accept what a `response.steer` says for the response in flight.

        Raises:
            AgentError: it is refused.
        """
        token = self._identity.token(asking.headers)
        with with_user_token(token):
            service = await self._gate.passed()
            said = await run_giving_way(partial(service.read_steer, fields))
            store, keeper = await self._store_of(telling, asking), telling.request.keeper
            stored = await store.responses.get(keeper, telling.response_id)
            return await self.steering.steer(
                asking.caller, stored, said, store=store, graphs=service.catalog, keeper=keeper
            )

    async def steers(self, telling: Telling, *, asking: Asking) -> "Sequence[StoredSteer]":
        """What became of the steers of a response that was told.

        Raises:
            AgentError: it cannot be read.
        """
        store, keeper = await self._store_of(telling, asking), telling.request.keeper
        return await store.responses.steers(keeper, telling.response_id)

    async def successor(self, telling: Telling, last: Entry, *, asking: Asking) -> Telling | None:
        """The response that goes on after one that was steered. `None`: it was not. `last` is its terminal event.

        Raises:
            AgentError: it cannot be read.
        """
        seconds = self._settings.keepalive_seconds
        if telling.run is not None:
            if (run := telling.run.heir) is None:
                return None
            reader = self._runs.read(run, quiet_seconds=seconds)
            return Telling(response_id=run.id, request=run.request, reader=reader, run=run)
        # Another process may have run it. The client can choose metadata, so only the store is believed.
        if NAMES_SUCCESSOR not in last.data:
            return None
        taken = [one.successor for one in await self.steers(telling, asking=asking) if one.successor]
        if not taken or taken[-1] != last.event["response"]["metadata"].get(SUCCESSOR):
            return None
        store = await self._store_of(telling, asking)
        reader = await self._joining.reader(asking.caller, taken[-1], store=store, quiet_seconds=seconds)
        return Telling(response_id=taken[-1], request=telling.request, reader=reader)

    async def _store_of(self, telling: Telling, asking: Asking) -> "Store":
        if telling.request.connection is not None:
            return await asking.memory.store()
        return await self._store.passed()

    def told(self, telling: Telling) -> None:
        """The client has got the whole answer."""
        self._repeats.told(telling.request, telling.response_id)


def _needs_store(invocation: "Invocation") -> bool:
    names = invocation.previous_response_id is not None or invocation.conversation is not None
    return names or any(item["type"] == REFERENCE for item in invocation.items)


@contextmanager
def _missing_things_named(invocation: "Invocation") -> Iterator[None]:
    """Within this context, the errors name the field that is wrong."""
    try:
        with missing_things_named():
            yield
    except ResponseNotFound as error:
        message = NOT_REMEMBERED.format(id=shown(invocation.previous_response_id or ""))
        raise PreviousResponseNotFound(message, param=error.param) from None
