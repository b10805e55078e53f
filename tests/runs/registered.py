"""Runs of a registry: graphs built in a test, started and read as HTTP does it."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from tests.runs.running import asking

from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import RESPONSES
from graph_agent.runs.event_log import Entry
from graph_agent.runs.registry import Reader, Runs
from graph_agent.runs.request import RunRequest
from graph_agent.settings import Budgets

ANN, BOB = Caller("ann"), Caller("bob")


class OneGraph:
    """Where graphs come from, if there is only one."""

    default = "agent"

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    async def get(self, name: str) -> Any:
        return self._graph

    def compaction_model(self, name: str) -> str | None:
        return None


def a_request(owner: Caller = ANN, **fields: Any) -> RunRequest:
    return RunRequest(invocation=asking(**fields), dialect=RESPONSES, owner=owner, accepted_at=time.time())


def some_runs(**options: Any) -> Runs:
    return Runs(**{"budgets": Budgets(seconds=30.0), "grace_seconds": 0.0} | options)


async def rest(reader: Reader | AsyncIterator[Sequence[Entry]]) -> list[Entry]:
    """All that follows, to the end."""
    return [entry async for batch in reader for entry in batch]


async def until(batches: AsyncIterator[Sequence[Entry]], kind: str) -> list[Entry]:
    """What comes up to and with the batch that has an event of that type."""
    seen: list[Entry] = []
    while not any(entry.type == kind for entry in seen):
        seen += await anext(batches)
    return seen


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Here you are.")]}
