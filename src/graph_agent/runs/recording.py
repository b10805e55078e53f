"""The record of one stored run: begun before the first event, and committed before the terminal event is sent."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graph_agent.errors import AgentError, LeaseLost, RunCancelled, StoreUnavailable
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.events import ResponseHead
from graph_agent.protocol.fingerprints import Fingerprints
from graph_agent.protocol.reconcile import fingerprints_after
from graph_agent.runs.attempts import Attempt
from graph_agent.runs.gently import run_gently
from graph_agent.runs.leases import Lease, Leases
from graph_agent.runs.recent_messages import RecentMessages
from graph_agent.runs.request import RunRequest, Turn
from graph_agent.runs.run_saver import RunSaver
from graph_agent.runs.succession import new_response
from graph_agent.stores.records import EndedResponse, Item, ResponseStatus, Successor, Waiting
from graph_agent.stores.run_records import EventBatch, NewRun
from graph_agent.stores.steer_records import SteersQueued
from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

FINISH_SECONDS = 30.0
"""How long the end of a run waits for the store. Its lease is renewed meanwhile."""


class Recording:
    """The record of one run. Call `begin()` once, and then `finish()` once."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        recent: RecentMessages | None,
        *,
        head: ResponseHead,
        request: RunRequest,
        turn: Turn,
        attempt: Attempt | None = None,
        new: NewRun | None = None,
    ) -> None:
        """`attempt` is that of a run which the store knows, and `new` what the store is told of it in `begin`."""
        self._attempt, self._new = attempt, new
        self._responses = store.responses
        self._leases = leases
        self._head = head
        self._owner = request.keeper
        self._request = request
        self._turn = turn
        self._lost = False
        self.given_back = 0
        """How many steers the response gave back, once it is finished."""
        right, continuation = None if attempt is None else attempt.right, turn.continuation
        if attempt is not None and not attempt.is_first:
            # It was created by an earlier attempt.
            continuation = replace(continuation, is_new=False)
        self.saver = RunSaver(
            store.checkpointer(right),
            continuation=continuation,
            holds_lease=lambda: self._holds_lease(),
            regains_lease=self._regains_lease,
            recent=recent,
        )
        """The checkpoint saver of the run."""

    async def begin(self, *, lost: Callable[[], None]) -> None:
        """Record that the run starts, and take the lease of its conversation. `lost` is called once if it is lost.

        Raises:
            ConversationBusy: another run has the lease.
            ResponseNotFound: the previous response was deleted meanwhile.
            ApprovalAnswered: an approval was answered meanwhile.
            StoreUnavailable: the database does not answer.
        """
        lease = self._leases.new()
        new = new_response(self._head, self._request, self._new)
        beginning = asyncio.ensure_future(self._responses.begin(self._owner, new, busy_until=lease.busy_until))
        try:
            await asyncio.shield(beginning)
        except asyncio.CancelledError:
            # Whether the transaction is committed is open. If it is, the conversation must not stay busy for nobody.
            await asyncio.shield(self._withdraw(beginning))
            raise

        self.hold(lease, lost=lost)

    def hold(self, lease: Lease, *, lost: Callable[[], None]) -> None:
        """Keep the lease of a record that has begun. `lost` is called once if it is lost."""

        def has_lost() -> None:
            self.lose()
            lost()

        self._leases.hold(self._head.id, lease, lost=has_lost)

    def lose(self) -> None:
        """Another process has the run: write nothing more."""
        self._lost = True
        self.saver.close()

    def _holds_lease(self) -> bool:
        if self._in_background:
            # The store compares the right of the attempt with each write.
            return not self._lost
        return self._leases.holds(self._head.id)

    async def _regains_lease(self) -> bool:
        return not self._lost if self._in_background else await self._leases.regain(self._head.id)

    @property
    def _in_background(self) -> bool:
        return self._attempt is not None and self._attempt.background

    async def _withdraw(self, beginning: "asyncio.Future[None]") -> None:
        await asyncio.wait([beginning])
        if beginning.exception() is None:
            await self.discard(RunCancelled("the caller left before the run began"))

    async def finish(
        self,
        *,
        status: ResponseStatus,
        response: Mapping[str, Any],
        messages: Mapping[str, str],
        waiting: Waiting | None = None,
        events: EventBatch | None = None,
        trace: str | None = None,
        successor: Successor | None = None,
        leaves_steers: bool = False,
        fails_steers: bool = False,
    ) -> AgentError | None:
        """Record how the run ended and release the conversation. Returns why that failed, or `None`.

        `messages` says which message of the graph's state each item is, where their ids differ. `waiting` says what the
        graph waits for. `events` are the last events of a run which the store knows. `trace` is the id of its trace.

        `successor`, `leaves_steers` and `fails_steers` say what becomes of the steers of the response.

        After this, nothing that the run still writes is stored.

        Raises:
            SteersQueued: there are steers of which that says nothing. Call it again.
        """
        self.saver.close()
        if self._lost:
            return process_lost()
        is_over = True
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                ended = EndedResponse(
                    status=status,
                    response=response,
                    checkpoint=self.checkpoint(status),
                    fingerprints=await self._fingerprints(response["output"]),
                    messages=messages,
                    waiting=waiting,
                    right=None if self._attempt is None else self._attempt.right,
                    events=events,
                    trace=trace,
                    successor=successor,
                    leaves_steers=leaves_steers,
                    fails_steers=fails_steers,
                )
                self.given_back = await self._responses.finish(self._owner, self._head.id, ended)
        except SteersQueued:
            is_over = False
            raise
        except LeaseLost:
            return process_lost()
        except AgentError as error:
            return error
        except Exception as error:  # noqa: BLE001 - an exception of a driver may quote an address and a password
            logger.error("the record of run %s could not be written: %s", self._head.id, describe_error(error))
            return StoreUnavailable("the store does not answer, so the response could not be stored")
        finally:
            if is_over:
                self._leases.release(self._head.id)
        self.saver.keep_messages()
        return None

    def checkpoint(self, status: ResponseStatus) -> str | None:
        """The checkpoint at which a run with this status has ended."""
        answers = self._turn.answers
        if self.saver.unstorable:
            return None
        if self.saver.checkpoint is None and answers is not None and answers.resume and status == "completed":
            # A graph that waits again in the same step adds to its checkpoint, and writes no other.
            return self._turn.continuation.checkpoint
        return self.saver.checkpoint

    async def _fingerprints(self, output: Sequence[Item]) -> Fingerprints | None:
        texts = self._turn.texts
        return await run_gently(lambda pulse: fingerprints_after(texts, output, pulse=pulse), output)

    async def discard(self, error: AgentError) -> None:
        """Remove the record of a run that could not start. Its caller gets the error and learns no id."""
        response = self._head.response("failed", error={"code": error.code, "message": error.message})
        if await self.finish(status="failed", response=response, messages={}) is not None:
            # The store does not answer. The lease expires, and the record ends as `process_lost`.
            return
        try:
            await self._responses.delete(self._owner, self._head.id)
        except AgentError as problem:
            logger.error("the record of run %s could not be removed: %s", self._head.id, problem.code)


def process_lost() -> LeaseLost:
    """The error of a run whose conversation was taken over."""
    return LeaseLost("the process did not reach the store in time, and the conversation is no longer its own")
