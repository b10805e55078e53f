"""The retriever: runs the planner's searches concurrently, and keeps what they find."""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterator, Sequence, Set
from typing import Any, Protocol, runtime_checkable

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ToolException

from graph_agent.contract import NodeState, Source
from graph_agent.errors import ConfigurationError, RetrievalFailed
from graph_agent.foreign_errors import describe_error
from graph_agent.found_documents import Finding, FoundDocument, tell_found
from graph_agent.links import safe_link
from graph_agent.nodes.citations import without_markers
from graph_agent.nodes.concurrency import gather_or_cancel
from graph_agent.nodes.excerpts import SHORTEST_EXCERPT, excerpts
from graph_agent.nodes.fused_search import (
    DEPTH,
    MORE_FOR_PARTS,
    OF_PLANNER,
    Asked,
    asked_in,
    fair_to_parts,
    fused,
    passage_key,
    shared,
    up_to_question,
)
from graph_agent.nodes.langchain_retriever import Columns, RetrieverSearch
from graph_agent.nodes.node import Node
from graph_agent.nodes.planner import requested_calls
from graph_agent.nodes.result_redaction import document_without_secrets
from graph_agent.nodes.retrieval_messages import EMPTY_SEARCH, NUMBERED, PASSAGES
from graph_agent.nodes.tool_errors import FAULT, MISTAKE
from graph_agent.redaction import redact
from graph_agent.tool_call_policy import NotRun, refusal_of
from graph_agent.tracing import record_search

logger = logging.getLogger(__name__)

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


@runtime_checkable
class DeepSearch(Protocol):
    """A search that can give more passages than it usually does, to be fused with those of other queries."""

    results: int
    """Passages that a search usually gives."""

    async def candidates(self, query: str, filters: Any = None, *, count: int) -> Found:
        """As in `FilteredSearch`, with up to `count` passages."""


Result = Found | RetrievalFailed | ToolException


