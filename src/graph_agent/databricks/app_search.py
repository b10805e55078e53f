"""Searches as the app, with the search behind `VectorSearchRetrieverTool`, which returns documents and not text."""

from typing import TYPE_CHECKING

from graph_agent.app_context import current_settings
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.embeddings import app_embeddings
from graph_agent.databricks.index_query import Filters, Found, IndexQuery
from graph_agent.databricks.search_threads import limit_waiting
from graph_agent.errors import RetrievalFailed
from graph_agent.lazy import IMPORT_LOCK, LazyValue

if TYPE_CHECKING:
    from databricks_langchain import VectorSearchRetrieverTool

SUPPORTED_CREDENTIALS = ("pat", "oauth-m2m")
"""Kinds of credentials that the tool takes from a client. For any other kind it silently uses those of the process."""


class AppSearch:
    """The tool of one index. The first search builds it, with four calls. Synchronous."""

    def __init__(self, query: IndexQuery) -> None:
        self._query = query
        self.tool = LazyValue(self._build)

    def search(self, text: str, filters: Filters, count: int) -> Found | None:
        """The best `count` passages and their scores, best first; `None` if the tool would not use the app's
        credentials."""
        if workspace_client().config.auth_type not in SUPPORTED_CREDENTIALS:
            return None
        # In each call, as the client keeps one connection per thread.
        limit_waiting(current_settings().request_seconds)
        tool = self.tool()
        found = tool._vector_store.similarity_search_with_score(
            query=text,
            k=count,
            filter=filters or None,
            query_type=tool.query_type,
            disable_notice=True,
            **self._query.options,
        )
        return self._query.titled(found)

    def warm(self) -> None:
        """Build the tool now."""
        if workspace_client().config.auth_type in SUPPORTED_CREDENTIALS:
            self.tool()

    def _build(self) -> "VectorSearchRetrieverTool":
        limit_waiting(current_settings().request_seconds)
        client = workspace_client()
        with IMPORT_LOCK:
            from databricks_langchain import VectorSearchRetrieverTool
        query = self._query
        managed = query.embedding is None
        try:
            return VectorSearchRetrieverTool(
                index_name=query.index_name,
                # Without a name and description the constructor makes two more calls. No model reads them.
                tool_name="search",
                tool_description="Search.",
                num_results=query.results,
                query_type=query.query_type,
                columns=[name for name in query.read if name != query.text_column],
                doc_uri=query.doc_uri,
                primary_key=query.chunk_id,
                text_column=None if managed else query.text_column,
                embedding=None if query.embedding is None else app_embeddings(query.embedding),
                reranker=query.reranker(),
                # Without a client the tool fails with the service principal variables that Databricks Apps sets.
                workspace_client=client,
            )
        except ValueError as error:
            raise RetrievalFailed(
                f"the index {query.index_name} does not match `DocumentSearch`: check the column names; "
                "`embedding` and `text_column` are for an index with self-managed vectors, which must be as long as "
                "the endpoint's vectors; leave `embedding` out for an index with managed embeddings"
            ) from error
