"""How many tokens a conversation has, about: no model is asked."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graph_agent.runs.gently import run_gently

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds.
    from langchain_core.messages import BaseMessage


async def estimated_tokens(
    messages: "Sequence[BaseMessage]", *, instructions: str | None = None, tools: "Sequence[Mapping[str, Any]]" = ()
) -> int:
    """LangChain's estimate: a token for four characters, also of the tools in JSON, and three for each message."""
    from langchain_core.messages import SystemMessage
    from langchain_core.messages.utils import count_tokens_approximately

    counted = [*([SystemMessage(instructions)] if instructions else []), *messages]
    declared: list[Any] = [dict(one) for one in tools]
    size = [*(one.content for one in counted), *tools]
    return await run_gently(lambda pulse: int(count_tokens_approximately(counted, tools=declared or None)), size)
