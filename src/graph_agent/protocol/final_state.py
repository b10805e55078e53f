"""Reads the answer from the state that a graph leaves: its last message.

That need not be the last message returned: a node may remove or replace messages, or return them in a form of
LangGraph's own. The state is LangGraph's `values`; a graph of the functional API leaves what its function returns.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langgraph.types import Command, Overwrite, Send
from pydantic_core import to_jsonable_python

from graph_agent.known_messages import KnownMessages
from graph_agent.protocol.content import text_of
from graph_agent.protocol.tool_results import public_text
from graph_agent.protocol.visible_content import visible_content_of

PLAIN = frozenset((AIMessage, HumanMessage, SystemMessage, ToolMessage))
"""Messages that `messages_in` returns as they are."""

STRUCTURED = "structured_response"
"""The state key in which LangChain's agents leave an answer in a schema."""


def updates_in(update: Any) -> Iterator[Mapping[str, Any]]:
    """A node's update: a mapping, `None`, messages of a task, or a list of them from several `Command`s."""
    if isinstance(update, Mapping):
        yield update
    elif isinstance(update, BaseMessage):
        yield {"messages": [update]}
    elif isinstance(update, Command):
        yield from updates_in(update.update)
    elif isinstance(update, list | tuple):
        for one in update:
            yield from updates_in(one)


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """Messages in every form LangGraph takes: objects, dictionaries, pairs of role and text, alone or in lists."""
    match value:
        case BaseMessage():
            yield _assistants(value)
        case {"role": str(), "content": _} | {"type": str(), "content": _}:
            yield from map(_assistants, convert_to_messages([dict(value)]))
        case tuple((str(), str() | list())):
            yield from map(_assistants, convert_to_messages([value]))
        case list() | tuple():
            for one in value:
                # Nearly all are messages, and a state may hold thousands.
                if isinstance(one, BaseMessage):
                    yield _assistants(one)
                else:
                    yield from messages_in(one)
        case Overwrite(value=replaced) | {"__overwrite__": replaced}:
            # A replaced list repeats old messages; their ids tell which are new.
            yield from messages_in(replaced)
        case {"messages": messages}:
            yield from messages_in(messages)
        case Command(update=update, goto=goto):
            yield from messages_in(update)
            for one in goto if isinstance(goto, list | tuple) else [goto]:
                if isinstance(one, Send):
                    yield from messages_in(one.arg)


def all_messages(value: Any) -> list[BaseMessage]:
    """The messages of `messages_in`, as a new list. It is quick for the list of a long conversation."""
    if type(value) is list and PLAIN.issuperset(map(type, value)):
        return list(value)
    return list(messages_in(value))


def _assistants(message: BaseMessage) -> BaseMessage:
    if isinstance(message, ChatMessage) and message.role in ("assistant", "ai"):
        return AIMessage(message.content, id=message.id)
    return message


@dataclass(slots=True)
class FinalState:
    """What this run leaves in the state."""

    messages: list[BaseMessage] = field(default_factory=list)
    structured: Any = None
    loose: tuple[str, ...] = ()
    """Texts in the result of the functional API that is not a message: one of them may have been streamed."""

    @classmethod
    def read(cls, state: Any, known: KnownMessages) -> "FinalState":
        """The last `values` of the top graph. `known` are the messages the caller sent."""
        if isinstance(state, Mapping) and "messages" in state:
            return cls(_behind(all_messages(state["messages"]), known), state.get(STRUCTURED))
        if messages := list(messages_in(getattr(state, "messages", state))):
            return cls(_behind(messages, known))
        if state is None or state == {}:
            return cls()
        if isinstance(state, str):
            return cls([AIMessage(state)])
        values = state.values() if isinstance(state, Mapping) else ()
        return cls(structured=state, loose=tuple(one for one in values if isinstance(one, str)))

    @property
    def requested(self) -> AIMessage | None:
        """The last message if it asks for tools, which means that the graph ended on its calls."""
        last = self.messages[-1] if self.messages else None
        return last if isinstance(last, AIMessage) and last.tool_calls else None

    @property
    def answer(self) -> AIMessage | None:
        """The answer, or `None` if the state does not say, for example because it has no message of a model.

        A tool's result is the answer if it is last, or what an agent put into a schema by such a call. If a model's
        last message is empty, the one before it counts.
        """
        for place, message in enumerate(reversed(self.messages)):
            if isinstance(message, ToolMessage):
                if place == 0:
                    return AIMessage(public_text(message)) if self.structured is None else self._in_schema()
                break
            if isinstance(message, AIMessage) and not message.tool_calls and visible_content_of(message).whole.strip():
                return message
        if self.structured is not None and not self.requested:
            return self._in_schema()
        last = self.messages[-1] if self.messages else None
        # Some multi-agent graphs return an agent's text as a user message.
        return AIMessage(last.content) if isinstance(last, HumanMessage) else None

    def _in_schema(self) -> AIMessage:
        return AIMessage(written_as_json(self.structured))


def written_as_json(value: Any) -> str:
    """The value as JSON; an object JSON has no words for by its type."""
    try:
        plain = to_jsonable_python(value, fallback=_type_of)
    except (ValueError, RecursionError):
        # A structure that contains itself.
        plain = _type_of(value)
    return json.dumps(plain, ensure_ascii=False)


def _type_of(value: Any) -> str:
    return f"({type(value).__name__})"


def _behind(messages: list[BaseMessage], known: KnownMessages) -> list[BaseMessage]:
    """The messages after the last one that the caller sent."""
    # By id first: LangGraph keeps the ids of the messages that it was given. From the end, because a long conversation
    # has few messages behind.
    place = next((place for place in range(len(messages) - 1, -1, -1) if known.has(messages[place].id)), -1)
    return after_known_history(messages[place + 1 :], known)


def after_known_history(messages: list[BaseMessage], known: KnownMessages) -> list[BaseMessage]:
    """The messages after a copy of the caller's last message: those before it are history under other ids."""
    last = known.last
    if last is None or last.type == "ai":
        return messages
    words = text_of(last.content)
    # From the end: the caller may have said the same words before.
    for place in range(len(messages) - 1, -1, -1):
        one = messages[place]
        if one.type == last.type and text_of(one.content) == words and not known.has(one.id):
            return messages[place + 1 :]
    return messages
