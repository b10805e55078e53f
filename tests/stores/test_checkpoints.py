"""LangGraph's checkpoints in every store."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, Clock, Turns
from typing_extensions import TypedDict

from graph_agent.contract import AgentState, Source
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

SOURCE = Source(number=1, doc_uri="https://docs/a", chunk_id="a#1", title="A", text="Words.")


class Score(BaseModel):
    """A type of somebody else's graph."""

    points: int


class State(AgentState):
    score: Score


def answer(state: State) -> dict[str, Any]:
    asked = [one.text for one in state["messages"] if isinstance(one, HumanMessage)]
    return {"messages": [AIMessage(" ".join(asked))], "sources": [SOURCE], "score": Score(points=len(asked))}


def echo() -> Pregel[Any, Any, Any, Any]:
    return StateGraph(State).add_node("answer", answer).set_entry_point("answer").compile()


def at(thread: str, checkpoint: str | None = None) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, **({"checkpoint_id": checkpoint} if checkpoint else {})}}


async def ask(store: Store, text: str, config: RunnableConfig) -> tuple[list[AnyMessage], str]:
    """The messages after a run with a saver of its own, and the checkpoint at which it ended."""
    graph = echo().copy(update={"checkpointer": store.checkpointer()})
    await graph.ainvoke({"messages": [HumanMessage(text)]}, config, durability="exit")
    state = await graph.aget_state(at(config["configurable"]["thread_id"]))
    return state.values["messages"], state.config["configurable"]["checkpoint_id"]


async def test_a_run_continues_where_the_last_one_ended(store: Store) -> None:
    await ask(store, "one", at("t"))
    messages, _ = await ask(store, "two", at("t"))
    assert [one.text for one in messages] == ["one", "one", "two", "one two"]


async def test_a_run_can_continue_from_an_earlier_checkpoint(store: Store) -> None:
    _, first = await ask(store, "one", at("t"))
    _, second = await ask(store, "two", at("t", first))
    messages, fork = await ask(store, "three", at("t", first))
    assert [one.text for one in messages] == ["one", "one", "three", "one three"]
    graph = echo().copy(update={"checkpointer": store.checkpointer()})
    for checkpoint, last in ((second, "one two"), (fork, "one three"), (first, "one")):
        assert (await graph.aget_state(at("t", checkpoint))).values["messages"][-1].text == last
    history = [state.config["configurable"]["checkpoint_id"] async for state in graph.aget_state_history(at("t"))]
    assert {first, second, fork} <= set(history)


async def test_objects_of_this_package_are_made_again_without_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await ask(store, "one", at("t"))
        graph = echo().copy(update={"checkpointer": store.checkpointer()})
        values = (await graph.aget_state(at("t"))).values
    assert values["sources"] == [SOURCE]
    assert not [record for record in caplog.records if "graph_agent" in record.getMessage()]
    # LangGraph warns of the types of other people's graphs, and makes them again all the same.
    assert values["score"] == Score(points=1)


def extended(texts: list[str], added: Sequence[Sequence[str]]) -> list[str]:
    return [*texts, *(text for several in added for text in several)]


class Deltas(TypedDict):
    texts: Annotated[list[str], DeltaChannel(extended, snapshot_frequency=3)]


async def test_a_channel_that_stores_only_what_is_new_is_put_together_again(store: Store) -> None:
    def count(state: Deltas) -> dict[str, Any]:
        return {"texts": [f"{len(state['texts'])} before"]}

    builder = StateGraph(Deltas).add_node("count", count).set_entry_point("count")
    ends = []
    for number in range(8):
        graph = builder.compile().copy(update={"checkpointer": store.checkpointer()})
        await graph.ainvoke({"texts": [f"turn {number}"]}, at("t"), durability="exit")
        ends.append((await graph.aget_state(at("t"))).config["configurable"]["checkpoint_id"])
    graph = builder.compile().copy(update={"checkpointer": store.checkpointer()})
    for number, end in enumerate(ends):
        texts = (await graph.aget_state(at("t", end))).values["texts"]
        assert texts == [text for turn in range(number + 1) for text in (f"turn {turn}", f"{2 * turn + 1} before")]
    await graph.ainvoke({"texts": ["fork"]}, at("t", ends[1]), durability="exit")
    assert (await graph.aget_state(at("t"))).values["texts"][2:] == ["turn 1", "3 before", "fork", "5 before"]


async def test_what_a_step_wrote_before_another_one_failed_is_there_for_the_next_run(store: Store) -> None:
    place: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    saver = store.checkpointer()
    place = await saver.aput(place, empty_checkpoint(), {"source": "loop", "step": 1}, {})
    await saver.aput_writes(place, [("messages", AIMessage("good")), ("sources", [SOURCE])], "task 1")
    await saver.aput_writes(place, [("messages", AIMessage("once more"))], "task 1")
    found = await store.checkpointer().aget_tuple(place)
    assert found is not None
    assert found.pending_writes == [("task 1", "messages", AIMessage("good")), ("task 1", "sources", [SOURCE])]


