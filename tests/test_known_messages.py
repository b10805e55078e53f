"""What is known of a conversation's messages is the same, whether they were read at once or turn by turn."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.types import Overwrite

from graph_agent.contract import AgentState
from graph_agent.known_messages import MOST_NEW, KnownMessages
from graph_agent.message_channel import MessagesChannel, merge_messages


def conversation(turns: int) -> list[BaseMessage]:
    """Turns with a tool call; every third call has the id of an earlier one, and every fifth has none."""
    messages: list[BaseMessage] = []
    for turn in range(turns):
        call: Any = {"name": "look_up", "args": {"n": turn}, "id": f"call_{turn // 3}" if turn % 5 else None}
        messages += [
            HumanMessage("?", id=f"q{turn}"),
            AIMessage("", id=f"c{turn}", tool_calls=[call, call]),
            ToolMessage("!", id=f"r{turn}", tool_call_id=f"call_{turn // 3}"),
            AIMessage(".", id=f"a{turn}"),
        ]
    return messages


@pytest.mark.parametrize("size", [1, 3, 4, MOST_NEW, MOST_NEW + 1])
def test_messages_that_come_later_are_known_as_those_of_the_beginning(size: int) -> None:
    messages = conversation(2 * MOST_NEW)
    whole, grown = KnownMessages(messages), KnownMessages()
    for start in range(0, len(messages), size):
        grown = grown.and_then(messages[start : start + size])
    assert grown.are_distinct
    assert (grown.count, grown.last) == (len(messages), messages[-1])
    assert all(grown.has(one.id) for one in messages)
    for call_id in ("", *(f"call_{turn}" for turn in range(2 * MOST_NEW))):
        assert list(map(id, grown.asking(call_id))) == list(map(id, whole.asking(call_id)))
        assert grown.asks(call_id) is whole.asks(call_id) is bool(whole.asking(call_id))


def test_what_comes_later_does_not_change_what_was_known() -> None:
    before = KnownMessages(conversation(3))
    later = before.and_then([AIMessage("", id="new", tool_calls=[{"name": "t", "args": {}, "id": "call_new"}])])
    assert later.has("new")
    assert later.asks("call_new")
    assert (before.has("new"), before.asks("call_new"), before.count) == (False, False, 12)


@pytest.mark.parametrize("doubled", ["q0", "new", None, ""])
def test_messages_are_not_distinct_if_one_has_the_id_of_another_or_none(doubled: str | None) -> None:
    known = KnownMessages(conversation(1))
    assert known.are_distinct
    assert not known.and_then([HumanMessage("x", id="new"), HumanMessage("y", id=doubled)]).are_distinct
    assert not known.has(None)


WRITES: Sequence[Any] = (
    HumanMessage("one", id="new"),
    [HumanMessage("two", id="second"), AIMessage("three", id="third")],
    [HumanMessage("twice", id="fourth"), AIMessage("twice", id="fourth")],
    [],
    HumanMessage("in its place", id="q1"),
    [RemoveMessage(id="a0")],
    "without an id",
    {"role": "assistant", "content": "as a dictionary", "id": "fifth"},
    Overwrite([HumanMessage("alone", id="alone")]),
)


@pytest.mark.parametrize("seed", range(20))
def test_a_channel_knows_the_messages_that_it_holds_whatever_is_written(seed: int) -> None:
    chosen = random.Random(seed)
    messages = conversation(3)
    known = KnownMessages(messages)
    declared: Any = AgentState.__annotations__["messages"].__metadata__[0]
    assert isinstance(declared, MessagesChannel)
    channel = declared.knowing(messages, known).from_checkpoint(messages)
    for step in range(12):
        writes = chosen.choices(WRITES[:-1], k=chosen.randrange(1, 3))
        if chosen.random() < 0.1:
            writes = [WRITES[-1]]
        # As a step of the graph writes them, and as they are read from the store.
        before, replayed = list(channel.get()), channel.copy()
        replayed.replay_writes([("", "messages", one) for one in writes])
        channel.update(writes)
        overwritten = isinstance(writes[0], Overwrite)
        assert channel.get() == (writes[0].value if overwritten else merge_messages(before, writes))
        assert replayed.get() == channel.get()
        now = KnownMessages(channel.get())
        assert channel.known is not None
        assert channel.known.are_distinct
        assert channel.known.count == now.count
        assert all(channel.known.has(one.id) for one in channel.get())
        assert channel.known.has("a0") is now.has("a0")
        if step % 4 == 3:
            channel = channel.copy()
