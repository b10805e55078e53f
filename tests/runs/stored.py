"""Conversations with a graph over a store, as requests start them."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from tests.runs.registered import ANN, OneGraph, rest, some_runs

from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.dialects import RESPONSES, Dialect
from graph_agent.protocol.events import Event
from graph_agent.protocol.requests import parse_request
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.run import Run
from graph_agent.stores.records import StoredResponse
from graph_agent.stores.sqlite_store import MemoryStore

SAID = "response.output_text.delta"


class OpenBook(MemoryStore):
    """A store whose checkpoints can be read as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.saver = InMemorySaver()

    def checkpointer(self, right: Any = None) -> Any:
        return self.saver

    @property
    def checkpoints(self) -> str:
        """Everything in all checkpoints, as text."""
        return repr((dict(self.saver.storage), dict(self.saver.writes), dict(self.saver.blobs)))


class Chat:
    """One person's conversation with a graph. Each turn follows the last one, unless it says what it follows."""

    def __init__(
        self, graph: Any, store: Any, *, runs: Runs | None = None, dialect: Dialect = RESPONSES, owner: Caller = ANN
    ) -> None:
        self.graph, self.store, self.runs = graph, store, runs or some_runs()
        self.dialect, self.owner = dialect, owner
        self.last: str | None = None

    def request(self, text: Any, *, after: str | None = None, **fields: Any) -> RunRequest:
        """A request that says `text`, after the last response or after another one."""
        body: dict[str, Any] = {"input": text, "stream": True, "store": True, **fields}
        if "conversation" not in fields and "context" not in fields and (after or self.last):
            body["previous_response_id"] = after or self.last
        invocation = parse_request(
            json.dumps(body).encode(),
            graphs=["agent"],
            stores=True,
            stored_by_default=self.dialect.stores,
            background_served=True,
        )
        return RunRequest(invocation=invocation, dialect=self.dialect, owner=self.owner, accepted_at=time.time())

    async def start(self, text: Any, **options: Any) -> Run:
        """Start the next turn."""
        request = self.request(text, **options)
        run = await self.runs.start(request, Scope(), graphs=OneGraph(self.graph), store=self.store)
        self.last = run.id
        return run

    async def say(self, text: Any, **options: Any) -> list[Event]:
        """The events of the next turn, to its end."""
        run = await self.start(text, **options)
        reader = self.runs.read(run)
        try:
            return [entry.event for entry in await rest(reader)]
        finally:
            await reader.leave()

    async def record(self, response_id: str | None = None) -> StoredResponse:
        """The record of a response, or of the last one."""
        stored: StoredResponse = await self.store.responses.get(Owner.of(self.owner), response_id or self.last or "")
        return stored

    async def state(self, response_id: str | None = None) -> Sequence[Any]:
        """The messages of the checkpoint after a response, or after the last one."""
        messages: Sequence[Any] = (await self.values(response_id))["messages"]
        return messages

    async def values(self, response_id: str | None = None) -> Mapping[str, Any]:
        """The values of that checkpoint."""
        record = await self.record(response_id)
        assert record.checkpoint is not None
        place = {"thread_id": record.thread, "checkpoint_ns": "", "checkpoint_id": record.checkpoint}
        graph = self.graph.copy(update={"checkpointer": self.store.checkpointer()})
        values: Mapping[str, Any] = (await graph.aget_state({"configurable": place})).values
        return values


def texts(events: list[Event]) -> list[str]:
    """The texts of the messages in the terminal event."""
    output = events[-1]["response"]["output"]
    return [item["content"][0]["text"] for item in output if item["type"] == "message"]
