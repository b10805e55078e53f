"""Which index is asked, and what of it is read: what searches as the app and as a user have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.documents import Document

from graph_agent.app_context import current_settings
from graph_agent.errors import ConfigurationError

OPTIONS = ("score_threshold", "query_columns", "sort_columns")

Found = list[tuple[Document, float]]
Filters = Mapping[str, Any] | str


@dataclass(frozen=True, kw_only=True)
class IndexQuery:
    """A Vector Search index and its columns. `index=None` takes `GRAPH_AGENT_INDEX`."""

    index: str | None = None
    """As `catalog.schema.index`."""

    results: int = 5
    """Passages per search."""

    query_type: Literal["ANN", "HYBRID"] = "HYBRID"
    """By meaning, or by meaning and words."""

    text_column: str = "text"
    """The passage. As the app, an index with managed embeddings names it itself."""

    chunk_id: str = "chunk_id"
    """The primary key: which passage it is."""

    doc_uri: str | None = "doc_uri"
    """The column that says where the passage is from; `None` where there is none."""

    title: str | None = "title"
    """The column a person reads as the passage's name; `None` where there is none."""

    columns: Sequence[str] = ()
    """More columns to read, into the documents' metadata."""

    embedding: str | None = None
    """The serving endpoint that embeds queries, for an index that holds vectors of your own; `None` where Databricks
    computes the embeddings."""

    rerank: Sequence[str] = ()
    """Columns the Databricks reranker reads to order the results anew; empty for no reranking."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """More of the query: `score_threshold`, `query_columns`, `sort_columns`."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.options) - set(OPTIONS)):
            raise ConfigurationError(
                f"no such option of a search: {', '.join(unknown)}; there are {', '.join(OPTIONS)}"
            )
        if self.results < 1:
            raise ConfigurationError("`results` must be at least 1")
        if self.index is not None and self.index.count(".") != 2:
            raise ConfigurationError(f"`index` must be `catalog.schema.index`, not {self.index!r}")

    @property
    def index_name(self) -> str:
        """The index's full name."""
        return self.index or current_settings().index

    @property
    def read(self) -> list[str]:
        """Every column the query asks for."""
        wanted = (self.chunk_id, self.text_column, self.doc_uri, self.title, *self.columns)
        return list(dict.fromkeys(name for name in wanted if name))

    @property
    def asks_with_words(self) -> bool:
        """Whether the index is sent the query's text; one with vectors of its own needs it for hybrid search only."""
        return self.embedding is None or self.query_type == "HYBRID"

    def reranker(self) -> Any:
        """The client's reranker object, or `None`."""
        if not self.rerank:
            return None
        from databricks.ai_search.reranker import DatabricksReranker  # type: ignore[import-untyped]

        return DatabricksReranker(columns_to_rerank=list(self.rerank))

    def titled(self, found: Sequence[tuple[Document, Any]]) -> Found:
        """The passages with their title under `title`, whatever its column is called."""
        for document, _ in found:
            if self.title in document.metadata:
                document.metadata["title"] = document.metadata.pop(self.title)
        return [(document, float(score)) for document, score in found]
