"""Runs one graph once. The run writes a stream of events that always ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.pregel import Pregel

from graph_agent.answer_form import Unfit, within_answer_form
from graph_agent.client_tools import ClientTools, within_client_tools
from graph_agent.errors import (
    AgentError,
    AnswerUnfit,
    ApprovalNeedsStore,
    ApprovalNotResumable,
    LeaseLost,
    LimitReached,
    OtherAddress,
    ResponseNotActive,
    RunCancelled,
    StoreUnavailable,
    Unauthenticated,
)
from graph_agent.foreign_errors import describe_error, dev_traceback
from graph_agent.identity.owner import Owner
from graph_agent.known_messages import NONE_KNOWN
from graph_agent.model_options import PROBABILITIES, ModelOptions, within_model_options
from graph_agent.protocol.approvals import Approval, approvals_of
from graph_agent.protocol.declared_servers import secrets_in
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event, ResponseHead, StoredHead, Usage, new_id
from graph_agent.protocol.finish_reasons import EarlyEnd
from graph_agent.protocol.interrupts import Interrupted, PendingInterrupt
from graph_agent.protocol.questions import asks
from graph_agent.protocol.steering import name_successor, required_input
from graph_agent.protocol.steps import TASKS
from graph_agent.protocol.translator import Translator
from graph_agent.redaction import with_hidden_values
from graph_agent.run_lifetime import RunLifetime, within_lifetime
from graph_agent.runs.asking_tools import schema_in
from graph_agent.runs.attempts import Attempt, Fate, Tracked
from graph_agent.runs.audience import Namespace
from graph_agent.runs.client_tools import (
    ServersOfRun,
    client_tools_of,
    require_form_taken,
    require_probabilities_taken,
    require_tools_taken,
    serve,
    servers_of_run,
    without_secrets,
)
from graph_agent.runs.compacting import RunCompaction, without_instructions
from graph_agent.runs.event_log import Entry, EventLog, Outlet
from graph_agent.runs.event_writer import EventWriter
from graph_agent.runs.going_over import TOKENS_PER_DAY, decision_to_go_on, question_to_go_on
from graph_agent.runs.graph_context import fill_context
from graph_agent.runs.inner_graphs import without_checkpoints
from graph_agent.runs.leases import Lease, Leases
from graph_agent.runs.ledger import Ledger
from graph_agent.runs.observers import Observers, Outcome, RunInfo, RunObserver, Status
from graph_agent.runs.open_thread import NO_RESULT, OpenThread, answered_questions, open_thread, replacing
from graph_agent.runs.part_source import PartSource, nowhere
from graph_agent.runs.parts import Parts
from graph_agent.runs.recent_messages import RecentMessages
from graph_agent.runs.recording import Recording, process_lost
from graph_agent.runs.remembering import with_memories
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.resumed_thread import BEHIND_ANSWERS, ResumedThread, resumed_at
from graph_agent.runs.returned_redaction import is_quick, redact_returned
from graph_agent.runs.run_saver import STEPS
from graph_agent.runs.run_spending import RunSpending
from graph_agent.runs.safe_errors import safe_error
from graph_agent.runs.steer_control import SteerControl, has_open_calls
from graph_agent.runs.step_events import StepEvents
from graph_agent.runs.stream import Part, is_short, stream_of
from graph_agent.runs.succession import Heir, Succession, next_request
from graph_agent.settings import Budgets
from graph_agent.stores.memories import OpenStore, OwnedMemories
from graph_agent.stores.records import ResponseStatus, Waiting
from graph_agent.stores.run_records import EventBatch
from graph_agent.stores.steer_records import SUCCESSOR_FAILED, SteersQueued, StoredSteer
from graph_agent.stores.store import Store
from graph_agent.stores.usage_records import Standing
from graph_agent.threads import run_giving_way
from graph_agent.tool_call_policy import NotRun

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long after its time limit a run's stream is ended even if a node ignores its cancellation."""

FORCED_CANCEL_SECONDS = 5.0
"""How long `aclose` waits for such a node."""

FLUSH_SECONDS = 1.5
"""How long the record of a run waits for a graph that was stopped, which then writes its checkpoint. A process that is
ending has no time to wait longer for a node that ignores its cancellation."""

RETRY_SECONDS = 0.5
"""How long a run in the background waits before it tries again to record its end."""

MOST_IDLE_STEPS = 4
"""Steps of a graph while only the client can go on: its edges may lead over a node that runs tools, and hooks."""

TURNS = 4
"""Turns of the event loop."""

UNCHANGED: AbstractContextManager[None] = nullcontext()
"""The context in which a part of the stream is translated that needs no redaction ahead. It holds nothing."""

LEAST_SECONDS = 1.0
"""The least time of a run whose caller has waited almost as long as it can."""


