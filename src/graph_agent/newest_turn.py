"""Where the newest turn of a conversation begins. What stands before it may be left out or summarized."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage


def start_of_newest_turn(messages: Sequence[BaseMessage]) -> int:
    """The index of its first message. A turn whose results answer an earlier turn's calls includes that one."""
    asked: set[str | None] = set()
    answered: set[str] = set()
    for place in range(len(messages) - 1, -1, -1):
        one = messages[place]
        if isinstance(one, ToolMessage):
            answered.add(one.tool_call_id)
        elif isinstance(one, AIMessage):
            asked.update(call["id"] for call in one.tool_calls)
        elif isinstance(one, HumanMessage) and answered <= asked:
            return place
    return 0
