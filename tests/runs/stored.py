"""Stored runs: a small store in memory, and turns of a conversation as the planner of turns makes them."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from tests.runs.registered import ANN, OneGraph, rest, some_runs
from tests.runs.running import asking

from graph_agent.errors import ConversationBusy, LeaseLost, ResponseNotFound
from graph_agent.identity.owner import Owner
from graph_agent.protocol.dialects import RESPONSES, Dialect
from graph_agent.protocol.events import Event
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope, Turn
from graph_agent.runs.run import Run
from graph_agent.stores.records import Continuation, EndedResponse, NewResponse


@dataclass
class Record:
    """One response of the fake store."""

    owner: Owner
    new: NewResponse
    busy_until: float
    ended: EndedResponse | None = None


class FakeResponses:
    """The part of a `ResponseStore` that runs use."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.calls: list[str] = []

    async def begin(self, owner: Owner, new: NewResponse, *, busy_until: float) -> None:
        self.calls.append("begin")
        for one in self.records.values():
            if one.new.continuation.thread == new.continuation.thread and one.ended is None:
                if one.busy_until > time.time():
                    raise ConversationBusy("another run is in progress", running=one.new.id)
                one.ended = EndedResponse(status="failed", response={}, checkpoint=None)
        self.records[new.id] = Record(owner, new, busy_until)

    async def finish(self, owner: Owner, response_id: str, ended: EndedResponse) -> None:
        self.calls.append("finish")
        record = self._of(owner, response_id)
        if record.ended is not None:
            raise LeaseLost("lost")
        record.ended = ended

    async def renew(self, response_ids: Collection[str], *, busy_until: float) -> Collection[str]:
        self.calls.append("renew")
        lost = [one for one in response_ids if self.records[one].ended is not None]
        for one in response_ids:
            self.records[one].busy_until = busy_until
        return lost

    async def delete(self, owner: Owner, response_id: str) -> None:
        self._of(owner, response_id)
        del self.records[response_id]

    def _of(self, owner: Owner, response_id: str) -> Record:
        record = self.records.get(response_id)
        if record is None or record.owner != owner:
            raise ResponseNotFound("no such response")
        return record


class FakeStore:
    """A store in memory. `responses` and `saver` may be replaced by ones that fail."""

    def __init__(self, responses: Any = None, saver: Any = None) -> None:
        self.responses = responses or FakeResponses()
        self.saver = saver or InMemorySaver()

    def checkpointer(self) -> Any:
        return self.saver

    async def open(self) -> None: ...

    async def aclose(self) -> None: ...


class Chat:
    """One conversation with a graph. Each turn follows the last one, or the response that is named."""

    def __init__(
        self,
        graph: Any,
        *,
        store: FakeStore | None = None,
        runs: Runs | None = None,
        dialect: Dialect = RESPONSES,
        name: str = "conv_1",
    ) -> None:
        self.graph, self.store, self.runs = graph, store or FakeStore(), runs or some_runs()
        self.dialect, self.name = dialect, name
        self.last: str | None = None

    def request(self, text: str, *, after: str | None = None, fresh: bool = False, **fields: Any) -> RunRequest:
        """A request for the next turn, after the last response, after `after`, or at the root."""
        parent = None if fresh else after or self.last
        item = {"id": f"msg_{len(self.store.responses.records)}", "type": "message", "role": "user", "content": text}
        turn = Turn(
            continuation=Continuation(
                conversation=self.name,
                thread=f"thread-of-{self.name}",
                parent=parent,
                checkpoint=self._checkpoint(parent),
                is_new=not self.store.responses.records,
            ),
            items=[item],
        )
        invocation = replace(asking(text, **fields), stored=True, items=[item])
        return RunRequest(invocation=invocation, dialect=self.dialect, owner=ANN, accepted_at=time.time(), turn=turn)

    def _checkpoint(self, response_id: str | None) -> str | None:
        while response_id is not None:
            record = self.store.responses.records[response_id]
            if record.ended is not None and record.ended.checkpoint is not None:
                return str(record.ended.checkpoint)
            response_id = record.new.continuation.parent
        return None

    async def start(self, text: str, **options: Any) -> Run:
        """Start the next turn."""
        run = await self.runs.start(
            self.request(text, **options), Scope(), graphs=OneGraph(self.graph), store=self.store
        )
        self.last = run.id
        return run

    async def say(self, text: str, **options: Any) -> list[Event]:
        """The events of the next turn, to its end."""
        run = await self.start(text, **options)
        return [entry.event for entry in await rest(self.runs.read(run))]

    def record(self, response_id: str | None = None) -> Record:
        """The record of a response, or of the last one."""
        record: Record = self.store.responses.records[response_id or self.last or ""]
        return record

    async def state(self, response_id: str | None = None) -> Sequence[Any]:
        """The messages of the checkpoint after a response, or after the last one."""
        values = await self.values(response_id)
        messages: Sequence[Any] = values["messages"]
        return messages

    async def values(self, response_id: str | None = None) -> Mapping[str, Any]:
        """The values of that checkpoint."""
        ended = self.record(response_id).ended
        assert ended is not None
        assert ended.checkpoint is not None
        place = {"thread_id": f"thread-of-{self.name}", "checkpoint_ns": "", "checkpoint_id": ended.checkpoint}
        graph = self.graph.copy(update={"checkpointer": self.store.checkpointer()})
        values: Mapping[str, Any] = (await graph.aget_state({"configurable": place})).values
        return values
