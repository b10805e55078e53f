"""The retriever: runs the planner's searches concurrently, and keeps what they find."""

import itertools
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Protocol, runtime_checkable

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ToolException

from graph_agent.contract import NodeState, Source
from graph_agent.errors import RetrievalFailed
from graph_agent.foreign_errors import describe_error
from graph_agent.found_documents import Finding, FoundDocument, tell_found
from graph_agent.links import safe_link
from graph_agent.nodes.citations import without_markers
from graph_agent.nodes.concurrency import gather_or_cancel
from graph_agent.nodes.langchain_retriever import Columns, RetrieverSearch
from graph_agent.nodes.node import Node
from graph_agent.nodes.planner import requested_calls
from graph_agent.nodes.result_redaction import document_without_secrets
from graph_agent.nodes.retrieval_messages import EMPTY_SEARCH, PASSAGES
from graph_agent.nodes.tool_errors import FAULT, MISTAKE
from graph_agent.redaction import redact
from graph_agent.tool_call_policy import NotRun, refusal_of
from graph_agent.tracing import record_search

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"^\[(\d{1,3})\] ", re.MULTILINE)


Found = Sequence[tuple[Document, float | None]]


class Search(Protocol):
    """An index as a tool, such as `RetrieverSearch` and `databricks.vector_search.DocumentSearch`."""

    @property
    def name(self) -> str:
        """The tool's name."""

    async def search(self, query: str) -> Found:
        """Passages and scores, best first.

        Raises:
            RetrievalFailed: the search failed.
            ToolException: the model's arguments cannot be used. The message is for the model.
        """


@runtime_checkable
class FilteredSearch(Protocol):
    """A search that lets the model filter."""

    filterable: Any
    """What the model may filter by; empty if nothing."""

    async def search(self, query: str, filters: Any = None) -> Found:
        """As in `Search`, with the model's filters."""


def make_retriever(
    search: Search | BaseRetriever,
    *,
    name: str = "search_docs",
    columns: Columns | None = None,
    min_score: float = 0.0,
) -> Node:
    """A node that runs the planner's calls of `search` and adds the passages to the state, numbered for citations.

    `search` may be any LangChain retriever, which then answers the calls of `name`. `columns` names the metadata keys
    for passage, address, id and title, which spans and citations need. Passages with a score below `min_score` are
    dropped. A failed search becomes a tool message, and so does a call with unusable arguments. If all searches fail,
    the run ends with `RetrievalFailed`, as the model would invent an answer.
    """
    known = columns or Columns()
    if isinstance(search, BaseRetriever):
        search = RetrieverSearch(retriever=search, name=name)
    searched: Search = search

    async def retrieve(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        calls = [call for call in requested_calls(state["messages"]) if call["name"] == searched.name]
        results = await gather_or_cancel(_search(searched, call, known, config) for call in calls)
        failures = [result for result in results if isinstance(result, RetrievalFailed)]
        if failures and len(failures) == len(results):
            raise failures[0]
        sources = list(state.get("sources") or [])
        known_before = len(sources)
        free = _free_numbers({source.number for source in sources}.union(_numbers(state["messages"])))
        messages = []
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                # A call that was refused on purpose is not a failure of the search.
                if not isinstance(result, NotRun):
                    logger.warning("search %s failed: %s", searched.name, describe_error(result))
                messages.append(_failed(call, searched.name, result))
                continue
            result = [(document, score) for document, score in result if score is None or score >= min_score]
            shown = _take(result, sources, free)
            tell_found(config, _told(call, shown))
            marks = {PASSAGES: len(shown)}
            messages.append(
                ToolMessage(_listing(shown), tool_call_id=call["id"], name=searched.name, additional_kwargs=marks)
            )
        # Only the new ones, as the state's reducer appends them.
        return {"messages": messages, "sources": sources[known_before:]}

    return retrieve


async def _search(
    search: Search, call: Any, columns: Columns, config: RunnableConfig
) -> Found | RetrievalFailed | ToolException:
    if why := refusal_of(call, config):
        return NotRun(why)
    # Some models write `filter`, in the singular.
    arguments: Mapping[str, Any] = call["args"]
    query, filters = str(arguments.get("query") or ""), arguments.get("filters") or arguments.get("filter")
    started = time.time_ns()
    try:
        found = [
            (await document_without_secrets(columns.read(document)), score)
            for document, score in await _found(search, query, filters)
        ]
    except (RetrievalFailed, ToolException) as error:
        # The trace shows failed searches too.
        record_search(
            config,
            query=query,
            documents=[],
            name=search.name,
            start_ns=started,
            end_ns=time.time_ns(),
            error=type(error).__name__,
        )
        return error
    documents = [document for document, _ in found]
    record_search(config, query=query, documents=documents, name=search.name, start_ns=started, end_ns=time.time_ns())
    return found


async def _found(search: Search, query: str, filters: Any) -> Found:
    if not query.strip():
        raise ToolException("the call needs a query: words to look for.")
    if not filters:
        return await search.search(query)
    # Refused and not ignored: the model would believe that the results are filtered.
    if not isinstance(search, FilteredSearch):
        raise ToolException("this search takes no filters: call it with a query alone.")
    return await search.search(query, filters)


def _free_numbers(taken: Set[int]) -> Iterator[int]:
    """Unused numbers for passages, the smallest first. So one large number in the history does not make all large."""
    return (number for number in itertools.count(1) if number not in taken)


def _take(found: Found, sources: list[Source], free: Iterator[int]) -> list[Source]:
    """Append the new passages to `sources`, with numbers from `free`. A passage found before keeps its number."""
    by_chunk = {source.chunk_id: source for source in sources}
    shown = []
    for document, score in found:
        # Without any id the beginning of the text identifies the passage.
        chunk_id = str(document.metadata.get("chunk_id") or document.id or document.page_content[:80])
        source = by_chunk.get(chunk_id)
        if source is None:
            uri = str(document.metadata.get("doc_uri") or chunk_id)
            source = Source(
                number=next(free),
                doc_uri=safe_link(uri),
                chunk_id=chunk_id,
                title=str(document.metadata.get("title") or uri),
                text=document.page_content,
                score=None if score is None else round(score, 4),
            )
            by_chunk[chunk_id] = source
            sources.append(source)
        shown.append(source)
    return shown


def _told(call: Any, shown: Sequence[Source]) -> Finding:
    documents = [
        FoundDocument(
            number=one.number, id=one.chunk_id, title=one.title, url=one.doc_uri, score=one.score, text=one.text
        )
        for one in shown
    ]
    return Finding(query=str(call["args"].get("query") or ""), documents=documents, call_id=call["id"])


def _listing(shown: Sequence[Source]) -> str:
    return "\n\n".join(f"[{source.number}] {without_markers(source.text)}" for source in shown) or EMPTY_SEARCH


def _numbers(messages: Sequence[BaseMessage]) -> list[int]:
    """The numbers that earlier turns used. In a history that the client resends, `[1]` must not mean two passages."""
    return [
        int(number)
        for message in messages
        if isinstance(message, ToolMessage) and isinstance(message.content, str)
        for number in _NUMBERED.findall(message.content)
    ]


def _failed(call: Any, name: str, error: RetrievalFailed | ToolException) -> ToolMessage:
    meaning = "" if isinstance(error, NotRun) else FAULT if isinstance(error, RetrievalFailed) else MISTAKE
    return ToolMessage(redact(f"{error}\n{meaning}".rstrip()), tool_call_id=call["id"], name=name, status="error")
