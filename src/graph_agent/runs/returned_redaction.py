"""Redacts large values that a node returned, before their translation. Unlike that, it yields to other tasks."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from graph_agent.protocol.content import output_text
from graph_agent.protocol.final_state import messages_in, updates_in
from graph_agent.protocol.requested_calls import arguments_text
from graph_agent.redaction import redact_async, redact_value_async, with_redacted
from graph_agent.redaction.text import AT_ONCE
from graph_agent.redaction.values import Redacted

MOST_MESSAGES = 16
"""The most messages that are translated at once."""


def is_quick(kind: str, data: Any) -> bool:
    """Whether this part of the stream is translated quickly, and needs no redaction before."""
    match kind:
        case "values":
            # Only kept.
            return True
        case "tools":
            return _is_short_result(data.get("output"))
        case "updates" if isinstance(data, Mapping):
            returned = [values for update in data.values() for values in updates_in(update)]
            if any("custom_outputs" in values for values in returned):
                return False
            messages = chain.from_iterable(messages_in(values.get("messages")) for values in returned)
            # A node may return the whole history.
            few = list(islice(messages, MOST_MESSAGES + 1))
            return len(few) <= MOST_MESSAGES and not any(map(_long_texts, few))
    return False


def _is_short_result(output: Any) -> bool:
    content = getattr(output, "content", output)
    return content is None or (isinstance(content, str) and len(content) <= AT_ONCE)


async def redact_returned(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], AbstractContextManager[None]]:
    """Redact an update of the stream.

    Returns the update with its `custom_outputs` redacted, and the context in which to translate it. The context holds
    the redacted form of long tool results and long arguments.
    """
    changed: dict[str, Any] = {}
    long: dict[str, str] = {}
    for node, update in data.items():
        several = list(updates_in(update))
        for at, values in enumerate(several):
            if isinstance(outputs := values.get("custom_outputs"), Mapping):
                several[at] = {**values, "custom_outputs": Redacted(await redact_value_async(outputs))}
                changed[node] = several
            for message in messages_in(values.get("messages")):
                for text in _long_texts(message):
                    long[text] = await redact_async(text)
    return {**data, **changed} if changed else data, with_redacted(long) if long else nullcontext()


def _long_texts(message: BaseMessage) -> list[str]:
    texts: list[str] = []
    if isinstance(message, ToolMessage):
        texts = [output_text(message)]
    elif isinstance(message, AIMessage):
        texts = [arguments_text(call["args"]) for call in message.tool_calls]
    return [text for text in texts if len(text) > AT_ONCE]
