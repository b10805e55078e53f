"""The retriever: runs the searches the planner asked for, all at once, and keeps what they found."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from graph_agent.contract import AgentState, Source
from graph_agent.errors import RetrievalFailed
from graph_agent.nodes.passages import EMPTY_SEARCH, PASSAGES
from graph_agent.nodes.planner import requested_calls
from graph_agent.tracing import record_retrieval

_NUMBERED = re.compile(r"^\[(\d{1,3})\] ", re.MULTILINE)


class Search(Protocol):
    """An index behind a tool's name; `databricks.vector_search.DocumentSearch` is one."""

    @property
    def name(self) -> str:
        """The tool's name."""

    async def search(self, query: str) -> list[tuple[Document, float]]:
        """Passages and scores, best first."""


Found = list[tuple[Document, float]]
Node = Callable[[AgentState, RunnableConfig], Awaitable[dict[str, Any]]]


def make_retriever(search: Search, *, min_score: float = 0.0) -> Node:
    """A node that runs the planner's calls of `search` and puts the passages into the state, numbered for citing.

    Passages below `min_score` are dropped. A search that fails becomes a tool message; when all of them fail the run
    ends with `RetrievalFailed`, as an answer would be invented.
    """

    async def retrieve(state: AgentState, config: RunnableConfig) -> dict[str, Any]:
        calls = [call for call in requested_calls(state["messages"]) if call["name"] == search.name]
        results = await asyncio.gather(*(_search(search, str(call["args"].get("query", "")), config) for call in calls))
        failures = [result for result in results if isinstance(result, RetrievalFailed)]
        if failures and len(failures) == len(results):
            raise failures[0]
        sources = list(state.get("sources") or [])
        known = len(sources)
        first = 1 + max([source.number for source in sources] + _numbers(state["messages"]), default=0)
        messages = []
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, RetrievalFailed):
                messages.append(_failed(call, search.name, result))
                continue
            result = [(document, score) for document, score in result if score >= min_score]
            shown = _take(result, sources, first=first - known)
            marks = {PASSAGES: len(shown)}
            messages.append(
                ToolMessage(_listing(shown), tool_call_id=call["id"], name=search.name, additional_kwargs=marks)
            )
        return {"messages": messages, "sources": sources[known:]}

    return retrieve


async def _search(search: Search, query: str, config: RunnableConfig) -> Found | RetrievalFailed:
    started = time.time_ns()
    try:
        found = await search.search(query)
    except RetrievalFailed as error:
        return error
    documents = [document for document, _ in found]
    record_retrieval(
        config, query=query, documents=documents, name=search.name, start_ns=started, end_ns=time.time_ns()
    )
    return found


def _take(found: Found, sources: list[Source], *, first: int) -> list[Source]:
    """Append what is new to `sources`; a passage found before keeps its number."""
    by_chunk = {source.chunk_id: source for source in sources}
    shown = []
    for document, score in found:
        chunk_id = str(document.metadata.get("chunk_id") or document.id or document.page_content[:80])
        source = by_chunk.get(chunk_id)
        if source is None:
            uri = str(document.metadata.get("doc_uri") or chunk_id)
            source = Source(
                number=first + len(sources),
                doc_uri=uri,
                chunk_id=chunk_id,
                title=str(document.metadata.get("title") or uri),
                text=document.page_content,
                score=round(score, 4),
            )
            by_chunk[chunk_id] = source
            sources.append(source)
        shown.append(source)
    return shown


def _listing(shown: Sequence[Source]) -> str:
    return "\n\n".join(f"[{source.number}] {source.text}" for source in shown) or EMPTY_SEARCH


def _numbers(messages: Sequence[BaseMessage]) -> list[int]:
    """Numbers that earlier turns used: a resent history must not make `[1]` mean two passages."""
    return [
        int(number)
        for message in messages
        if isinstance(message, ToolMessage) and isinstance(message.content, str)
        for number in _NUMBERED.findall(message.content)
    ]


def _failed(call: Any, name: str, error: RetrievalFailed) -> ToolMessage:
    return ToolMessage(error.message, tool_call_id=call["id"], name=name, status="error")
