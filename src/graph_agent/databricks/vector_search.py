"""Documents out of `VectorSearchRetrieverTool`.

The tool hands its model a Python repr of documents. Here the same tool, index and filters give the documents
themselves, with ids a citation can be checked against.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.documents import Document

from graph_agent.databricks.clients import settings, workspace_client
from graph_agent.errors import RetrievalFailed
from graph_agent.late import IMPORTING

if TYPE_CHECKING:
    from databricks_langchain import VectorSearchRetrieverTool

SEARCHES_AT_ONCE = 8
"""Threads for searches; the tool is synchronous, and the default executor has six on two cores."""


@dataclass(frozen=True, kw_only=True)
class DocumentSearch:
    """A Vector Search index as the planner's tool. Makes no call until the first search.

    `columns` are read beside the text; `doc_uri` and `chunk_id` name the columns that say where a passage is from.
    `index=None` takes `GRAPH_AGENT_INDEX`.
    """

    name: str = "search_docs"
    description: str = "Search the documents. Returns the passages that fit the query best."
    example: str = "how to install it"
    """A query as a model should write it; small models need one."""

    index: str | None = None
    results: int = 5
    query_type: Literal["ANN", "HYBRID"] = "HYBRID"
    columns: Sequence[str] = ("chunk_id", "text", "doc_uri", "title")
    doc_uri: str = "doc_uri"
    chunk_id: str = "chunk_id"
    filters: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """More arguments for `VectorSearchRetrieverTool`."""

    client: Callable[[], Any] = workspace_client

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as a chat model is told of it."""
        query = {"type": "string", "description": "what to look for", "maxLength": 200, "examples": [self.example]}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {"type": "object", "properties": {"query": query}, "required": ["query"]},
            },
        }

    async def search(self, query: str) -> list[tuple[Document, float]]:
        """The best passages and their scores, best first; none below `GRAPH_AGENT_MIN_SCORE`.

        Raises:
            RetrievalFailed: the index refused, or was silent for `GRAPH_AGENT_REQUEST_SECONDS`.
        """
        seconds = settings().request_seconds
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, self._search, query)
        except TimeoutError:
            raise RetrievalFailed(f"the index did not answer within {seconds:g} s") from None
        except Exception as error:
            # The client's exceptions quote request and response bodies.
            raise RetrievalFailed(f"the index could not be searched ({type(error).__name__})") from error

    def _search(self, query: str) -> list[tuple[Document, float]]:
        tool = self._tool
        found = tool._vector_store.similarity_search_with_score(
            query=query,
            k=tool.num_results,
            filter=dict(tool.filters or {}),
            query_type=tool.query_type,
            **(tool.model_extra or {}),
        )
        least = settings().min_score
        return [(document, float(score)) for document, score in found if score >= least]

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(SEARCHES_AT_ONCE, thread_name_prefix=f"search-{self.name}")

    @cached_property
    def _tool(self) -> "VectorSearchRetrieverTool":
        # Late: databricks-langchain takes over ten seconds to import.
        with IMPORTING:
            from databricks_langchain import VectorSearchRetrieverTool

        return VectorSearchRetrieverTool(
            index_name=self.index or settings().index,
            tool_name=self.name,
            # A description of our own saves the constructor two calls.
            tool_description=self.description,
            num_results=self.results,
            query_type=self.query_type,
            columns=list(self.columns),
            doc_uri=self.doc_uri,
            primary_key=self.chunk_id,
            filters=dict(self.filters) or None,
            # Without it the tool fails under the service-principal variables that Apps sets.
            workspace_client=self.client(),
            disable_notice=True,
            **self.options,
        )
