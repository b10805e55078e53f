"""Tells secrets wherever one can: which ones, the environment says; where, the run's context."""

import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import ToolException, tool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime

from graph_agent import AgentState, chat_model, make_retriever, make_tools

LEAKS: dict[str, str] = json.loads(os.environ.get("LEAKS", "{}"))
stranger = logging.getLogger("stranger")


@dataclass
class Context:
    leak: str


class Echo(BaseChatModel):
    """Calls every tool of its list at once, then says what they returned, three characters at a time."""

    names: tuple[str, ...]

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._pieces(messages))

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for piece in self._pieces(messages):
            yield piece

    def _pieces(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        results = [message for message in messages if isinstance(message, ToolMessage)]
        if not results:
            for index, name in enumerate(self.names):
                arguments = json.dumps({"query": "?"})
                chunk = tool_call_chunk(name=name, args=arguments, id=f"call_{name}", index=index)
                yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[chunk]))
            return
        said = " | ".join(str(one.content) for one in [*messages[:1], *results])
        for start in range(0, len(said), 3):
            yield ChatGenerationChunk(message=AIMessageChunk(said[start : start + 3]))


def leaks(name: str) -> str:
    return LEAKS.get(name, f"nothing for {name}")


@tool
def plain(query: str) -> str:
    """A text."""
    return f"The key is {leaks('tool')} and {json.dumps({'client_secret': leaks('tool_json')})}, {leaks('environment')}"


@tool
def raises(query: str) -> str:
    """Fails with a secret in its message."""
    raise ConnectionError(f"cannot connect: {leaks('tool_exception')}")


@tool
def refuses(query: str) -> str:
    """Fails with a message for the model."""
    raise ToolException(f"wrong key {leaks('tool_refusal')}")


@tool(response_format="content_and_artifact")
def remote(query: str) -> tuple[Any, Any]:
    """What a tool of an MCP server looks like."""
    blocks = [{"type": "text", "text": f"See: {leaks('mcp_text')}"}]
    return blocks, {"structured_content": {"rows": [{"note": leaks("mcp_structured")}]}}


@tool
def foreign(query: str) -> str:
    """A text."""
    return f"The key is {leaks('foreign_tool')}."


@tool
def foreign_raises(query: str) -> str:
    """Fails with a secret in its message."""
    raise ValueError(f"cannot connect: {leaks('foreign_exception')}")


class Search:
    """An index in which somebody wrote a password down."""

    name = "search"

    async def search(self, query: str) -> list[tuple[Document, float]]:
        page = f"Connect to {leaks('passage')} with care."
        return [(Document(page, metadata={"doc_uri": "a.md", "chunk_id": "a#1", "title": "A"}), 0.9)]


OWN, THEIRS = [plain, raises, refuses, remote], [foreign, foreign_raises]
OURS = Echo(names=(*(one.name for one in OWN), "search"))
FOREIGN = Echo(names=tuple(one.name for one in THEIRS))


async def planner(state: AgentState) -> dict[str, Any]:
    return {"messages": [await OURS.ainvoke(state["messages"])]}


def after_planner(state: AgentState) -> list[str]:
    last = state["messages"][-1]
    return ["tools", "search"] if isinstance(last, AIMessage) and last.tool_calls else [END]


def of_node_makers() -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(AgentState)
    builder.add_node("planner", planner)
    builder.add_node("tools", make_tools(OWN, skip=["search"]))
    builder.add_node("search", make_retriever(Search()))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", after_planner, ["tools", "search", END])
    builder.add_edge(["tools", "search"], "planner")
    return builder


async def speak(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    if runtime.context.leak == "node":
        try:
            raise ConnectionError(leaks("node_exception"))
        except ConnectionError:
            stranger.exception("no connection with %s", leaks("log"))
            raise
    if runtime.context.leak == "endpoint":
        return {"messages": [await chat_model("databricks:local-model").ainvoke(state["messages"])]}
    return {"messages": [await FOREIGN.ainvoke(state["messages"])]}


def after_speaking(state: AgentState) -> str:
    last = state["messages"][-1]
    return "foreign_tools" if isinstance(last, AIMessage) and last.tool_calls else END


def start(runtime: Runtime[Context]) -> str:
    return "ours" if runtime.context.leak == "ours" else "speak"


builder = StateGraph(AgentState, context_schema=Context)
builder.add_node("ours", of_node_makers().compile())
builder.add_node("speak", speak)
builder.add_node("foreign_tools", ToolNode(THEIRS, handle_tool_errors=True))
builder.add_conditional_edges(START, lambda state, runtime: start(runtime), ["ours", "speak"])
builder.add_edge("ours", END)
builder.add_conditional_edges("speak", after_speaking, ["foreign_tools", END])
builder.add_edge("foreign_tools", "speak")
graph = builder.compile()
