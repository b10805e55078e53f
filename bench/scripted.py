"""The graph that every server of the benchmark hosts: planner -> tools -> planner, with a scripted model.

It only imports LangGraph, so that each server is measured with its own imports.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition

TOKENS = 200
"""Tokens of the answer. Each is one part of the stream."""

PACE = float(os.environ.get("BENCH_PACE", "0"))
"""Seconds before each token. Models write 20 to 100 tokens a second."""


class ScriptedModel(BaseChatModel):
    """Requests one tool call. After its result, it writes `TOKENS` tokens, each after `PACE`."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole, *rest = _chunks(messages)
        return ChatResult(generations=[ChatGeneration(message=sum(rest, start=whole))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for message in _chunks(messages):
            # One turn of the event loop for each token, as when tokens are read from a socket. Without it, all tokens
            # would be written before the first one could be sent.
            await asyncio.sleep(PACE)
            yield ChatGenerationChunk(message=message)


def _chunks(messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
    if isinstance(messages[-1], ToolMessage):
        yield from (AIMessageChunk(content=f"word{number} ") for number in range(TOKENS - 1))
        yield AIMessageChunk(content="end.", usage_metadata=_usage(40, TOKENS))
    else:
        call = tool_call_chunk(name="look_up", args='{"word": "bench"}', id="call_1", index=0)
        yield AIMessageChunk(content="", tool_call_chunks=[call], usage_metadata=_usage(20, 10))


def _usage(read: int, written: int) -> UsageMetadata:
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


@tool
async def look_up(word: str) -> str:
    """Look up a word."""
    return f"{word}: a long seat."


model = ScriptedModel()


async def plan(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("planner", plan)
builder.add_node("tools", ToolNode([look_up]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", tools_condition)
builder.add_edge("tools", "planner")

graph: CompiledStateGraph[Any, Any, Any, Any] = builder.compile()
