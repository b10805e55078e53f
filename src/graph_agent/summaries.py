"""The message that stands for the earlier part of a conversation, which was summarized."""

from langchain_core.messages import BaseMessage, HumanMessage

SUMMARY = "graph_agent_summary"
"""The key in `additional_kwargs` with the summary alone. It marks the message."""

INTRODUCTION = "This is a summary of the earlier part of this conversation:"
"""What the message begins with. A person does not say it, so the models must be told what it is."""


def summary_message(summary: str, message_id: str) -> HumanMessage:
    """The message with which a graph reads a summary of what came before.

    It has the role of a user: a summary may repeat what users and tools have said, and must not weigh more.
    """
    return HumanMessage(f"{INTRODUCTION}\n\n{summary}", id=message_id, additional_kwargs={SUMMARY: summary})


def is_summary(message: BaseMessage) -> bool:
    """Whether the message stands for a part of the conversation."""
    return SUMMARY in message.additional_kwargs
