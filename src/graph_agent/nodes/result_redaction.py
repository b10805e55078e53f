"""Removes secrets from results of tools and indexes before they enter a graph's state, and so its checkpoints."""

from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import ToolMessage

from graph_agent.redaction import redact_async, redact_value_async


async def without_secrets(message: ToolMessage) -> ToolMessage:
    """The message with markers in place of secrets, its artifact included, or the message itself if it has none.

    A long message does not block the event loop.
    """
    changed = {
        "content": await redact_value_async(message.content),
        "artifact": await _artifact(message.artifact),
        "additional_kwargs": await redact_value_async(message.additional_kwargs),
    }
    changed = {name: value for name, value in changed.items() if _differs(value, getattr(message, name))}
    return message.model_copy(update=changed) if changed else message


def _differs(value: Any, before: Any) -> bool:
    # Identity first: comparing two data frames, which may be artifacts, gives a data frame and not a bool.
    return value is not before and bool(value != before)


async def document_without_secrets(document: Document) -> Document:
    """The document with markers in place of secrets, or the document itself if it has none."""
    text, metadata = await redact_async(document.page_content), await redact_value_async(document.metadata)
    if text == document.page_content and metadata == document.metadata:
        return document
    return document.model_copy(update={"page_content": text, "metadata": metadata})


async def _artifact(value: Any) -> Any:
    match value:
        case Document():
            return await document_without_secrets(value)
        case list():
            return [await _artifact(one) for one in value]
        # Not a named tuple, whose constructor takes other arguments.
        case tuple() if type(value) is tuple:
            return tuple([await _artifact(one) for one in value])
    return await redact_value_async(value)