def make_retriever(
    search: Search | BaseRetriever,
    *,
    name: str = "search_docs",
    columns: Columns | None = None,
    min_score: float = 0.0,
    with_question: bool = False,
    longest_passage: int | None = None,
) -> Node:
    """A node that runs the planner's calls of `search` and adds the passages to the state, numbered for citations.

    `search` may be any LangChain retriever, which then answers the calls of `name`. `columns` names the metadata keys
    for passage, address, id and title, which spans and citations need. Passages with a score below `min_score` are
    dropped. A failed search becomes a tool message, and so does a call with unusable arguments. If all searches fail,
    the run ends with `RetrievalFailed`, as the model would invent an answer.

    With `with_question`, the first searches of a turn also look for the user's question, for a short one together with
    the question before, and for its parts. The best passages of all are shown: as many as one search gives, and three
    more for a question with parts. If the planner asks for several searches at once, each gets a fair share of them.

    With `longest_passage`, in characters, the model sees excerpts of longer passages: the sentences, rows and items
    with words of the question, below the heading. The first passage gets so many, later ones fewer. The state, the
    citations and clients have the whole passages.

    Raises:
        ConfigurationError: `longest_passage` is below `SHORTEST_EXCERPT`.
    """
    if longest_passage is not None and longest_passage < SHORTEST_EXCERPT:
        raise ConfigurationError(
            f"longest_passage must be at least {SHORTEST_EXCERPT} characters, not {longest_passage}"
        )
    known = columns or Columns()
    if isinstance(search, BaseRetriever):
        search = RetrieverSearch(retriever=search, name=name)
    searched: Search = search

    async def retrieve(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        messages = state["messages"]
        calls = [call for call in requested_calls(messages) if call["name"] == searched.name]
        started = time.time_ns()
        if with_question:
            results = await _with_question(searched, calls, messages, known, config, min_score)
        else:
            results = [
                _good(one, min_score)
                for one in await gather_or_cancel(_search(searched, call, known, config) for call in calls)
            ]
        results = [await _without_secrets(result) for result in results]
        for call, result in zip(calls, results, strict=True):
            _record(config, searched.name, call, result, started)
        failures = [result for result in results if isinstance(result, RetrievalFailed)]
        if failures and len(failures) == len(results):
            raise failures[0]
        sources = list(state.get("sources") or [])
        known_before = len(sources)
        free = _free_numbers({source.number for source in sources}.union(_numbers(messages)))
        told = []
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                # A call that was refused on purpose is not a failure of the search.
                if not isinstance(result, NotRun):
                    logger.warning("search %s failed: %s", searched.name, describe_error(result))
                told.append(_failed(call, searched.name, result))
                continue
            shown = _take(result, sources, free)
            tell_found(config, _told(call, shown))
            marks = {PASSAGES: len(shown)}
            told.append(
                ToolMessage(
                    _listing(_shortened(shown, call, messages, longest_passage)),
                    tool_call_id=call["id"],
                    name=searched.name,
                    additional_kwargs=marks,
                )
            )
        # Only the new ones, as the state's reducer appends them.
        return {"messages": told, "sources": sources[known_before:]}

    return retrieve


async def _with_question(
    search: Search,
    calls: Sequence[Any],
    messages: Sequence[BaseMessage],
    columns: Columns,
    config: RunnableConfig,
    least: float,
) -> list[Result]:
    """What the calls find, together with what the question itself finds: a fair share for each call."""
    count = search.results if isinstance(search, DeepSearch) else None
    # A call with filters is searched as it is: the model has narrowed it on purpose.
    open_calls = [call for call in calls if not _filters_of(call) and not refusal_of(call, config)]
    asked = asked_in(messages) if open_calls else Asked()
    depth = None if count is None else DEPTH * count
    own, whole, parts = await asyncio.gather(
        gather_or_cancel(_search(search, call, columns, config, depth) for call in calls),
        gather_or_cancel(_searched(search, query, None, columns, depth) for query in asked.whole),
        gather_or_cancel(_searched(search, query, None, columns, depth) for query in asked.parts),
    )
    found, of_whole, of_parts = ([_good(result, least) for result in results] for results in (own, whole, parts))
    longest = max((len(one) for one in [*found, *of_whole, *of_parts] if not isinstance(one, Exception)), default=0)
    shown = (count or longest) + (MORE_FOR_PARTS if asked.parts else 0)
    lists_of_parts = _succeeded(search, of_parts)
    ranked: list[Result] = []
    for call, one in zip(calls, found, strict=True):
        if isinstance(one, Exception):
            ranked.append(one)
        elif call in open_calls:
            # In two steps, so that a part weighs as much as the whole.
            together = fused([one, *_succeeded(search, of_whole)], of_first=OF_PLANNER if len(calls) == 1 else 1.0)
            everything = fused([together, *lists_of_parts])
            # Several calls are the planner's own parts, and have their shares.
            ranked.append(fair_to_parts(everything, lists_of_parts, shown) if len(calls) == 1 else everything)
        else:
            ranked.append(fused([one]))
    return list(shared(ranked, shown))


def _succeeded(search: Search, results: Sequence[Result]) -> list[Found]:
    """The results without those that failed, which are logged: the planner's own search decides whether to go on."""
    for result in results:
        if isinstance(result, Exception):
            logger.warning("a search of %s for the question failed: %s", search.name, describe_error(result))
    return [result for result in results if not isinstance(result, Exception)]


async def _without_secrets(result: Result) -> Result:
    if isinstance(result, Exception):
        return result
    return [(await document_without_secrets(document), score) for document, score in result]


def _good(result: Result, least: float) -> Result:
    if isinstance(result, Exception):
        return result
    return [(document, score) for document, score in result if score is None or score >= least]


def _record(config: RunnableConfig, name: str, call: Any, result: Result, started: int) -> None:
    """Tell the trace of a search, failed ones too, but not of a call that was refused on purpose."""
    if isinstance(result, NotRun):
        return
    failed = isinstance(result, Exception)
    record_search(
        config,
        query=_query_of(call),
        documents=[] if isinstance(result, Exception) else [document for document, _ in result],
        name=name,
        start_ns=started,
        end_ns=time.time_ns(),
        error=type(result).__name__ if failed else None,
    )


async def _search(
    search: Search, call: Any, columns: Columns, config: RunnableConfig, count: int | None = None
) -> Result:
    if why := refusal_of(call, config):
        return NotRun(why)
    return await _searched(search, _query_of(call), _filters_of(call), columns, count)


async def _searched(search: Search, query: str, filters: Any, columns: Columns, count: int | None) -> Result:
    """The documents, with the keys that spans and citations use, or why there are none."""
    try:
        found = await _found(search, query, filters, count)
        return [(columns.read(document), score) for document, score in found]
    except (RetrievalFailed, ToolException) as error:
        return error


def _query_of(call: Any) -> str:
    return str(call["args"].get("query") or "")


def _filters_of(call: Any) -> Any:
    # Some models write `filter`, in the singular.
    return call["args"].get("filters") or call["args"].get("filter")


async def _found(search: Search, query: str, filters: Any, count: int | None) -> Found:
    if not query.strip():
        raise ToolException("the call needs a query: words to look for.")
    if count is not None and isinstance(search, DeepSearch):
        return await search.candidates(query, filters, count=count)
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
        chunk_id = passage_key(document)
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
                also_in=tuple(safe_link(str(place)) for place in document.metadata.get("also_in") or ()),
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


def _shortened(
    shown: Sequence[Source], call: Any, messages: Sequence[BaseMessage], longest: int | None
) -> list[tuple[int, str]]:
    """Numbers and texts of the passages as the model sees them."""
    texts = [source.text for source in shown]
    if longest is not None:
        asked = [*asked_in(up_to_question(messages)).whole, _query_of(call)]
        texts = excerpts(texts, " ".join(asked), longest=longest)
    return [(source.number, text) for source, text in zip(shown, texts, strict=True)]


def _listing(shown: Sequence[tuple[int, str]]) -> str:
    return "\n\n".join(f"[{number}] {without_markers(text)}" for number, text in shown) or EMPTY_SEARCH


def _numbers(messages: Sequence[BaseMessage]) -> list[int]:
    """The numbers that earlier turns used. In a history that the client resends, `[1]` must not mean two passages."""
    return [
        int(number)
        for message in messages
        if isinstance(message, ToolMessage) and isinstance(message.content, str)
        for number in NUMBERED.findall(message.content)
    ]


def _failed(call: Any, name: str, error: RetrievalFailed | ToolException) -> ToolMessage:
    meaning = "" if isinstance(error, NotRun) else FAULT if isinstance(error, RetrievalFailed) else MISTAKE
    return ToolMessage(redact(f"{error}\n{meaning}".rstrip()), tool_call_id=call["id"], name=name, status="error")
