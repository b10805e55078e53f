"""Accepts messages for responses in progress, whichever process runs them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from graph_agent.errors import AgentError, SteeringNotSupported
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.events import new_id
from graph_agent.protocol.json_encoding import encode
from graph_agent.runs.graph_source import Graphs
from graph_agent.runs.registry import Runs
from graph_agent.stores.records import StoredResponse
from graph_agent.stores.steer_records import NewSteer, SteerLimits, StoredSteer

if TYPE_CHECKING:
    from graph_agent.protocol.steer_requests import SteerInput
    from graph_agent.stores.store import Store

LIMITS = SteerLimits(most=16, most_bytes=8 * 1024 * 1024)
"""How much may wait for one response. Its successor gets all of it at once."""

NOT_STORED = (
    "the response is not stored, so nothing could go on from it: send requests that are to be steered without "
    "`store: false`, to an address that stores responses or with `store: true`"
)

NO_MESSAGES = (
    "the graph of this response keeps no messages, so it takes none while it runs: send them as a new request when the "
    "response has ended"
)


class Steering:
    """Steers the responses of one owner."""

    def __init__(self, runs: Runs, *, counted: Callable[[str | None], None] | None = None) -> None:
        """`counted` is told of all that comes: `None` if it is accepted, else the code of its error."""
        self._runs = runs
        self._counted = counted or (lambda code: None)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count an error in this block as messages that are refused."""
        try:
            yield
        except AgentError as error:
            self._counted(error.code)
            raise

    def require_stored(self, caller: Caller, response_id: str) -> None:
        """Check that no run of this process has that id whose response is not stored.

        Raises:
            SteeringNotSupported: there is one, of this caller.
        """
        run = self._runs.own(caller, response_id)
        if run is not None and run.request.turn is None:
            raise SteeringNotSupported(NOT_STORED)

    async def steer(
        self,
        caller: Caller,
        stored: StoredResponse,
        said: "SteerInput",
        *,
        store: "Store",
        graphs: Graphs,
        key: str | None = None,
        keeper: Owner | None = None,
    ) -> StoredSteer:
        """Accept messages for a response. From now on the store has them, and one response will: the successor.

        `keeper` is the owner of the record, if that is not the caller: a connection that remembers it.

        Raises:
            LimitReached: the caller has sent too much.
            SteeringNotSupported: the graph keeps no messages.
            ResponseCompleted, ResponseNotActive: the response is not in progress any more.
            ResponseNotFound: it was deleted meanwhile.
            TooManySteers: too much waits for it.
            IdempotencyKeyUsed: another request has used the key.
            StoreUnavailable: the database does not answer.
        """
        if stored.is_open:
            run = self._runs.own(caller, stored.id)
            if not _keeps_messages(await graphs.get(stored.graph) if run is None else run.graph):
                raise SteeringNotSupported(NO_MESSAGES)
        owner = keeper or Owner.of(caller)
        await self._runs.admit_steer(Owner.of(caller))
        new = NewSteer(
            id=new_id("steer"),
            response=stored.id,
            input=said.items,
            size=len(encode(list(said.items))),
            digest=said.digest,
            key=key,
        )
        accepted = await store.responses.steer(owner, new, limits=LIMITS)
        if accepted.id == new.id:
            # Not for a request that is sent again.
            self._counted(None)
        self._runs.steered(stored.id)
        return accepted

    async def listed(self, caller: Caller, stored: StoredResponse, *, store: "Store") -> list[StoredSteer]:
        """What was accepted for a response, in order, and what became of it."""
        steers = await store.responses.steers(Owner.of(caller), stored.id)
        if stored.status not in ("failed", "cancelled"):
            return list(steers)
        # A process that is gone did not say so.
        return [
            replace(one, status="failed", error=one.error or "response_not_active") if one.status == "queued" else one
            for one in steers
        ]


def _keeps_messages(graph: object) -> bool:
    from graph_agent.runs.instructions import MESSAGES

    return MESSAGES in getattr(graph, "channels", ())
