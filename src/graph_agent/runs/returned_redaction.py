"""Redacts large values that a node returned, before their translation. Unlike that, it yields to other tasks."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from graph_agent.protocol.content import output_text
from graph_agent.protocol.final_state import messages_in, updates_in
from graph_agent.protocol.requested_calls import arguments_text
from graph_agent.redaction import redact_async, redact_value_async, with_redacted
from graph_agent.redaction.text import AT_ONCE
from graph_agent.redaction.values import Redacted


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
            for text in _long_texts(values):
                long[text] = await redact_async(text)
    return {**data, **changed} if changed else data, with_redacted(long) if long else nullcontext()


def _long_texts(values: Mapping[str, Any]) -> Iterator[str]:
    for message in messages_in(values.get("messages")):
        if isinstance(message, ToolMessage) and len(text := output_text(message)) > AT_ONCE:
            yield text
        elif isinstance(message, AIMessage):
            for call in message.tool_calls:
                if len(text := arguments_text(call["args"])) > AT_ONCE:
                    yield text
