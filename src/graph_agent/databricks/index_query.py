"""Which index a search queries and which columns it reads: the common part of searches as the app and as a user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.documents import Document

from graph_agent.app_context import current_settings
from graph_agent.errors import ConfigurationError

OPTIONS = ("score_threshold", "query_columns", "sort_columns")

OVER_ASKED = 4
"""Passages that are asked for in place of one, so that copies can be left out."""

MOST_ASKED = 200
"""Passages that are asked for to leave copies out. A hybrid search gives no more."""

Found = list[tuple[Document, float]]
Filters = Mapping[str, Any] | str


@dataclass(frozen=True, kw_only=True)
class IndexQuery:
    """A Vector Search index and its columns. `index=None` takes `GRAPH_AGENT_INDEX`."""

    index: str | None = None
    """As `catalog.schema.index`."""

    results: int = 5
    """Passages per search."""

    collapse_copies: bool = True
    """Whether identical and near-identical passages are one result. The search then asks the index for more of them:
    four times as many, and `MOST_ASKED` if all of these are copies of too few."""

    query_type: Literal["ANN", "HYBRID"] = "HYBRID"
    """`ANN` searches by meaning, `HYBRID` by meaning and words."""

    text_column: str = "text"
    """The column with the passage. Searches as the app ignore it for an index with managed embeddings."""

    chunk_id: str = "chunk_id"
    """The primary key, which identifies the passage."""

    doc_uri: str | None = "doc_uri"
    """The column with the source of the passage; `None` if there is none."""

    title: str | None = "title"
    """The column with a readable name of the passage; `None` if there is none."""

    columns: Sequence[str] = ()
    """Additional columns to read into the documents' metadata."""

    embedding: str | None = None
    """The serving endpoint that embeds queries, for an index with self-managed vectors; `None` if Databricks computes
    the embeddings."""

    rerank: Sequence[str] = ()
    """Columns that the Databricks reranker reads to reorder the results; empty for no reranking."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters of the query: `score_threshold`, `query_columns`, `sort_columns`."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.options) - set(OPTIONS)):
            raise ConfigurationError(
                f"unknown search option: {', '.join(unknown)}; the options are {', '.join(OPTIONS)}"
            )
        if self.results < 1:
            raise ConfigurationError("`results` must be at least 1")
        if self.index is not None and self.index.count(".") != 2:
            raise ConfigurationError(f"`index` must be `catalog.schema.index`, not {self.index!r}")

    @property
    def index_name(self) -> str:
        """The index's full name."""
        # At each use, as one object serves several apps.
        return self.index or current_settings().index

    @property
    def read(self) -> list[str]:
        """All columns that the query reads."""
        wanted = (self.chunk_id, self.text_column, self.doc_uri, self.title, *self.columns)
        return list(dict.fromkeys(name for name in wanted if name))

    @property
    def asks_with_words(self) -> bool:
        """Whether the query's text is sent to the index. With self-managed vectors only hybrid search needs it."""
        return self.embedding is None or self.query_type == "HYBRID"

    def reranker(self) -> Any:
        """The client's reranker object, or `None`."""
        if not self.rerank:
            return None
        # Late: importing the client takes seconds.
        from databricks.ai_search.reranker import DatabricksReranker  # type: ignore[import-untyped]

        return DatabricksReranker(columns_to_rerank=list(self.rerank))

    def titled(self, found: Sequence[tuple[Document, Any]]) -> Found:
        """The passages with their title under `title`, independent of the column's name."""
        for document, _ in found:
            if self.title in document.metadata:
                document.metadata["title"] = document.metadata.pop(self.title)
        return [(document, float(score)) for document, score in found]
