"""Asks a model over HTTP, at the address its context names: a stream that is as slow as that server."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime


@dataclass
class Context:
    upstream: str
    node: Literal["async", "sync", "databricks", "blocking"] = "async"


class HttpModel(BaseChatModel):
    """One chunk per line of the answer."""

    url: str

    @property
    def _llm_type(self) -> str:
        return "http"

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with httpx.AsyncClient(timeout=30) as client, client.stream("POST", self.url) as answer:
            async for line in answer.aiter_lines():
                yield ChatGenerationChunk(message=AIMessageChunk(line))

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        with httpx.Client(timeout=30) as client, client.stream("POST", self.url) as answer:
            for line in answer.iter_lines():
                yield ChatGenerationChunk(message=AIMessageChunk(line))

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError


def databricks(url: str) -> BaseChatModel:
    # Late: the package takes seconds to import.
    from databricks.sdk import WorkspaceClient
    from databricks_langchain import ChatDatabricks

    client = WorkspaceClient(host=url, token="none")
    return ChatDatabricks(model="upstream", workspace_client=client, timeout=30, max_retries=0)


async def ask(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    model = databricks if runtime.context.node == "databricks" else lambda url: HttpModel(url=url)
    return {"messages": [await model(runtime.context.upstream).ainvoke(state["messages"])]}


def ask_in_a_thread(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    return {"messages": [HttpModel(url=runtime.context.upstream).invoke(state["messages"])]}


def block(state: MessagesState, runtime: Runtime[Context]) -> None:
    httpx.post(runtime.context.upstream, timeout=30)


def way(state: MessagesState, runtime: Runtime[Context]) -> str:
    return {"sync": "ask_in_a_thread", "blocking": "block"}.get(runtime.context.node, "ask")


builder = StateGraph(MessagesState, context_schema=Context)
builder.add_node("ask", ask)
builder.add_node("ask_in_a_thread", ask_in_a_thread)
builder.add_node("block", block)
builder.add_conditional_edges(START, way, ["ask", "ask_in_a_thread", "block"])
graph = builder.compile()
