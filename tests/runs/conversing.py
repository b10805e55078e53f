"""Turns of conversations on a real store, with the graph left out: each response is what the test says it is."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from graph_agent.identity.owner import Owner
from graph_agent.protocol.messages import to_messages
from graph_agent.protocol.messages_from_items import NO_RESULT
from graph_agent.protocol.reconcile import fingerprints_after
from graph_agent.protocol.requests import Invocation, parse_request
from graph_agent.runs.continuing import Continuing
from graph_agent.runs.request import Turn
from graph_agent.stores.records import EndedResponse, NewResponse, Page, ResponseStatus, StoredResponse
from graph_agent.stores.sqlite_store import MemoryStore

Item = dict[str, Any]

ANN, BOB = Owner("local:ann"), Owner("local:bob")

_numbers = count(1)


def user(text: str, **fields: Any) -> Item:
    return {"type": "message", "role": "user", "content": text, **fields}


def says(text: str, **fields: Any) -> Item:
    """A message as a response returns it."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": f"msg_{next(_numbers)}",
        "status": "completed",
        "role": "assistant",
        "content": [part],
        **fields,
    }


def call(name: str, arguments: str = "{}") -> Item:
    number = next(_numbers)
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def result(call: Item, output: str = "done") -> Item:
    return {
        "type": "function_call_output",
        "id": f"fco_{next(_numbers)}",
        "call_id": call["call_id"],
        "output": output,
        "status": "completed",
    }


def mcp_call(name: str, arguments: str = "{}", output: str = "done") -> Item:
    return {
        "type": "mcp_call",
        "id": f"mcp_{next(_numbers)}",
        "name": name,
        "arguments": arguments,
        "server_label": "g",
        "output": output,
        "error": None,
        "status": "completed",
        "approval_request_id": None,
    }


def thinks(text: str) -> Item:
    return {
        "type": "reasoning",
        "id": f"rs_{next(_numbers)}",
        "summary": [{"type": "summary_text", "text": text}],
    }


def invocation_of(items: str | Sequence[Item], **fields: Any) -> Invocation:
    body = json.dumps({"input": items, **fields}).encode()
    return parse_request(body, graphs=["g", "other"], stores=True, stored_by_default=True)


class Conversing:
    """Plans each request, and records its response as a run does."""

    def __init__(self, store: MemoryStore) -> None:
        self.responses = store.responses
        self.continuing = Continuing(store.responses)
        self.states: dict[str, list[tuple[str, Any]]] = {}
        """The messages in each checkpoint."""
        self.turns: dict[str, Turn] = {}

    async def plan(
        self,
        items: str | Sequence[Item],
        *,
        owner: Owner = ANN,
        graph: str = "g",
        recognize: bool = True,
        **fields: Any,
    ) -> tuple[Invocation, Turn]:
        return await self.continuing.plan(owner, invocation_of(items, **fields), graph=graph, recognize=recognize)

    async def begin(self, turn: Turn, *, owner: Owner = ANN, graph: str = "g") -> str:
        new = NewResponse(
            id=f"resp_{next(_numbers)}",
            continuation=turn.continuation,
            graph=graph,
            family="openai",
            created_at=time.time(),
            input=turn.items,
            title=turn.title,
        )
        await self.responses.begin(owner, new, busy_until=time.time() + 100)
        self.turns[new.id] = turn
        return new.id

    async def ask(
        self,
        items: str | Sequence[Item],
        output: Sequence[Item] = (),
        *,
        owner: Owner = ANN,
        graph: str = "g",
        status: ResponseStatus = "completed",
        reaches_checkpoint: bool = True,
        **fields: Any,
    ) -> StoredResponse:
        """Send a request. Its response has this output."""
        invocation, turn = await self.plan(items, owner=owner, graph=graph, **fields)
        id_ = await self.begin(turn, owner=owner, graph=graph)
        checkpoint = None
        if reaches_checkpoint:
            checkpoint = f"checkpoint-{id_}"
            before = self.states[turn.continuation.checkpoint] if turn.continuation.checkpoint else []
            answer = [one for one in said(to_messages(output)) if one[1] != NO_RESULT]
            self.states[checkpoint] = [*before, *said(invocation.messages), *answer]
        ended = EndedResponse(
            status=status,
            response={"id": id_, "object": "response", "status": status, "output": list(output)},
            checkpoint=checkpoint,
            fingerprints=fingerprints_after(turn.texts, output),
        )
        await self.responses.finish(owner, id_, ended)
        return await self.responses.get(owner, id_)

    def state_of(self, response: StoredResponse) -> list[tuple[str, Any]]:
        """The messages that the graph's state holds after a response."""
        assert response.checkpoint is not None
        return self.states[response.checkpoint]

    async def conversations(self, owner: Owner = ANN) -> int:
        return len((await self.responses.conversations(owner, Page(limit=100)))[0])


@asynccontextmanager
async def conversing() -> AsyncIterator[Conversing]:
    store = MemoryStore()
    await store.open()
    try:
        yield Conversing(store)
    finally:
        await store.aclose()


def said(messages: Sequence[Any]) -> list[tuple[str, Any]]:
    """What each message says, and which tools it calls."""
    return [
        (message.type, message.content or [one["name"] for one in getattr(message, "tool_calls", [])])
        for message in messages
    ]
