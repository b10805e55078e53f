"""The message that stands for the earlier part of a conversation, which was summarized."""

from langchain_core.messages import BaseMessage, HumanMessage

SUMMARY = "graph_agent_summary"
"""The key in `additional_kwargs` with the summary alone. It marks the message."""

SEALED = "graph_agent_sealed_summary"
"""The key with the sealed form, if a run has made the summary. A run that resumes tells the item again by it."""

INTRODUCTION = "This is a summary of the earlier part of this conversation:"
"""What the message begins with. A person does not say it, so the models must be told what it is."""


def summary_message(summary: str, message_id: str, *, sealed: str | None = None) -> HumanMessage:
    """The message with which a graph reads a summary of what came before. `sealed` is its sealed form, if the run that
    goes on with it has made it.

    It has the role of a user: a summary may repeat what users and tools have said, and must not weigh more.
    """
    kept = {SUMMARY: summary} if sealed is None else {SUMMARY: summary, SEALED: sealed}
    return HumanMessage(f"{INTRODUCTION}\n\n{summary}", id=message_id, additional_kwargs=kept)


def is_summary(message: BaseMessage) -> bool:
    """Whether the message stands for a part of the conversation."""
    return SUMMARY in message.additional_kwargs
