"""Steps of a served graph tell a marked callback at once what they do, and all others hear what they always heard."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, MessagesState, StateGraph

from graph_agent.catalog.built_graphs import BuiltGraphs

pytestmark = pytest.mark.anyio


class Heard(BaseCallbackHandler):
    """A callback that notes what it hears of steps, with numbers instead of ids."""

    run_inline = True
    raise_error = True

    def __init__(self, *, at_once: bool, refuses: str = "") -> None:
        self.hears_steps_at_once = at_once
        self.refuses = refuses
        self.notes: list[Any] = []
        self._numbers: dict[UUID | None, int] = {None: 0}

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs["name"]
        if name == self.refuses:
            raise ConnectionRefusedError
        number = self._numbers[run_id] = len(self._numbers)
        # The place of a step has a random id.
        said = {key: value for key, value in (metadata or {}).items() if not key.endswith("checkpoint_ns")}
        self.notes.append(("begins", number, self._numbers[parent_run_id], name, tags, said, set(metadata or {})))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.notes.append(("ends", self._numbers[run_id], kwargs["tags"], type(outputs)))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.notes.append(("fails", self._numbers[run_id], kwargs["tags"], type(error)))


class OtherThings(BaseCallbackHandler):
    """A callback that hears nothing of steps."""

    run_inline = True
    ignore_chain = True


async def say(state: MessagesState) -> dict[str, Any]:
    said = await RunnableLambda(lambda text: f"{text}!").ainvoke("Done")
    return {"messages": [AIMessage(said)]}


def say_in_a_thread(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Done, too.")]}


async def fail(state: MessagesState) -> None:
    raise ZeroDivisionError


def of_nodes(*nodes: Any) -> Any:
    """A graph of these nodes, with a router behind each, and in a graph."""
    inner = StateGraph(MessagesState)
    for number, node in enumerate(nodes):
        inner.add_node(str(number), node, metadata={"lc_versions": {"one": "1"}})
        there = str(number + 1) if number + 1 < len(nodes) else END
        inner.add_conditional_edges(str(number), lambda state, there=there: there, [there])
    inner.add_edge(START, "0")
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner.compile())
    outer.add_node("last", say)
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "last")
    return outer.compile()


async def run(graph: Any, *callbacks: BaseCallbackHandler) -> int:
    """Run the graph as it is served. Returns how many tasks that needs."""
    served = await BuiltGraphs({"one": graph}).get("one")
    loop, count = asyncio.get_running_loop(), 0

    def made(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **named: Any) -> asyncio.Task[Any]:
        nonlocal count
        count += 1
        return asyncio.Task(coroutine, loop=loop, **named)

    loop.set_task_factory(made)  # type: ignore[arg-type]
    try:
        await served.ainvoke({"messages": ["Hello?"]}, {"callbacks": list(callbacks), "tags": ["mine"]})
    finally:
        loop.set_task_factory(None)
    return count


@pytest.mark.parametrize("others", [[], [OtherThings()]], ids=["alone", "with others"])
async def test_a_marked_callback_hears_the_same_as_any_other_and_needs_fewer_tasks(
    others: list[BaseCallbackHandler],
) -> None:
    marked, plain = Heard(at_once=True), Heard(at_once=False)
    fewer = await run(of_nodes(say, say_in_a_thread), marked, *others)
    more = await run(of_nodes(say, say_in_a_thread), plain, *others)
    assert len(plain.notes) > 10
    assert marked.notes == plain.notes
    assert fewer < more


async def test_a_marked_callback_hears_the_same_of_a_failure() -> None:
    marked, plain = Heard(at_once=True), Heard(at_once=False)
    for callback in (marked, plain):
        with pytest.raises(ZeroDivisionError):
            await run(of_nodes(say, fail), callback)
    assert any(kind == "fails" for kind, *_ in plain.notes)
    assert marked.notes == plain.notes


async def test_a_marked_callback_ends_the_run_with_what_it_raises() -> None:
    for callback in (Heard(at_once=True, refuses="1"), Heard(at_once=False, refuses="1")):
        with pytest.raises(ConnectionRefusedError):
            await run(of_nodes(say, say), callback)


async def test_two_callbacks_hear_the_same_if_one_of_them_is_marked() -> None:
    marked, plain = Heard(at_once=True), Heard(at_once=False)
    await run(of_nodes(say, say_in_a_thread), marked, plain)
    assert len(plain.notes) > 10
    assert marked.notes == plain.notes
