"""What nodes returned so far: recognizes repeated messages and finds removed ones."""

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage

from graph_agent.known_messages import KnownMessages
from graph_agent.protocol.final_state import FinalState
from graph_agent.protocol.visible_content import visible_content_of


class ReturnedMessages:
    """The messages of one run by their ids. `known` are those the caller sent."""

    def __init__(self, known: KnownMessages) -> None:
        self._known = known
        self._says: dict[str, tuple[str, list[Any]]] = {}
        self._in_state: set[str] = set()

    def is_repeated(self, message: BaseMessage, *, top: bool) -> bool:
        """Whether the caller sent it, or a node returned it before with the same content. Remembers it.

        `top` says that the top graph returned it. A message without an id is never a repetition, nor is a removal.
        """
        if message.id is None or isinstance(message, RemoveMessage):
            return False
        if top:
            self._in_state.add(message.id)
        # A copy of the list: a node may change the message in place and return it again.
        calls = list(message.tool_calls) if isinstance(message, AIMessage) else []
        says = (visible_content_of(message).whole, calls)
        before, self._says[message.id] = self._says.get(message.id), says
        return self._known.has(message.id) or before == says

    def removed(self, left: FinalState) -> set[str]:
        """Ids of messages that were in the state and are gone, unless their text remains under another id."""
        words = {visible_content_of(message).whole.strip() for message in left.messages}
        gone = self._in_state - {message.id for message in left.messages}
        return {one for one in gone if self._says[one][0].strip() not in words}
