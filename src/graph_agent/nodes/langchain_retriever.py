"""Retrievers other than a Vector Search index: any LangChain retriever, and documents with other column names."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from graph_agent.errors import AgentError, RetrievalFailed
from graph_agent.found_documents import NO_SPAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The keys in a retriever's metadata that hold what a citation needs."""

    text: str | None = None
    """The passage; `None` if it is the document's content, as usual in LangChain."""

    doc_uri: str = "doc_uri"
    """The address of the document."""

    chunk_id: str = "chunk_id"
    """The id of the passage. Without it the document's `id` is used."""

    title: str = "title"
    """The text of the link that a person sees."""

    def read(self, document: Document) -> Document:
        """The document with its passage as content, and with the key names that spans, judges and citations use."""
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
    """A LangChain retriever as the planner's tool, as `DocumentSearch` is for an index."""

    retriever: BaseRetriever
    name: str = "search_docs"
    description: str = "Search the documents. Returns the passages that fit the query best."
    columns: Columns = Columns()
    seconds: float = 60.0
    """Limit for one search."""

    @property
    def schema(self) -> dict[str, Any]:
        """The tool's definition for a chat model."""
        query = {"type": "string", "description": "what to look for"}
        parameters = {"type": "object", "properties": {"query": query}, "required": ["query"]}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    async def search(self, query: str) -> Sequence[tuple[Document, float | None]]:
        """The passages and their scores, if the metadata has a `score`.

        Raises:
            RetrievalFailed: the retriever raised, or took over `seconds`. Errors of this package pass unchanged.
        """
        try:
            async with asyncio.timeout(self.seconds):
                # No span for the retriever itself: the node records its documents with the key names above. Models
                # that it calls are still traced and counted.
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
