"""Conversations whose messages are in a `DeltaChannel`, in every store."""

from typing import Annotated, Any

import anyio
import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import MessagesState
from tests.runs.running import chain
from tests.runs.stored import Chat
from typing_extensions import TypedDict

from graph_agent import AgentState
from graph_agent.contract import NodeState
from graph_agent.message_channel import MessagesChannel, merge_messages
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


class OftenWhole(TypedDict):
    """Like `AgentState`, with a snapshot after every fifth update."""

    messages: Annotated[list[AnyMessage], MessagesChannel(merge_messages, snapshot_frequency=5)]


async def answer(state: NodeState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"{len(state['messages'])} before.")]}


async def said(chat: Chat, response: str | None = None) -> list[str]:
    return [one.text for one in await chat.state(response)]


def turns(*texts: str) -> list[str]:
    return [one for place, text in enumerate(texts) for one in (text, f"{2 * place + 1} before.")]


@pytest.mark.parametrize("state", [AgentState, OftenWhole])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_conversation_and_its_branches_are_whole(store: Store, state: type[Any], restarted: bool) -> None:
    graph = chain(answer, state=state)
    chat = Chat(graph, store)
    names: list[str | None] = []
    texts = [f"turn {number}" for number in range(8)]
    with anyio.fail_after(60):
        for text in texts:
            if restarted:
                chat, last = Chat(graph, store), chat.last
                chat.last = last
            await chat.say(text)
            names.append(chat.last)
        for number, name in enumerate(names, 1):
            assert await said(chat, name) == turns(*texts[:number])
        await chat.say("other", after=names[2])
        branch = chat.last
        await chat.say("and on")
        assert await said(chat) == turns(*texts[:3], "other", "and on")
        await chat.say("main", after=names[-1])
        assert await said(chat) == turns(*texts, "main")
        assert await said(chat, branch) == turns(*texts[:3], "other")
        assert await said(chat, names[-1]) == turns(*texts)


async def test_a_conversation_that_was_stored_with_add_messages_goes_on(store: Store) -> None:
    before = Chat(chain(answer, state=MessagesState), store)
    with anyio.fail_after(60):
        await before.say("one")
        first = before.last
        await before.say("two")
        after = Chat(chain(answer, state=AgentState), store)
        after.last = before.last
        for text in ("three", "four"):
            await after.say(text)
        assert await said(after) == turns("one", "two", "three", "four")
        await after.say("fork", after=first)
        assert await said(after) == turns("one", "fork")