class Run:
    """One run of one graph for one request. Call `start()` once and read `batches()`. `aclose()` stops the run.

    A run whose request has a turn is stored: call `record_in()` before `start()`.

    The graph runs in a separate task. So a slow reader does not delay the time limit, a quiet graph does not keep the
    reader from noticing that the caller has left, and a cancellation reaches the current model call.

    Raises:
        InvalidRequest: `custom_inputs` does not fit the graph's context, or a tool has the name of one of the graph's.
        UnsupportedField: the graph takes no tools.
    """

    # Otherwise each run would have a dictionary of 1.6 KB: Python shares the names of at most 30 attributes.
    __slots__ = (
        "_attempt",
        "_budgets",
        "_client",
        "_closed",
        "_compaction",
        "_context",
        "_decided",
        "_end_written",
        "_ending",
        "_events",
        "_form",
        "_graph",
        "_history",
        "_idle_steps",
        "_input",
        "_is_done",
        "_is_steered",
        "_lifetime",
        "_log",
        "_monitor",
        "_observers",
        "_options",
        "_parts",
        "_pending",
        "_recording",
        "_resumed",
        "_seconds",
        "_servers",
        "_spending",
        "_status",
        "_steps",
        "_steps_before",
        "_stopped_between_steps",
        "_stored",
        "_task",
        "_then",
        "_told",
        "_translator",
        "_values",
        "_waiting",
        "_whole",
        "failure",
        "graph",
        "head",
        "heir",
        "request",
        "standing",
        "succession",
    )

    def __init__(
        self,
        *,
        graph: Pregel[Any, Any, Any, Any],
        name: str,
        request: RunRequest,
        budgets: Budgets,
        observers: Iterable[RunObserver] = (),
        memories: OpenStore | None = None,
        compaction: RunCompaction | None = None,
        head: ResponseHead | None = None,
        attempt: Attempt | None = None,
        ledger: Ledger | None = None,
        standing: Standing | None = None,
    ) -> None:
        """`compaction` is given if the request asks that a long history is compacted.

        `head` is that of a response which has begun already. `attempt` is given for a run in the background: it goes
        on where earlier attempts stopped. `ledger` counts what its models use. `standing` is what was left for its user
        when the request came."""
        invocation = request.invocation
        self.head = head or head_of(request, name)
        turn = request.turn
        if head is not None:
            pass
        elif turn is not None and turn.repeats is not None:
            if turn.repeats.family != request.dialect.family:
                raise OtherAddress(
                    "the approval was answered at an address of the other family, which writes tool calls in another "
                    "form: read its response there"
                )
            self.head = replace(self.head, id=turn.repeats.id)
        self.request = request
        self._attempt = attempt
        self.graph = graph
        """The graph as it was given."""
        self._graph = graph
        self._compaction = compaction
        self._history: Sequence[BaseMessage] = ()
        """What the graph's state has, for the compaction."""
        self._budgets = budgets
        self._observers = Observers(observers)
        # In the constructor, before anything is sent: a wrong field is a 400 and not a failed stream.
        self._client = client_tools_of(invocation)
        require_tools_taken(graph, self._client)
        self._form = invocation.answer_form
        require_form_taken(graph, self._form)
        require_probabilities_taken(graph, invocation)
        self._options = ModelOptions(invocation.options)
        self._idle_steps = 0
        self._parts: Parts | None = None
        self._context = self._filled_context()
        self._servers: ServersOfRun | None = None
        self.standing = standing
        self._decided = decision_to_go_on(request.turn)
        self._spending: RunSpending | None = None
        if ledger is not None:
            approved = None if self._decided is None or not self._decided.approved else self._decided.approval
            self._spending = RunSpending(ledger, owner=Owner.of(request.owner), graph=name, approval=approved)
        self._monitor = PartSource(budgets, client=self._client, spending=self._spending)
        self._translator = Translator(known=invocation.messages, **self._of_translator(begins=attempt is None))
        self._log = EventLog() if attempt is None else attempt.kept.log
        self._log.shows_at_once = attempt is None
        self._events = EventWriter(self._log, most_bytes=budgets.event_bytes)
        self._steps = StepEvents(self._write_steps, is_private=self._monitor.is_private) if invocation.steps else None
        self._lifetime = RunLifetime()
        if memories is not None:
            owner = Owner.of(request.owner)
            owned = OwnedMemories(owner, memories, response=self.id, lifetime=self._lifetime)
            self._graph = with_memories(graph, owned)
        self._task: asyncio.Task[None] | None = None
        self._whole: asyncio.Task[None] | None = None
        self._recording: Recording | None = None
        self._input: Any = invocation.messages
        self._told = invocation.messages
        self._then: Sequence[BaseMessage] = ()
        self._waiting: Waiting | None = None
        self._pending: Sequence[PendingInterrupt] | None = None
        self._stored: Mapping[str, Any] | None = None
        # Only a record waits for it.
        self._end_written = None if turn is None else asyncio.Event()
        self._resumed: ResumedThread | None = None
        self._steps_before = 0
        """The super-steps of earlier attempts."""
        self._is_done = False
        self._is_steered = False
        self._stopped_between_steps = False
        self._values: Any = None
        """What the state of the graph holds after its last step, as far as a response reports it."""
        self.succession: Succession | None = None
        """How its successor begins, if it is steered. It is forgotten when the run is over."""
        self.heir: Run | None = None
        """The successor, once it has begun in this process."""
        self._seconds = budgets.seconds
        self._ending = False
        self._closed = False
        self._status: Status = "cancelled"
        self.failure: AgentError | None = None

    def _of_translator(self, *, begins: bool) -> Mapping[str, Any]:
        """What the translator of this run is made with. `begins`: no store has the run yet."""
        invocation, dialect = self.request.invocation, self.request.dialect
        return {
            "dialect": dialect,
            "head": self.head,
            "server": self.head.model,
            # What a run in the background takes back may have been read already.
            "plain": invocation.mode == "reply" and begins,
            "inputs_of": self._monitor.inputs_of,
            "steps": invocation.steps,
            "client": self._client,
            # Not a function of this run: the run would then hold itself, and stay in memory with all its events.
            "warnings": partial(_warnings_of, self._options, self._client, dialect),
            "answer_only": self._form is not None,
            "logprobs": PROBABILITIES in invocation.options,
        }

    def _filled_context(self) -> Any:
        return fill_context(
            self.graph.context_schema,
            caller=self.request.owner,
            thread=self.request.conversation,
            custom_inputs=self.request.invocation.custom_inputs,
            client=self._client,
            answer_form=self._form,
        )

    @property
    def id(self) -> str:
        """The id of the run and of its response."""
        return self.head.id

    @property
    def fate(self) -> Fate | None:
        """What became of a run that this process does not end."""
        return None if self._attempt is None else self._attempt.fate

    @property
    def log(self) -> EventLog:
        """The events of the run."""
        return self._log

    @property
    def is_journaled(self) -> bool:
        """Whether the store has the events of the run."""
        return self._attempt is not None

    @property
    def in_background(self) -> bool:
        """Whether the run belongs to no connection, and another process may take it over."""
        return self._attempt is not None and self._attempt.background

    async def record_in(
        self,
        store: Store,
        leases: Leases,
        recent: RecentMessages | None = None,
        *,
        tracked: Tracked | None = None,
        lease: Lease | None = None,
    ) -> None:
        """Begin the record of this run, and read the state from which its graph continues. A run in the background has
        a record already.

        `tracked` is given if the store must know of the run, and keep its events. `lease` is that of a record which
        began in the transaction that ended another one. If such a run cannot start, its record says why.

        Raises:
            ConversationBusy: another run of the conversation is in progress.
            ResponseNotFound: the previous response was deleted meanwhile.
            StoreUnavailable: the database does not answer.
        """
        turn = self.request.turn
        assert turn is not None, "only a request with a turn is recorded"
        begins = self._attempt is None
        if tracked is not None and begins:
            self._attempt = tracked.attempt(self.request, self.id)
            self._log = self._attempt.kept.log
            self._events = EventWriter(self._log, most_bytes=self._budgets.event_bytes)
        recording = Recording(
            store,
            leases,
            recent,
            head=self.head,
            request=self.request,
            turn=turn,
            attempt=self._attempt,
            new=None if tracked is None or not begins else tracked.new(self.request),
        )
        if lease is not None:
            recording.hold(lease, lost=self.lose)
        elif begins:
            await recording.begin(lost=self.lose)
        if self._attempt is not None:
            self._attempt.kept.lost = self.lose
        if self.in_background:
            recording.saver.spoken = self._monitor.spoken
            recording.saver.used = lambda: self._monitor.used
        if not self.request.invocation.generate or (turn.answers is not None and not turn.answers.resume):
            # Nothing runs, or what waits is asked again.
            self._recording = recording
            self._events.hold_end()
            return
        try:
            invocation = self.request.invocation
            opened = await open_thread(
                self._graph,
                recording.saver,
                run_id=self.id,
                messages=invocation.messages,
                instructions=invocation.instructions,
                unfinished=turn.unfinished,
                turn=turn,
            )
            await self._go_on(recording, opened)
        except BaseException as error:
            if not begins:
                raise
            failure = error if isinstance(error, AgentError) else RunCancelled("the run was cancelled")
            ending = recording.discard(failure) if lease is None else self._end_unstarted(recording, failure)
            await asyncio.shield(ending)
            raise
        self._recording = recording
        self._graph, self._stored, self._pending = opened.graph, opened.config, opened.pending
        self._told = opened.told
        self._monitor.continues(opened.history, opened.known)
        if turn.answers is None:
            if turn.goes_on:
                self._input = opened.command
            else:
                self._input = replacing(opened.graph, opened.messages) if opened.replaces else opened.messages
            if self._compaction is not None:
                self._history = opened.history
            self._translator.continues(opened.known, opened.messages)
            self._translator.awaits(opened.calls)
        else:
            # A graph goes on in the middle of a turn. The next one is compacted.
            self._compaction = None
            self._input, self._then = opened.command, opened.messages
            self._translator.continues(opened.known, ())
            self._translator.resumes(opened.calls, answered_questions(turn.answers))
        if self._resumed is not None:
            self._take_up(self._resumed, opened)
        self._events.hold_end()

    async def _end_unstarted(self, recording: Recording, error: AgentError) -> None:
        """End the record of a run that cannot start, with the events that any other run has."""
        self.failure, self._status = error, "failed"
        self._events.write(self._translator.start())
        self._events.write(self._translator.fail(error, Usage()))
        kept = None if self._attempt is None else self._attempt.kept
        if kept is not None:
            await kept.leave()
        await recording.finish(
            status="failed",
            response=self._final_response(),
            messages={},
            events=None if kept is None else kept.pending(),
            fails_steers=True,
        )

    async def _go_on(self, recording: Recording, opened: OpenThread) -> None:
        """Read where an earlier attempt at this run stopped."""
        if self._attempt is not None and not self._attempt.is_first:
            self._resumed = await resumed_at(opened, recording.saver, run_id=self.id, context=self._context)

    def _take_up(self, resumed: ResumedThread, opened: OpenThread) -> None:
        """Go on where an earlier attempt stopped: with its events, and with the last checkpoint that it wrote."""
        given = () if self._then else opened.messages
        self._translator = Translator.restored(
            [one.event for one in self._log.entries()],
            state=resumed.values,
            below=resumed.below,
            spoken=resumed.spoken,
            known=[*opened.history, *given, *(self._then if resumed.is_behind_answers else ())],
            **self._of_translator(begins=False),
        )
        turn = self.request.turn
        if turn is not None and turn.answers is not None:
            self._translator.resumes(opened.calls, answered_questions(turn.answers))
        else:
            self._translator.awaits(opened.calls)
        if resumed.phase == "begin":
            return
        self._compaction = None
        self._monitor.goes_on(resumed.used)
        self._steps_before = resumed.used.get(STEPS, 0)
        self._input, self._stored = None, resumed.config
        if resumed.is_behind_answers:
            self._then = ()
        if resumed.phase == "asks":
            self._pending = resumed.pending
        self._is_done = resumed.phase == "done"

    def steer(self) -> None:
        """Messages wait for the response. The graph stops before its next step, if that is possible there, and the
        successor gets them. Otherwise it gets them when the graph has ended."""
        self._is_steered = True

    @property
    def is_steered(self) -> bool:
        """Whether messages wait for the response, as far as this process has heard."""
        return self._is_steered

    def _may_be_stopped(self) -> bool:
        """Whether the graph may stop before its next step, to go on in the run of the successor."""
        return (
            self._is_steered
            and not self._then
            and self.succession is not None
            and self._may_go_on()
            # A model endpoint refuses a message between a call and its result.
            and not has_open_calls(self._values)
        )

    @property
    def came_further(self) -> bool:
        """Whether this attempt has ended a step of the graph, so that another one goes on behind it."""
        return self._recording is not None and self._recording.saver.came_further

    @property
    def _may_wait_for_store(self) -> bool:
        """A graph that has come further since the last outage does not ask for what the store never answers."""
        attempt = self._attempt
        return attempt is not None and attempt.background and (attempt.may_wait or self.came_further)

    @property
    def is_ending(self) -> bool:
        """Whether its end is written, or being written."""
        return self._ending

    def lose(self) -> None:
        """Another process has the run or its conversation: stop the graph. The response of a run in the background goes
        on there, so it does not end here."""
        if self.in_background:
            self.give_away("lost")
        else:
            self.interrupt(process_lost())

    def give_away(self, fate: Fate) -> None:
        """Stop the graph without an end of the response, which another process or a later attempt brings."""
        attempt = self._attempt
        assert attempt is not None, "only a run in the background can be taken over"
        if attempt.fate is None and not self._ending:
            attempt.fate = fate
            if fate == "lost" and self._recording is not None:
                self._recording.lose()
            self._let_record()
            self._stop()

    async def give_up(self, error: AgentError) -> None:
        """Remove the record of a run that does not start after all."""
        if self._recording is not None:
            await self._recording.discard(error)

    def start(self, scope: Scope | None = None) -> None:
        """Start the run in this scope, without the context variables of the calling code. Its time limit begins now.
        The events stay in the log until they are read."""
        scope = scope or Scope()
        if scope.ends_by is not None:
            self._seconds = min(self._seconds, max(scope.ends_by - time.monotonic(), LEAST_SECONDS))
        scope.context().run(self._begin, scope)

    def _begin(self, scope: Scope) -> None:
        with (
            scope.entered(),
            self._hiding_credentials(),
            within_lifetime(self._lifetime),
            within_client_tools(self._client),
            within_model_options(self._options),
            within_answer_form(self._form),
        ):
            self._monitor.start_clock(self._seconds)
            if self._spending is not None:
                self._spending.attach()
            self._observers.started(
                RunInfo(id=self.id, graph=self.head.model, request=self.request, messages=self._told)
            )
            self._events.write(self._translator.start())
            self._task = asyncio.create_task(self._run())
            # A callback, because a task that is cancelled before its first step runs none of its own code.
            self._task.add_done_callback(lambda task: self._close())
            self._whole = self._task if self._recording is None else asyncio.create_task(self._record(self._recording))

    def _hiding_credentials(self) -> AbstractContextManager[None]:
        """The context in which nothing says the credentials for MCP servers."""
        headers = self.request.invocation.server_headers
        return with_hidden_values(secrets_in(headers)) if headers else UNCHANGED

    def batches(
        self, *, quiet_seconds: float, after: int = -1, outlet: Outlet | None = None
    ) -> AsyncIterator[Sequence[Entry]]:
        """Yield the events with a number above `after`, in batches, and an empty batch after `quiet_seconds`. Several
        readers may read at the same time. Each gets every event, or its `outlet` does."""
        return self._log.read(after=after, quiet_seconds=quiet_seconds, outlet=outlet)

    async def reply(self) -> dict[str, Any]:
        """Wait for the end and return the whole response object.

        Raises:
            AgentError: the run failed. It holds no text of a third-party exception.
        """
        async for _ in self.batches(quiet_seconds=self._budgets.seconds + 1):
            pass
        if self.failure is not None:
            raise self.failure
        return self._final_response()

    @property
    def over(self) -> bool:
        """Whether the graph has stopped and the record of the run is written."""
        return self._whole is not None and self._whole.done()

    @property
    def status(self) -> Status:
        """How the run ended. It is `cancelled` until then."""
        return self._status

    @property
    def interrupted(self) -> Interrupted | None:
        """What the graph waits for. It is complete once `status` is `interrupted`."""
        return self._translator.interrupted

    def has_sent(self, item_id: str) -> bool:
        """Whether readers have seen the beginning of an item with this id."""
        added = (entry.event["item"] for entry in self.log.shown if entry.type == "response.output_item.added")
        return any(item.get("id") == item_id for item in added)

    @property
    def output(self) -> Sequence[Mapping[str, Any]]:
        """The items so far."""
        return self._translator.output

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        return self._monitor.usage

    def when_over(self, notify: Callable[[], None]) -> None:
        """Call `notify` once, when the run is over."""
        if self._whole is not None:
            self._whole.add_done_callback(lambda task: notify())

    async def ended(self) -> None:
        """Wait until the run is over, for whatever reason."""
        if self._whole is not None:
            await asyncio.wait([self._whole])

    def interrupt(self, error: AgentError) -> None:
        """End the stream with `error` now, for readers who are still there, and stop the graph."""
        if self._task is not None and not self._task.done():
            self._fail(error)
            self._stop()

    async def cancel(self) -> None:
        """End the stream now, because its owner asks for it, and stop the graph. Does nothing if the run is over."""
        if self._task is not None and not self._task.done():
            self._fail(RunCancelled("the run was cancelled"), status="cancelled")
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the graph, including its current model call. Does nothing if the run is over."""
        if self._whole is None:
            return
        if self._whole.done():
            if self._recording is not None:
                # The reader of a recorded run may learn of its end before those who wait for the slot do.
                await asyncio.sleep(0)
            return
        self._stop()
        # With a time limit: a node may ignore its cancellation, and the caller must not wait for that.
        await asyncio.wait([self._whole], timeout=FORCED_CANCEL_SECONDS)
        self._lifetime.end()

    # -- the graph's task ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        # Lets the first events leave before the graph's first step, which holds the event loop for about a millisecond.
        await asyncio.sleep(0)
        # For a graph that ignores the cancellation by `asyncio.timeout`: its stream is ended without it.
        overdue = asyncio.get_running_loop().call_later(self._seconds + GRACE_SECONDS, self._cut, "seconds")
        try:
            if not await self._only_tell():
                await self._drive()
                await self._complete()
        except BaseException as error:
            # Even exceptions that asyncio reads as the end of a task or of the process: they end only this run.
            if isinstance(error, asyncio.CancelledError) and self._is_cancelled():
                raise
            if not await self._has_asked_to_go_on():
                self._explain(error)
        finally:
            overdue.cancel()
            if self._servers is not None:
                self._servers.leave()
            self._close()

    async def _only_tell(self) -> bool:
        """End a run that only says again what was said before. Returns whether it is one."""
        turn = self.request.turn
        if turn is not None and turn.repeats is not None:
            await self._end_gently("completed", self._translator.repeat(turn.repeats.response or {}))
        elif turn is not None and turn.answers is not None and not turn.answers.resume:
            asked = [one for one in turn.answers.waiting if one.id not in turn.answers.decisions]
            self._waits_for(turn.answers.waiting, unread=any(map(asks, turn.items)))
            items = [one.item(self.head.model) for one in asked]
            await self._end_gently("interrupted", self._translator.restate(items, self._monitor.usage))
        elif self._decided is not None and not self._decided.approved:
            self._cut(TOKENS_PER_DAY)
        elif not self.request.invocation.generate:
            await self._end_gently("completed", self._translator.restate([], self._monitor.usage))
        elif self._pending is not None:
            await self._wait_for_decision(self._pending)
        elif self._is_done and not self._then:
            # An earlier attempt came to the end of the graph, and not to that of the record.
            await self._complete()
        else:
            return False
        return True

    async def _drive(self) -> None:
        """Run the graph. A graph that was resumed gets the messages of the request when it has ended."""
        try:
            async with asyncio.timeout(self._seconds) as limit:
                if self._client.servers:
                    await self._list_servers()
                if self._compaction is not None:
                    await self._compact(self._compaction)
                if not self._is_done and not self._is_stopped():
                    await self._stream(self._input, self._stored)
                if self._then and self._may_go_on():
                    given_up = self._give_up_calls()
                    going_on = self._translator.goes_on_with(self._then, given_up=given_up)
                    await self._events.write_gently(going_on, stopped=self._is_stopped)
                    given, self._then = self._then, ()
                    await self._stream(given, self._next_place())
        except BaseException:
            # Not only TimeoutError: a node that is cancelled by the timeout may raise an exception of its own.
            if not limit.expired() or self._is_cancelled():
                raise
            self._cut("seconds")

    async def _list_servers(self) -> None:
        """Ask the MCP servers of the client for their tools."""
        servers = self._client.servers
        self._servers = servers_of_run(servers, self.request.invocation.server_headers)
        # Those in the history are listed again, because nothing that a client has sent says what a server offers.
        told = self.request.invocation.listed
        self._events.write(self._translator.lists_tools([one.label for one in servers if one.label not in told]))
        lists = await without_secrets(await self._servers.listed())
        if self._ending:
            return
        serve(self._client, lists)
        for one in lists:
            self._events.write(self._translator.has_listed(one.label, one.listed, one.error))
        # The context has the tools too.
        self._context = self._filled_context()

    async def _compact(self, compaction: RunCompaction) -> None:
        """Let a summary take the place of the earlier turns, if the history is long."""
        said = self.request.invocation.said
        told = without_instructions(self._told, said)
        instructions = self._told[: len(self._told) - len(told)]
        messages = [*without_instructions(self._history, said), *told]
        self._history, self._compaction = (), None
        callbacks = [self._monitor, *self._monitor.tells(self._observers.handlers)]
        made = await compaction.compacted(messages, {"callbacks": callbacks, "run_name": "compaction"})
        if made is None:
            return
        given = [*instructions, *made.messages]
        self._translator.continues(NONE_KNOWN, given)
        self._monitor.continues((), NONE_KNOWN)
        self._input = given if self._stored is None else replacing(self._graph, given)
        self._events.write(self._translator.compacted(made.item))

    def _give_up_calls(self) -> set[str]:
        """Give up the calls of the client that the request cannot answer, because the graph has only just made them, if
        a person says something, too. Model endpoints refuse a call without a result. Returns their ids."""
        awaited = self._translator.awaited_of_client
        results = [one for one in self._then if isinstance(one, ToolMessage) and one.tool_call_id in awaited]
        left = awaited - {one.tool_call_id for one in results}
        said = [one for one in self._then if all(one is not other for other in results)]
        if not left or not said:
            return set()
        made_up = [ToolMessage(NO_RESULT, tool_call_id=one, status="error", id=new_id("msg")) for one in sorted(left)]
        self._then = [*results, *made_up, *said]
        return left

    def _steps_left(self) -> int:
        if not self._steps_before:
            return self._budgets.steps
        # The first checkpoint is that of the input, and LangGraph lets a graph that goes on run one step more than one
        # that begins. It takes no limit below 1, so that after a takeover a run may have two steps more at its end.
        return max(self._budgets.steps - self._steps_before - 1, 1)

    def _next_place(self) -> Mapping[str, Any]:
        """Where a graph that was resumed gets the messages: at the checkpoint that it has just written."""
        assert self._stored is not None
        return {
            "configurable": {"thread_id": self._stored["configurable"]["thread_id"]},
            # Another id: LangGraph ignores the input of a run that has written the checkpoint itself.
            "metadata": {"run_id": f"{self.id}{BEHIND_ANSWERS}"},
        }

    def _may_go_on(self) -> bool:
        monitor = self._monitor
        over = self._is_stopped() or monitor.spent is not None or monitor.cut_off is not None
        return not over and self._translator.interrupted is None

    async def _stream(self, given: Any, stored: Mapping[str, Any] | None) -> None:
        watching = [] if self._steps is None else self._steps.callbacks
        gate = []
        if self._spending is not None and self._spending.reserves:
            # Behind the monitor, which notes the calls.
            gate = [self._monitor.gate(self._spending)]
        parts = self._parts = Parts(
            at_once=self._tells_at_once,
            slowly=self._tell_slowly,
            failed=self._breaks,
            # What callbacks see of steps is told between the tokens.
            gathers=self._steps is None,
        )
        self._monitor.stream = parts.put
        others = self._monitor.tells(self._observers.handlers)
        put: Callable[[Part], None] = parts.put
        control: SteerControl | None = None
        if self.succession is not None:
            # Only a run whose response can be steered has somebody who makes its successor.
            control, put = SteerControl(self._may_be_stopped), self._noting_values(parts.put)
        stream = stream_of(
            self._graph,
            given,
            callbacks=[self._monitor, *gate, *watching, *others],
            put=put,
            steps=self._steps_left(),
            context=self._context,
            stored=stored,
            resumable=self.in_background,
            tells_nodes=self._steps is not None,
            control=control,
        )
        if self._steps is not None:
            self._steps.begin()
        try:
            async with aclosing(stream) as steps:
                async for _ in steps:
                    # The graph goes on when what it did is told, as if it had to pass it on itself.
                    await parts.caught_up()
                    if self._is_stopped() or self._is_idle:
                        return
            await parts.caught_up()
        except Exception:
            # What it did before it failed.
            await parts.caught_up()
            raise
        finally:
            parts.close()
            # Otherwise the run would hold itself.
            self._monitor.stream = nowhere
            self._parts = None

    def _noting_values(self, put: Callable[[Part], None]) -> Callable[[Part], None]:
        """Note what the state of the graph holds, which may be told later."""

        def noting(part: Part) -> None:
            if part[1] == "values" and not part[0]:
                self._values = part[2]
            put(part)

        return noting

    def _tells_at_once(self, part: Part) -> bool:
        """Write what a part of the stream says, unless that may take long."""
        ns, kind, data = part
        if kind == "messages":
            # Tokens carry their own mark of whether they are public (`SPEAKER`).
            if not is_short(data[0]):
                return False
            if self._steps is None and not (self._ending or self._is_given_away):
                deltas = self._translator.next_delta(*data)
                if deltas is not None:
                    self._events.write_deltas(deltas)
                    if self._is_stopped():
                        self._stop()
                    return True
        elif kind == TASKS or not is_quick(kind, data):
            return False
        elif ns and not self._monitor.hears(ns):
            return True
        if self._ending or self._is_given_away:
            return True
        if self._steps is not None:
            self._steps.tell()
        self._events.write(self._translator.feed({"type": kind, "ns": ns, "data": data}))
        self._has_told(ns, kind)
        return True

    async def _tell_slowly(self, part: Part) -> None:
        """Write what a part of the stream says. Yields to other tasks, so that one part does not hold up everybody."""
        ns, kind, data = part
        if kind == TASKS:
            # A node that is due begins within these turns of the loop. Then it is known whether it is public.
            for _ in range(TURNS):
                await asyncio.sleep(0)
        if (ns and kind != "messages" and not self._monitor.hears(ns)) or self._ending or self._is_given_away:
            return
        if self._steps is not None:
            self._steps.tell()
        context = UNCHANGED
        if kind == "updates":
            data, context = await redact_returned(data)
            if self._ending:
                return
        with context:
            events = self._translator.feed({"type": kind, "ns": ns, "data": data})
            await self._events.write_gently(events, stopped=self._is_stopped)
        self._has_told(ns, kind)

    def _has_told(self, ns: Namespace, kind: str) -> None:
        if self._steps is not None:
            self._steps.tell_held()
        if kind == "values" and not ns:
            self._idle_steps = self._idle_steps + 1 if self._translator.awaits_only_client else 0
        if self._is_stopped():
            self._stop()

    def _breaks(self, error: BaseException) -> None:
        """A part of the stream could not be told."""
        self._explain(error)
        self._stop()

    @property
    def _is_idle(self) -> bool:
        """Whether the graph runs on although only the client can: the edges of a graph may not know that a call is the
        client's, and lead in a circle."""
        return self._idle_steps > MOST_IDLE_STEPS

    def _write_steps(self, seen: Callable[[Translator], Iterator[Event]]) -> None:
        """Write what was seen of the steps, unless the run has ended or goes on elsewhere."""
        if not self._ending and not self._is_given_away:
            self._events.write(seen(self._translator))

    def _is_cancelled(self) -> bool:
        """Whether this run's task was cancelled. A node may raise `CancelledError` without that."""
        return self._task is not None and self._task.cancelling() > 0

    def _stop(self) -> None:
        self._monitor.stop()
        if self._task is not None:
            self._task.cancel()

    # -- the end of the run: the first one counts ---------------------------------------------------------------

    async def _complete(self) -> None:
        # A graph may catch what the monitor raised and end normally. The budget is still used up.
        if await self._has_asked_to_go_on():
            return
        if self._monitor.refusal is not None:
            self._fail(self._monitor.refusal)
        elif self._monitor.spent is not None:
            self._cut(self._monitor.spent)
        elif self._monitor.cut_off is not None:
            self._cut_off(self._monitor.cut_off)
        elif self._translator.interrupted is not None:
            await self._wait_for_decision(self._translator.interrupted.interrupts)
        elif (unfit := await self._why_unfit()) is not None:
            self._fail(unfit)
        else:
            await self._end_gently("completed", self._translator.finish(self._monitor.usage))

    async def _why_unfit(self) -> AgentError | None:
        """Why the answer does not have the form that the request asks for."""
        answer = self._translator.whole_answer if self._form is not None else None
        if self._form is None or answer is None:
            return None
        try:
            if self._form.is_quick(answer):
                self._form.check(answer)
            else:
                await run_giving_way(partial(self._form.check, answer))
        except Unfit:
            return unfit_answer()
        return None

    def _explain(self, error: BaseException) -> None:
        if isinstance(error, GraphDrained):
            self._end("incomplete", self._translator.steered(self._monitor.usage))
            self._stopped_between_steps = self._translator.status == "incomplete"
        elif self._monitor.refusal is not None:
            self._fail(self._monitor.refusal)
        elif self._monitor.spent is not None:
            self._cut(self._monitor.spent)
        elif self._monitor.cut_off is not None:
            self._cut_off(self._monitor.cut_off)
        elif isinstance(error, NotRun) and self._monitor.out_of_calls:
            # The graph runs its tools itself and does not return the error to its model.
            self._cut("tool_calls")
        elif isinstance(error, GraphRecursionError):
            self._cut("steps")
        else:
            self._fail(safe_error(error, model_error=self._monitor.model_error), cause=error)

    def _cut(self, budget: str) -> None:
        self._end("incomplete", self._translator.cut(budget, self._monitor.usage))
        # The caller has its end. Synchronous nodes that still run must not begin anything new.
        self._monitor.stop()

    def _is_stopped(self) -> bool:
        """Whether the terminal event was written. A full log ends the run here, even while its end is being written."""
        if self._events.full and not self._translator.ended:
            if self._ending:
                self._events.write(self._translator.cut("event_bytes", self._monitor.usage))
            else:
                self._cut("event_bytes")
        return self._translator.ended

    def _cut_off(self, ending: EarlyEnd) -> None:
        self._end("incomplete", self._translator.cut_off(ending, self._monitor.usage))

    async def _has_asked_to_go_on(self) -> bool:
        """Ask the user to go on, if the own limit of tokens is reached and the user may raise it. Later the graph goes
        on with the step that did not end, from its last checkpoint. Returns whether that is how the run ends."""
        refused, spending, recording = self._monitor.refusal, self._spending, self._recording
        if not isinstance(refused, LimitReached) or spending is None or recording is None or self._ending:
            return False
        if not refused.may_be_raised or spending.extra_tokens is None or recording.saver.unstorable:
            return False
        await self._wait_for_decision([question_to_go_on(refused, self.id, extra_tokens=spending.extra_tokens)])
        return True

    async def _wait_for_decision(self, interrupts: Sequence[PendingInterrupt]) -> None:
        if (error := self._why_not_answerable(interrupts)) is not None:
            # No error of the service: the caller is told what to change.
            logger.warning("run %s ends where its graph waits for a person (%s)", self.head.id, error.code)
            # A separate status, although the caller gets an error.
            self._fail(error, status="interrupted")
            return
        turn = self.request.turn
        answers = None if turn is None else turn.answers
        resumed = set() if answers is None else set(answers.resume)
        known = () if answers is None else [one for one in answers.waiting if one.interrupt not in resumed]
        approvals = approvals_of(interrupts, known=known, schema_of=partial(schema_in, self._graph))
        asked = self._translator.ask(approvals, self._monitor.usage)
        await self._end_gently("interrupted", asked)
        self._waits_for(self._translator.asked, unread=bool(self._then))

    def _waits_for(self, approvals: Sequence[Approval], *, unread: bool) -> None:
        self._waiting = Waiting(approvals=[one.fields() for one in approvals], unread=unread)

    def _why_not_answerable(self, interrupts: Sequence[PendingInterrupt]) -> AgentError | None:
        if self._recording is None:
            return ApprovalNeedsStore(
                "the graph waits for a person's decision, which needs a stored response: send the request to "
                "/responses or /v1/responses, without `store: false`"
            )
        if self._recording.saver.unstorable:
            return ApprovalNotResumable(
                "the graph waits for a person's decision, and its state holds a value that cannot be stored: keep that "
                "value out of the state"
            )
        if not interrupts:
            return ApprovalNotResumable(
                "the graph stopped at a breakpoint, which asks nothing: call `interrupt()` in a node instead"
            )
        if (name := without_checkpoints(self._graph, interrupts)) is not None:
            return ApprovalNotResumable(
                f"the graph {name!r} within the graph waits for a person's decision, and it was compiled with "
                "`checkpointer=False`: compile it without that argument"
            )
        return None

    def _fail(self, error: AgentError, *, cause: BaseException | None = None, status: Status = "failed") -> None:
        # The first end counts: a later error, such as that of the cancellation itself, must not replace it.
        if self._ending or self._is_given_away:
            return
        if isinstance(error, LeaseLost) and self.in_background:
            self.lose()
            return
        if isinstance(error, Unauthenticated) and self.in_background:
            # Its user's token has expired. The run waits until its user brings another one.
            self.give_away("parked")
            return
        if isinstance(error, StoreUnavailable) and self._may_wait_for_store:
            # The graph goes on from its last checkpoint when the store answers again.
            logger.warning("run %s waits for the store", self.head.id)
            self.give_away("queued")
            return
        self.failure = error
        if cause is not None:
            place = describe_error(cause)
            logger.error("run %s failed: %s: %s", self.head.id, error.code, place, extra=dev_traceback(cause))
        self._end(status, self._translator.fail(error, self._monitor.usage))

    def _end(self, status: Status, ending: Iterator[Event]) -> None:
        if self._begins_to_end(status):
            self._events.write(ending)
            self._has_ended()

    async def _end_gently(self, status: Status, ending: Iterator[Event]) -> None:
        if self._begins_to_end(status):
            try:
                await self._events.write_gently(ending, stopped=self._is_stopped)
            finally:
                # An end that has begun is written completely, even if the run is cancelled meanwhile.
                self._events.write_until(ending, stopped=self._is_stopped)
                self._has_ended()

    @property
    def _is_given_away(self) -> bool:
        return self._attempt is not None and self._attempt.fate is not None

    def _begins_to_end(self, status: Status) -> bool:
        if self._ending or self._is_given_away:
            return False
        if self._parts is not None:
            self._parts.flush()
            if self._ending:
                return False
        if self._steps is not None:
            self._steps.tell()
        self._ending = True
        self._status = status
        self._lifetime.end()
        return True

    def _has_ended(self) -> None:
        if self._translator.status == "incomplete":
            # The translator finds out only at the end that the model of the answer was cut off.
            self._status = "incomplete"
        self._let_record()
        if self._recording is None:
            self._log.end()

    def _let_record(self) -> None:
        """The record of the run, if it has one, may be finished."""
        if self._end_written is not None:
            self._end_written.set()

    def _close(self) -> None:
        """The graph has stopped, or never took a step."""
        if self._closed:
            return
        self._closed = True
        self._monitor.stop()
        if self._spending is not None:
            self._spending.close()
        self._lifetime.end()
        # Does nothing if the run has ended in another way.
        self._end("cancelled", self._translator.fail(RunCancelled("the run was cancelled"), self._monitor.usage))
        if self._recording is None:
            self._log.end()
            self._report()

    def _report(self) -> None:
        translator = self._translator
        self._observers.ended(
            Outcome(
                status=self._status,
                answer=translator.answer,
                output=translator.output,
                usage=self._monitor.usage,
                error=self.failure,
                first_text_at=self._log.first_text_at,
                model_seconds=self._monitor.times.models,
                search_seconds=self._monitor.times.searches,
                goes_on=self._is_given_away,
            )
        )

    # -- the record of a stored run -----------------------------------------------------------------------------

    async def _record(self, recording: Recording) -> None:
        """Wait for the end, commit the record, and only then send the terminal event."""
        error: AgentError | None = StoreUnavailable("the response could not be stored; the service's log has the place")
        if self._attempt is not None:
            await self._record_attempt(recording, self._attempt)
            return
        try:
            error = await self._committed(recording)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the readers must get an end
            logger.error("the record of run %s failed: %s", self.id, describe_error(problem))
        finally:
            self.succession = None
            try:
                self._send_end(error)
            finally:
                self._log.end()
                self._report()

    async def _record_attempt(self, recording: Recording, attempt: Attempt) -> None:
        """The same for a run which the store knows: its last events are committed with the record."""
        kept = attempt.kept
        try:
            await self._stopped()
            await kept.leave()
            if self._is_given_away:
                recording.lose()
                return
            # The terminal event must not be seen before it is committed.
            self._log.shows_at_once = False
            count, held = self._log.count, self._events.held
            self._events.release_end()

            def write_end_again() -> None:
                self._log.take_back(count)
                self._events.write(iter(held))

            while True:
                error = await self._finished(recording, held, kept.pending, changed=write_end_again)
                if not (isinstance(error, StoreUnavailable) and attempt.background):
                    break
                # Nothing else waits for this run, so it can wait for the database.
                await asyncio.sleep(RETRY_SECONDS)
            if error is None:
                kept.has(self._log.count)
            elif attempt.background:
                attempt.fate = "lost"
            else:
                self._log.take_back(count)
                self._status, self.failure = "failed", error
                self._events.write(self._translator.fail(error, self._monitor.usage))
                self._log.show(self._log.count)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the readers must get an end
            logger.error("the record of run %s failed: %s", self.id, describe_error(problem))
        finally:
            self.succession = None
            self._log.end()
            self._report()

    async def _stopped(self) -> None:
        assert self._end_written is not None
        assert self._task is not None
        await self._end_written.wait()
        # The graph writes its checkpoint when it stops. One that ignores its cancellation ends without a checkpoint.
        await asyncio.wait([self._task], timeout=FLUSH_SECONDS)

    async def _committed(self, recording: Recording) -> AgentError | None:
        await self._stopped()
        return await self._finished(recording, self._events.held, lambda: None)

    async def _finished(
        self,
        recording: Recording,
        held: Sequence[Event],
        events: Callable[[], EventBatch | None],
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> AgentError | None:
        """Record the end of the run. If it was steered, its successor begins in the same transaction.

        `held` is its terminal event. `changed` is called when that names a successor. `events` are the last events.
        """
        heir, leaves, fails = None, False, False
        while True:
            response = self._final_response()
            try:
                error = await recording.finish(
                    status=self._recorded_status(),
                    response=response,
                    messages=self._translator.message_ids,
                    waiting=self._waiting,
                    events=events(),
                    trace=self._observers.trace_id,
                    successor=None if heir is None else heir.successor,
                    leaves_steers=leaves,
                    fails_steers=fails,
                )
                if recording.given_back:
                    code = SUCCESSOR_FAILED if fails else ResponseNotActive.code
                    self._observers.gave_back(recording.given_back, code)
            except SteersQueued as queued:
                # Also those that were accepted since the last attempt.
                leaves = self._recorded_status() == "completed" and bool(required_input(response["output"]))
                heir = None if leaves else await self._heir(recording, response, queued.steers)
                fails = heir is None and not leaves
                for event in held:
                    name_successor(event, None if heir is None else heir.successor.new.id)
                changed()
                continue
            if heir is not None and error is None:
                await heir.begin()
            return error

    async def _heir(
        self, recording: Recording, response: Mapping[str, Any], steers: Sequence[StoredSteer]
    ) -> Heir | None:
        """The successor that takes these messages. `None`: none can begin."""
        checkpoint = recording.checkpoint(self._recorded_status())
        if self.succession is None or checkpoint is None:
            logger.warning("no response can follow %s, which was steered: its state is not stored", self.id)
            return None
        try:
            request = await next_request(
                self.request,
                response,
                steers,
                checkpoint=checkpoint,
                messages=self._translator.message_ids,
                goes_on=self._stopped_between_steps,
            )
            return await self.succession.heir(self, request)
        except AgentError as error:
            logger.warning("no response can follow %s, which was steered: %s", self.id, error.code)
        except Exception as error:  # noqa: BLE001 - the run must end
            logger.error("no response can follow %s, which was steered: %s", self.id, describe_error(error))
        return None

    def _send_end(self, error: AgentError | None) -> None:
        if error is None or self._recorded_status() not in ("completed", "incomplete"):
            self._events.release_end()
        else:
            self._status, self.failure = "failed", error
            self._events.release_end(self._translator.fail(error, self._monitor.usage))

    def _recorded_status(self) -> ResponseStatus:
        if self._status != "interrupted":
            return self._status
        return "completed" if self.failure is None else "failed"

    def _final_response(self) -> dict[str, Any]:
        if self._events.response is not None:
            return self._events.response
        # The frame that ends a failed stream of `/invocations` has no response object.
        error = self.failure or RunCancelled("the run was cancelled")
        return self._translator.failed(error, self._monitor.usage)


def _warnings_of(options: ModelOptions, client: ClientTools, dialect: Dialect) -> Sequence[str]:
    """What a response warns of at its end. A server without a list is an item, where clients know it."""
    missing = () if dialect.tool_items == "mcp_call" else client.missing.values()
    return [*options.warnings, *missing, *client.warnings] if client.servers else options.warnings


def unfit_answer() -> AnswerUnfit:
    """The error for an answer in another form."""
    return AnswerUnfit(
        "the answer does not have the form that `text.format` asks for: send the request again, or make the schema "
        "simpler"
    )


def head_of(request: RunRequest, name: str) -> ResponseHead:
    """The head of a new response of the graph `name`."""
    invocation = request.invocation
    head = ResponseHead(
        model=name,
        metadata=invocation.metadata,
        said=invocation.said,
        warnings=invocation.warnings,
        background=invocation.background,
        pending_usage=request.dialect.open_responses,
    )
    if request.turn is None or request.turn.repeats is not None:
        return head
    if request.connection is not None:
        return replace(head, previous=request.turn.continuation.parent)
    conversation = request.turn.continuation.conversation
    return replace(
        head,
        metadata={**head.metadata, "conversation_id": conversation},
        stored=StoredHead(
            conversation=conversation,
            previous=request.turn.continuation.parent,
            has_field=request.dialect.family == "openai",
        ),
    )
