"""Searches as the app: the search of `VectorSearchRetrieverTool` itself, which gives documents in place of text."""

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

HONOURED = ("pat", "oauth-m2m")
"""Kinds of credentials the tool takes over from a client. For any other it uses the process's own in silence."""


class AppSearch:
    """The tool of one index, built on the first search with four calls. Synchronous."""

    def __init__(self, query: IndexQuery) -> None:
        self._query = query
        self.tool = LazyValue(self._build)

    def search(self, text: str, filters: Filters) -> Found | None:
        """The best passages and their scores, best first; `None` where the tool would not use the app's credentials."""
        if workspace_client().config.auth_type not in HONOURED:
            return None
        limit_waiting(current_settings().request_seconds)
        tool = self.tool()
        found = tool._vector_store.similarity_search_with_score(
            query=text,
            k=tool.num_results,
            filter=filters or None,
            query_type=tool.query_type,
            disable_notice=True,
            **self._query.options,
        )
        return self._query.titled(found)

    def warm(self) -> None:
        """Build the tool now."""
        if workspace_client().config.auth_type in HONOURED:
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
                # A name and description of our own save the constructor two calls; no model reads them.
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
                # Without it the tool fails under the service-principal variables that Apps sets.
                workspace_client=client,
            )
        except ValueError as error:
            raise RetrievalFailed(
                f"the index {query.index_name} is not as `DocumentSearch` describes it: check its columns' names; "
                "`embedding` and `text_column` are for an index that holds vectors of your own, whose length must be "
                "that of the endpoint's vectors, and one with managed embeddings takes no `embedding`"
            ) from error
