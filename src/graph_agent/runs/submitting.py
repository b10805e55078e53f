"""Puts a request into the queue of background runs. Imports LangChain."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graph_agent.errors import UnsupportedField
from graph_agent.identity.owner import Owner
from graph_agent.runs.client_tools import (
    client_tools_of,
    require_form_taken,
    require_probabilities_taken,
    require_tools_taken,
)
from graph_agent.runs.graph_context import fill_context
from graph_agent.runs.inner_graphs import one_without_checkpoints
from graph_agent.runs.queued_run import queued_run
from graph_agent.runs.request import RunRequest
from graph_agent.runs.run import head_of
from graph_agent.runs.succession import new_response
from graph_agent.stores.run_records import FOREVER

if TYPE_CHECKING:
    from graph_agent.runs.background import BackgroundLimits
    from graph_agent.runs.leases import Leases
    from graph_agent.runs.recent_messages import RecentMessages
    from graph_agent.stores.schedule_records import Tick
    from graph_agent.stores.store import Store
    from graph_agent.stores.usage_records import Standing


class Submission:
    """One request that any process may run.

    Raises:
        InvalidRequest: `custom_inputs` does not fit the graph's context, or a tool has the name of one of the graph's.
        UnsupportedField: the graph cannot be resumed, or takes no tools.
    """

    def __init__(
        self,
        request: RunRequest,
        graph: Any,
        *,
        name: str,
        process: str,
        limits: "BackgroundLimits",
        needs_token: bool,
        tick: "Tick | None" = None,
        standing: "Standing | None" = None,
    ) -> None:
        client = client_tools_of(request.invocation)
        require_tools_taken(graph, client)
        require_form_taken(graph, request.invocation.answer_form)
        require_probabilities_taken(graph, request.invocation)
        fill_context(
            graph.context_schema,
            caller=request.owner,
            thread=request.conversation,
            custom_inputs=request.invocation.custom_inputs,
            client=client,
            answer_form=request.invocation.answer_form,
        )
        if (inner := one_without_checkpoints(graph)) is not None:
            raise UnsupportedField(
                f"`background` is not supported by this graph: the graph {inner!r} within it was compiled with "
                "`checkpointer=False`, so it could not be resumed. Compile it without that argument.",
                param="background",
            )
        self.request = request
        self.head = head_of(request, name)
        self._process, self._limits, self._needs_token = process, limits, needs_token
        self._tick = tick
        self.standing = standing
        """What was left for its user when the request came."""

    @property
    def id(self) -> str:
        """The id of the response."""
        repeats = None if self.request.turn is None else self.request.turn.repeats
        return self.head.id if repeats is None else repeats.id

    @property
    def response(self) -> Mapping[str, Any]:
        """The response object, for the answer to the request."""
        repeats = None if self.request.turn is None else self.request.turn.repeats
        return self.head.response("queued") if repeats is None else repeats.response or {}

    async def record_in(
        self, store: "Store", leases: "Leases", recent: "RecentMessages | None" = None, *, tracked: object | None = None
    ) -> None:
        """Record the response and put its run into the queue, in one transaction.

        Raises:
            ConversationBusy: another run of the conversation is in progress.
            TooManyRuns: the queue is full.
            TickTaken, EarlierRunGoesOn: no run begins at this time of its schedule.
            ResponseNotFound: the previous response was deleted meanwhile.
            StoreUnavailable: the database does not answer.
        """
        run = await queued_run(
            self.request,
            self.head,
            process=self._process,
            needs_token=self._needs_token,
            seconds=self._limits.seconds,
            most_queued=self._limits.queued,
            tick=self._tick,
        )
        new = new_response(self.head, self.request, run)
        # Whether the caller still waits does not matter from here on.
        await asyncio.shield(store.responses.begin(Owner.of(self.request.owner), new, busy_until=FOREVER))
