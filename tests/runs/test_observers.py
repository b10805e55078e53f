"""Observers of a run: each is told once how it starts and how it ends, and none can hurt it or another."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from tests.graphs.scripted import says
from tests.runs.registered import OneGraph, a_request, some_runs
from tests.runs.running import chain, speaking

from graph_agent.runs.ledger import Ledger
from graph_agent.runs.observers import LogFacts, Outcome, RunInfo
from graph_agent.runs.request import Scope
from graph_agent.settings import Limits
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio


class Tokens(BaseCallbackHandler):
    """Counts tokens; or raises at the first, and says that this should end the run."""

    run_inline = True

    def __init__(self, *, raises: bool) -> None:
        self.count = 0
        self.raise_error = raises

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.count += 1
        if self.raise_error or self.count < 0:
            raise ValueError("hunter2")


class Observer:
    """Notes what it is told, and raises where it is asked to."""

    def __init__(self, *raises: str) -> None:
        self._raises = raises
        self.told: list[Any] = []
        self.tokens = Tokens(raises="tokens" in raises)

    @property
    def handler(self) -> Tokens:
        self._maybe_raise("handler")
        return self.tokens

    def started(self, run: RunInfo) -> None:
        self.told.append(run)
        self._maybe_raise("started")

    def ended(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        self._maybe_raise("ended")

    def _maybe_raise(self, where: str) -> None:
        if where in self._raises:
            raise ValueError("hunter2")


@pytest.mark.parametrize("where", ["started", "handler", "ended", "tokens"])
async def test_an_observer_that_raises_hurts_neither_the_run_nor_the_others(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, bad, after = Observer(), Observer(where), Observer()
    graph = chain(speaking(says(["a ", "b ", "c"])))
    with anyio.fail_after(20), caplog.at_level(logging.INFO, logger="graph_agent"):
        run = await some_runs().start(a_request(), Scope(), graphs=OneGraph(graph), observers=[before, bad, after])
        response = await run.reply()
        await run.ended()
    assert response["status"] == "completed"
    for good in (before, after):
        info, outcome = good.told
        assert (info.id, info.graph, info.request.owner.user) == (run.id, "agent", "ann")
        assert (outcome.status, outcome.answer, outcome.error) == ("completed", "a b c", None)
        assert [item["type"] for item in outcome.output] == ["message"]
        assert good.tokens.count >= 3
    assert "hunter2" not in caplog.text
    lines = [line for line in caplog.messages if f"an observer of run {run.id} failed: ValueError" in line]
    assert len(lines) == (where != "tokens")


async def test_who_could_not_start_is_not_told_of_the_end() -> None:
    observer = Observer("started")
    run = await some_runs().start(
        a_request(), Scope(), graphs=OneGraph(chain(speaking(says("Hi.")))), observers=[observer]
    )
    with anyio.fail_after(20):
        await run.ended()
    assert len(observer.told) == 1


async def test_a_run_cancelled_before_its_first_step_ends_its_log_and_tells_its_observers() -> None:
    observer = Observer()
    run = await some_runs().start(
        a_request(), Scope(), graphs=OneGraph(chain(speaking(says("Hi.")))), observers=[observer]
    )
    with anyio.fail_after(20):
        await run.aclose()
        events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    assert [event["type"] for event in events[:1] + events[-2:]] == ["response.created", "error", "response.failed"]
    assert [one.status for one in observer.told[1:]] == ["cancelled"]


async def test_the_log_lines_of_a_request_know_its_run() -> None:
    facts: dict[str, Any] = {}
    run = await some_runs().start(
        a_request(),
        Scope(facts=facts),
        graphs=OneGraph(chain(speaking(says("Hi.")))),
        observers=[LogFacts(trace_id=lambda: "tr-1")],
    )
    known = {"graph": "agent", "user": "ann", "run_id": run.id, "trace_id": "tr-1", "request_id": run.id}
    assert facts == known
    with anyio.fail_after(20):
        await run.ended()
    assert facts == {**known, "end": "completed", "input_tokens": 7, "output_tokens": 3}


class ToldByMonitor(BaseCallbackHandler):
    """Notes what models do, and raises at the end of a call if it is asked to."""

    run_inline = True
    told_by_monitor = False

    def __init__(self, *, raises: bool) -> None:
        self.said: list[str] = []
        self._raises = raises

    @property
    def ignore_llm(self) -> bool:
        return self.told_by_monitor

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.said.append(token)

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.said.append("(end)")
        if self._raises:
            raise ValueError("hunter2")


@pytest.mark.parametrize("raises", [False, True])
async def test_a_callback_that_the_monitor_tells_hears_each_token_once_and_cannot_hurt_the_run(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Observer()
    observer.tokens = heard = ToldByMonitor(raises=raises)  # type: ignore[assignment]
    graph = chain(speaking(says(["a ", "b ", "c"])))
    with anyio.fail_after(20):
        run = await some_runs().start(a_request(), Scope(), graphs=OneGraph(graph), observers=[observer])
        response = await run.reply()
        await run.ended()
    assert response["status"] == "completed"
    assert [one for one in heard.said if one] == ["a ", "b ", "c", "(end)"]
    assert "hunter2" not in caplog.text
    assert ("a callback of the run failed at on_llm_end: ValueError" in caplog.text) == raises


HEARD = tuple(
    f"on_{what}"
    for what in (
        *("chain_start", "chain_end", "chain_error", "chat_model_start", "llm_end", "llm_error"),
        *("tool_start", "tool_end", "tool_error", "retriever_start", "retriever_end", "retriever_error"),
    )
)


class Hearing(BaseCallbackHandler):
    """Notes which of its methods are called, for which step, and with what."""

    run_inline = True

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []


def noting(method: str) -> Callable[..., None]:
    def note(self: Hearing, *given: Any, run_id: UUID, parent_run_id: UUID | None = None, **named: Any) -> None:
        self.heard.append((method, run_id, parent_run_id, named.get("name"), *given))

    return note


for method in HEARD:
    setattr(Hearing, method, noting(method))


class Told(Hearing):
    told_by_monitor = False


class Search(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        if query == "broken":
            raise ValueError("hunter2")
        return [Document("A stone.")]


@tool
def search(query: str) -> str:
    """Search."""
    return Search().invoke(query)[0].page_content


async def fail(state: MessagesState) -> None:
    raise ConnectionError("hunter2")


@pytest.mark.parametrize(
    ("tokens_per_day", "heard"),
    [(None, {*HEARD} - {"on_llm_error"}), (1_000_000, {*HEARD} - {"on_llm_error"}), (1, {*HEARD[:3]} - {HEARD[1]})],
    ids=["without limits", "with limits", "refused"],
)
async def test_a_callback_that_the_monitor_tells_hears_what_langchain_tells_another(
    tokens_per_day: int | None, heard: set[str], store: MemoryStore
) -> None:
    observers = [Observer(), Observer()]
    observers[0].tokens, observers[1].tokens = told, other = Told(), Hearing()  # type: ignore[assignment]
    model = says([Call("search", {"query": "a"})], [Call("search", {"query": "broken"})], "It failed.")
    builder = StateGraph(MessagesState)
    builder.add_node("planner", speaking(model, "planner"))
    builder.add_node("tools", ToolNode([search], handle_tool_errors=True))
    builder.add_node("fail", fail)
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", lambda state: "tools" if state["messages"][-1].tool_calls else "fail")
    builder.add_edge("tools", "planner")

    async def opened() -> MemoryStore:
        return store

    limits = None if tokens_per_day is None else Limits(user_tokens_per_day=tokens_per_day)
    ledger = None if limits is None else Ledger(opened, limits=limits, usage_days=400)
    with anyio.fail_after(20):
        runs = some_runs(ledger=ledger)
        run = await runs.start(a_request(), Scope(), graphs=OneGraph(builder.compile()), observers=observers)
        await run.ended()
    if ledger is not None:
        await ledger.aclose()
    assert {method for method, *_ in other.heard} == heard
    assert told.heard == other.heard
