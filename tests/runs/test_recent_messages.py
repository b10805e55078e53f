"""The messages of the last turns are kept in memory, and are those that the store has."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Overwrite
from tests.runs.running import chain
from tests.runs.stored import Chat, OpenBook

from graph_agent import AgentState
from graph_agent.runs.recent_messages import MESSAGE_BYTES, RecentMessages
from graph_agent.stores.sqlite_store import MemoryStore

pytestmark = pytest.mark.anyio


class CountingSaver(InMemorySaver):
    """Counts how often a history is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def aget_delta_channel_history(self, **options: Any) -> Any:
        self.read += 1
        return await super().aget_delta_channel_history(**options)


async def answer(state: AgentState) -> dict[str, Any]:
    said = state["messages"][-1].text
    if said == "forget":
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("Forgotten.")]}
    if said == "forget more":
        return {"messages": Overwrite([AIMessage("All forgotten.")])}
    if said == "fail":
        raise RuntimeError
    # What the model would see.
    return {"messages": [AIMessage(" ".join(one.text for one in state["messages"]))]}


async def again(state: AgentState) -> dict[str, Any]:
    last = state["messages"][-1]
    return {"messages": [last.model_copy(update={"content": f"<{last.text}>"}), {"role": "assistant", "content": "."}]}


def fresh(chat: Chat) -> Chat:
    """The same conversation in another process."""
    other = Chat(chat.graph, chat.store)
    other.last = chat.last
    return other


async def seen(chat: Chat, said: str, **options: Any) -> Sequence[str]:
    await chat.say(said, **options)
    return [one.text for one in await chat.state()]


async def test_the_next_turn_does_not_read_the_history_again(open_book: OpenBook) -> None:
    open_book.saver = saver = CountingSaver()
    chat = Chat(chain(answer, state=AgentState), open_book)
    with anyio.fail_after(20):
        for number in range(4):
            await chat.say(str(number))
        assert saver.read == 0
        await fresh(chat).say("elsewhere")
        assert saver.read == 1


@pytest.mark.parametrize("options", [{}, {"instructions": "Answer in rhymes."}])
async def test_a_turn_finds_the_same_messages_in_memory_and_in_the_store(
    options: dict[str, str], store: MemoryStore
) -> None:
    graph = chain(answer, again, state=AgentState)
    warm, cold = Chat(graph, store), Chat(graph, store)
    with anyio.fail_after(60):
        for said in ("one", "two", "forget", "three", "fail", "four", "forget more", "five", "six"):
            there = await seen(warm, said, **options)
            cold = fresh(cold)
            assert await seen(cold, said, **options) == there
    assert "six" in there
    assert len(there) > 4


async def test_a_turn_after_an_earlier_response_does_not_find_the_messages_of_the_last(store: MemoryStore) -> None:
    chat = Chat(chain(answer, state=AgentState), store)
    with anyio.fail_after(20):
        await chat.say("one")
        first = chat.last
        await chat.say("two")
        last = chat.last
        assert await seen(chat, "fork", after=first) == ["one", "one", "fork", "one one fork"]
        assert (await seen(chat, "three", after=last))[:3] == ["one", "one", "two"]


def test_the_conversations_that_were_used_last_are_kept() -> None:
    recent = RecentMessages(most_bytes=3 * (MESSAGE_BYTES + 10))
    for name in ("a", "b", "c"):
        recent.keep(name, "1", [HumanMessage("0123456789")])
    assert recent.find("a", "1") is not None
    recent.keep("d", "1", [HumanMessage([{"type": "text", "text": "01234"}])])
    assert recent.find("b", "1") is None
    assert recent.find("a", "1") == [HumanMessage("0123456789")]
    recent.keep("a", "2", [HumanMessage("0" * 10_000)])
    assert recent.find("a", "2") is None
    assert recent.find("a", "1") is None
    assert recent.find("c", "1") is not None


def test_a_conversation_is_kept_after_its_newest_checkpoint_only() -> None:
    recent = RecentMessages()
    recent.keep("a", "1", [HumanMessage("one")])
    recent.keep("a", "2", [HumanMessage("two")])
    assert recent.find("a", "1") is None
    assert recent.find("a", "2") == [HumanMessage("two")]