@pytest.mark.parametrize("text", ["plain", "with \0 inside", "half a \ud83d pair", "\0 and \ud83d"])
async def test_a_channel_may_hold_any_text(store: Store, text: str) -> None:
    class Noted(TypedDict):
        note: str

    def keep(state: Noted) -> Noted:
        return state

    builder = StateGraph(Noted).add_node("keep", keep).set_entry_point("keep")
    graph = builder.compile(checkpointer=store.checkpointer())
    await graph.ainvoke({"note": text}, at("t"), durability="exit")
    # LangGraph's serializer replaces half of a pair, whichever the store.
    assert (await graph.aget_state(at("t"))).values == {"note": text.encode(errors="replace").decode()}


class Page(BaseModel):
    """A large value that knows the threads in which it was made."""

    text: str

    _made_in: ClassVar[set[str]] = set()

    def model_post_init(self, context: Any) -> None:
        self._made_in.add(threading.current_thread().name)


class Book(TypedDict):
    cover: Page
    pages: Annotated[list[Page], DeltaChannel(extended)]


@pytest.mark.filterwarnings("ignore")
async def test_large_values_are_not_read_on_the_event_loop(store: Store) -> None:
    def write(state: Book) -> dict[str, Any]:
        return {"pages": [Page(text="x" * 50_000)], "cover": Page(text="y" * 50_000)}

    graph = StateGraph(Book).add_node("write", write).set_entry_point("write").compile()
    graph = graph.copy(update={"checkpointer": store.checkpointer()})
    await graph.ainvoke({"pages": []}, at("t"), durability="exit")
    Page._made_in.clear()
    state = await graph.aget_state(at("t"))
    assert (len(state.values["pages"]), len(state.values["cover"].text)) == (1, 50_000)
    assert threading.current_thread().name not in Page._made_in


async def test_runs_of_many_threads_do_not_mix(store: Store) -> None:
    for text in ("one", "two", "three"):
        await asyncio.gather(*(ask(store, f"{text}{number}", at(f"t{number}")) for number in range(16)))
    graph = echo().copy(update={"checkpointer": store.checkpointer()})
    for number in range(16):
        state = await graph.aget_state(at(f"t{number}"))
        assert state.values["messages"][-1].text == f"one{number} two{number} three{number}"


async def test_a_graph_inside_a_synchronous_node_uses_the_saver_too(store: Store) -> None:
    inner = echo()

    def outer(state: State) -> dict[str, Any]:
        return {"messages": [inner.invoke({"messages": state["messages"]})["messages"][-1]]}

    graph = StateGraph(State).add_node("outer", outer).set_entry_point("outer").compile()
    graph = graph.copy(update={"checkpointer": store.checkpointer()})
    await graph.ainvoke({"messages": [HumanMessage("one")]}, at("t"), durability="sync")
    state = await asyncio.to_thread(graph.get_state, at("t"))
    assert state.values["messages"][-1].text == "one"
    assert await asyncio.to_thread(lambda: len(list(graph.get_state_history(at("t"))))) >= 2


async def test_checkpoints_go_with_the_last_response_of_their_conversation(store: Store, clock: Clock) -> None:
    turns, other = Turns(store, clock), Turns(store, clock, "other")
    await turns.turn("resp_1")
    await turns.turn("resp_2", after="resp_1")
    await other.turn("resp_3")
    for one in (turns, other):
        await ask(store, "one", at(one.thread))
    saver = store.checkpointer()
    await store.responses.delete(ANN, "resp_2")
    assert await saver.aget_tuple(at(turns.thread)) is not None
    await store.responses.delete(ANN, "resp_1")
    assert await saver.aget_tuple(at(turns.thread)) is None
    assert await saver.aget_tuple(at(other.thread)) is not None
    await store.responses.delete_conversation(ANN, "other")
    assert [one async for one in saver.alist(None)] == []


async def test_checkpoints_go_with_an_expired_conversation(store: Store, clock: Clock) -> None:
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    await ask(store, "one", at(turns.thread))
    assert await store.responses.expire(idle_since=clock()) == 1
    assert await store.checkpointer().aget_tuple(at(turns.thread)) is None


async def test_a_conversation_continues_on_the_next_day_in_another_process(store_of: StoreOf, clock: Clock) -> None:
    first = store_of()
    await first.open()
    turns = Turns(first, clock)
    _, checkpoint = await ask(first, "what is a lease", at(turns.thread))
    await turns.begin("resp_1")
    await turns.finish("resp_1", checkpoint=checkpoint)
    await first.aclose()
    clock.now += 86_400
    second = store_of()
    await second.open()
    known = await second.responses.get(ANN, "resp_1")
    messages, _ = await ask(second, "what did I ask before", at(known.thread, known.checkpoint))
    await second.aclose()
    assert messages[-1].text == "what is a lease what did I ask before"
