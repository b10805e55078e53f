"""Retrievers that are not a Vector Search index: any LangChain retriever, and documents with other column names."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from graph_agent.errors import AgentError, RetrievalFailed
from graph_agent.tracing import NO_SPAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where a retriever's documents say what a citation needs: names of keys in their metadata."""

    text: str | None = None
    """The passage; `None` where it is the document's content, as LangChain has it."""

    doc_uri: str = "doc_uri"
    """Where the document is."""

    chunk_id: str = "chunk_id"
    """Which passage of it; the document's `id` stands in."""

    title: str = "title"
    """What a person sees as the link's text."""

    def read(self, document: Document) -> Document:
        """The document with its passage as content and the names every span, judge and citation knows."""
        metadata = dict(document.metadata)
        text = document.page_content if self.text is None else str(metadata.pop(self.text, document.page_content))
        for name in ("doc_uri", "chunk_id", "title"):
            own = getattr(self, name)
            if own != name and own in metadata:
                metadata[name] = metadata.pop(own)
        if document.id is not None:
            metadata.setdefault("chunk_id", document.id)
        return Document(id=document.id, page_content=text, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class RetrieverSearch:
    """A LangChain retriever as the planner's tool, like `DocumentSearch` for an index."""

    retriever: BaseRetriever
    name: str = "search_docs"
    description: str = "Search the documents. Returns the passages that fit the query best."
    columns: Columns = Columns()
    seconds: float = 60.0
    """Longest time of one search."""

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as a chat model is told of it."""
        query = {"type": "string", "description": "what to look for"}
        parameters = {"type": "object", "properties": {"query": query}, "required": ["query"]}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    async def search(self, query: str) -> Sequence[tuple[Document, float | None]]:
        """The passages and their scores, where the metadata holds one as `score`.

        Raises:
            RetrievalFailed: the retriever raised, or took over `seconds`. Other errors of this package pass.
        """
        try:
            async with asyncio.timeout(self.seconds):
                # Its models are traced and counted; its documents are recorded by the node, under the names above.
                documents = await self.retriever.ainvoke(query, {"metadata": {NO_SPAN: True}})
        except AgentError:
            raise
        except TimeoutError:
            raise RetrievalFailed(f"{self.name} did not answer within {self.seconds:g} s") from None
        except Exception as error:
            raise RetrievalFailed(f"{self.name} failed ({type(error).__name__})") from error
        return [(self.columns.read(document), _score(document)) for document in documents]


def _score(document: Document) -> float | None:
    score = document.metadata.get("score")
    return float(score) if isinstance(score, int | float) else None
