"""What follows a run that was steered: the request of its successor, and how that one begins.

The store begins the successor in the transaction that ends the run. So the messages are taken exactly once, whenever a
process dies. Imports LangChain.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.messages import messages_of
from graph_agent.protocol.reconcile import texts_with
from graph_agent.protocol.tool_list_items import listed_before
from graph_agent.runs.continuing import unfinished_texts
from graph_agent.runs.gently import run_gently
from graph_agent.runs.request import RunRequest, Turn
from graph_agent.stores.records import Continuation, NewResponse, Successor
from graph_agent.stores.run_records import NewRun
from graph_agent.stores.steer_records import StoredSteer

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from graph_agent.protocol.events import ResponseHead
    from graph_agent.protocol.fingerprints import Texts
    from graph_agent.protocol.json_decoding import Pulse


class Heir(Protocol):
    """A successor that the store may begin."""

    @property
    def successor(self) -> Successor:
        """What the store is told."""

    async def begin(self) -> None:
        """The store has begun it: run it, or let somebody run it. Raises nothing."""


class Steered(Protocol):
    """A run that is followed by another one."""

    graph: Any
    """Its graph."""

    head: "ResponseHead"
    """The head of its response."""

    heir: Any
    """The run that follows it in this process, once that has begun."""


class Succession(Protocol):
    """How the successor of one run begins."""

    async def heir(self, run: Steered, request: RunRequest) -> Heir:
        """A successor with this request.

        Raises:
            AgentError: none can begin.
        """


async def next_request(
    request: RunRequest,
    response: Mapping[str, Any],
    steers: Sequence[StoredSteer],
    *,
    checkpoint: str,
    messages: Mapping[str, str],
    goes_on: bool,
) -> RunRequest:
    """The request of the successor of a run: with its settings, and with the messages of `steers`.

    `request` and `response` are those of the run, `checkpoint` is its last one, and `messages` says which message of
    the graph's state each of its items is. With `goes_on`, the graph was stopped between two steps, and goes on there.
    Otherwise it has ended, and begins again.
    """
    turn, invocation = request.turn, request.invocation
    assert turn is not None, "only the run of a stored response is steered"
    items: list[Item] = [dict(item) for steer in steers for item in steer.input]
    output: Sequence[Item] = response["output"]

    def read(pulse: "Pulse") -> "tuple[list[BaseMessage], Texts]":
        texts = texts_with(texts_with(turn.texts, output, pulse=pulse), items, pulse=pulse)
        labels = [one.label for one in invocation.servers]
        return messages_of(items, servers=labels, pulse=pulse), texts

    said, texts = await run_gently(read, [*output, *items])
    begun = Turn(
        continuation=Continuation(
            conversation=turn.continuation.conversation,
            thread=turn.continuation.thread,
            parent=response["id"],
            checkpoint=checkpoint,
        ),
        items=items,
        texts=texts,
        # A graph that was stopped between two steps has returned all that it said.
        unfinished={} if goes_on else unfinished_texts(response["status"], output, messages),
        goes_on=goes_on,
        steers=tuple(steer.id for steer in steers),
    )
    # A choice that forces a call is for the first step of a graph.
    forced = goes_on and invocation.tool_choice not in ("auto", "none")
    servers = tuple(replace(one, must=None) for one in invocation.servers) if goes_on else invocation.servers
    told = {*invocation.listed, *listed_before(servers, output)}
    return replace(
        request,
        invocation=replace(
            invocation,
            messages=said,
            items=(),
            # Its events can be read by whoever comes, and nobody waits for it.
            mode="stream",
            awaited=False,
            return_trace=False,
            previous_response_id=response["id"],
            conversation=None,
            thread=None,
            from_beginning=False,
            tool_choice="auto" if forced else invocation.tool_choice,
            servers=servers,
            listed=tuple(one.label for one in servers if one.label in told),
            # A graph that goes on has read its history.
            compact_threshold=None if goes_on else invocation.compact_threshold,
            digest=None,
        ),
        accepted_at=time.time(),
        turn=begun,
        key=None,
        digest=None,
    )


def new_response(head: "ResponseHead", request: RunRequest, run: NewRun | None) -> NewResponse:
    """What a store is told of a response that begins."""
    turn = request.turn
    assert turn is not None, "only a request with a turn is recorded"
    return NewResponse(
        id=head.id,
        continuation=turn.continuation,
        graph=head.model,
        family=request.dialect.family,
        # Finer than the whole seconds of the response object, because lists are sorted by it.
        created_at=time.time(),
        input=turn.items,
        title=turn.title,
        decisions=() if turn.answers is None else turn.answers.given,
        run=run,
        steers=turn.steers,
    )
