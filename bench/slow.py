"""A graph that speaks for so long that its process can be killed meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from bench.scripted import ScriptedModel

WORD_SECONDS = 0.02

WORDS = 3_000


class SlowModel(ScriptedModel):
    """Says one word after another."""

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for number in range(WORDS):
            await asyncio.sleep(WORD_SECONDS)
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"word{number} "))


model = SlowModel()


async def speak(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


graph: CompiledStateGraph[Any, Any, Any, Any] = (
    StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").compile()
)
