"""Processes that share a store, as registries in one event loop."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from langgraph.graph import END, START, StateGraph
from tests.runs.registered import ANN, OneGraph
from tests.runs.stored import Chat

from graph_agent.app_context import AppContext
from graph_agent.contract import AgentState
from graph_agent.identity.owner import Owner
from graph_agent.protocol.logged_response import LoggedResponse
from graph_agent.runs.background import BackgroundLimits, Surroundings
from graph_agent.runs.compacting import Compaction
from graph_agent.runs.observers import LogFacts
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import Scope
from graph_agent.settings import Budgets, Settings
from graph_agent.testing import ScriptedChatModel

NODES = ("one", "two", "three")


class Nodes:
    """A graph of three nodes that count when they begin and end, and wait in one of them when they are told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.tool: Any = None
        """A tool that each node calls."""
        self.gates: dict[str, asyncio.Event] = {name: asyncio.Event() for name in NODES}
        """A node waits for its gate."""
        self.at: dict[str, asyncio.Event] = {name: asyncio.Event() for name in NODES}

        self.open()

    def open(self) -> None:
        """Open every gate."""
        for gate in self.gates.values():
            gate.set()

    def hold(self, name: str) -> None:
        """Let this node wait."""
        self.gates[name].clear()

    def graph(self) -> Any:
        graph: Any = StateGraph(AgentState)
        for name in NODES:
            graph.add_node(name, self._node(name))
        for before, after in zip((START, *NODES), (*NODES, END), strict=True):
            graph.add_edge(before, after)
        return graph.compile()

    def _node(self, name: str) -> Callable[..., Any]:
        async def node(state: AgentState) -> dict[str, Any]:
            said = await ScriptedChatModel(lambda messages: [f"This is {name}."]).ainvoke(state["messages"])
            if self.tool is not None:
                await self.tool.ainvoke({"text": name})
            self.at[name].set()
            await self.gates[name].wait()
            self.done.append(name)
            return {"messages": [said]}

        return node


def limits(**changes: Any) -> BackgroundLimits:
    return BackgroundLimits(
        **{"here": 8, "per_owner": 8, "in_all": 64, "queued": 100, "seconds": 60.0, "lease_seconds": 0.6} | changes
    )


class Process:
    """One process: a registry that runs what is queued in the store."""

    def __init__(
        self,
        store: Any,
        graph: Any,
        *,
        budgets: Budgets | None = None,
        compaction: Compaction | None = None,
        **changes: Any,
    ) -> None:
        async def opened() -> Any:
            return store

        self.store = store
        self.graphs = OneGraph(graph)
        self.runs = Runs(
            budgets=budgets or Budgets(seconds=30.0),
            grace_seconds=0.0,
            shares=True,
            background=limits(**changes),
            open_store=opened,
            compaction=compaction,
        )
        self.background = self.runs.background
        assert self.background is not None

    def begin(self) -> "Process":
        assert self.background is not None
        app = AppContext(Settings(), {})
        self.background.begin(Surroundings(app=app, graphs=self.graphs, observers=lambda: [LogFacts()]))
        return self

    async def submit(self, text: str, *, chat: Chat | None = None, graph: str | None = None, **fields: Any) -> str:
        """Queue a request. Returns the id of its response."""
        request = (chat or Chat(None, self.store)).request(text, background=True, **fields)
        if graph is not None:
            request = replace(request, invocation=replace(request.invocation, graph=graph))
        submission = await self.runs.submit(request, Scope(), graphs=self.graphs, store=self.store)
        return submission.id

    async def kill(self) -> None:
        """Stop as `kill -9` does: nothing is written any more."""
        background: Any = self.background
        for task in list(background._tasks):
            task.cancel()
        for run in background._active.values():
            run._attempt.fate = "lost"
            run._recording.lose()
            run._attempt.kept._left = True
            run._task.cancel()
        self.runs._journal._waiting.clear()
        await asyncio.gather(*(run._task for run in background._active.values()), return_exceptions=True)

    async def aclose(self) -> None:
        await self.runs.aclose()


async def record_when_ended(store: Any, response_id: str, *, seconds: float = 20.0, owner: Any = ANN) -> Any:
    """The record of a response, once its run has ended."""
    ends = time.monotonic() + seconds
    while True:
        record = await store.responses.get(Owner.of(owner), response_id)
        if record.status not in ("queued", "in_progress"):
            return record
        assert time.monotonic() < ends, "the run did not end"
        await asyncio.sleep(0.02)


async def events_of(store: Any, response_id: str, *, owner: Any = ANN) -> list[Any]:
    """The events that the store has."""
    import orjson

    found = await store.runs.events(Owner.of(owner), response_id, after=-1, most=100_000)
    return [orjson.loads(one) for one in found]


def check_log(events: list[Any], record: Any) -> None:
    """The numbers have no gap, there is one end, and what a reader makes of the events is the response."""
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    states = [(one["type"], one["response"]["status"]) for one in events if "response" in one]
    assert states[:-1] == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
    ]
    ends = [one for one in events if one["type"] in ("response.completed", "response.failed", "response.incomplete")]
    assert ends == events[-1:]
    logged = LoggedResponse.read(events)
    assert [one.item for one in logged.items.values()] == record.response["output"]
