"""What a node returned, looked through for secrets before it is translated: in pauses, as translating makes none."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from langchain_core.messages import ToolMessage

from graph_agent.protocol.content import output_text
from graph_agent.protocol.left import messages_in
from graph_agent.redaction import redact_gently, redact_value_gently, redacted_ahead
from graph_agent.redaction.text import AT_ONCE
from graph_agent.redaction.values import Redacted


async def looked_through(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], AbstractContextManager[None]]:
    """An update of the stream with its `custom_outputs` redacted, and the context in which to translate it, which knows
    what may be shown of long results of tools."""
    changed = {}
    for node, update in data.items():
        if isinstance(update, dict) and isinstance(outputs := update.get("custom_outputs"), Mapping):
            changed[node] = {**update, "custom_outputs": Redacted(await redact_value_gently(outputs))}
    long = {text: await redact_gently(text) for text in _long_results(data)}
    return {**data, **changed} if changed else data, redacted_ahead(long) if long else nullcontext()


def _long_results(data: Mapping[str, Any]) -> Iterator[str]:
    for update in data.values():
        for message in messages_in(update.get("messages")) if isinstance(update, dict) else ():
            if isinstance(message, ToolMessage) and len(text := output_text(message)) > AT_ONCE:
                yield text
