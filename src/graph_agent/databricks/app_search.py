"""Searches as the app, with the search behind `VectorSearchRetrieverTool`, which returns documents and not text.

The first search does not wait for the tool's imports: `first_search` answers it, and the tool is made meanwhile.
"""

import atexit
import logging
import sys
import threading
import time
from contextvars import copy_context
from typing import TYPE_CHECKING

from graph_agent.app_context import current_settings
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.embeddings import app_embeddings
from graph_agent.databricks.first_search import FirstSearch
from graph_agent.databricks.index_query import Filters, Found, IndexQuery
from graph_agent.databricks.search_threads import limit_waiting
from graph_agent.errors import RetrievalFailed
from graph_agent.foreign_errors import describe_error
from graph_agent.lazy import IMPORT_LOCK, LazyValue

if TYPE_CHECKING:
    from databricks_langchain import VectorSearchRetrieverTool

logger = logging.getLogger(__name__)

SUPPORTED_CREDENTIALS = ("pat", "oauth-m2m")
"""Kinds of credentials that the tool takes from a client. For any other kind it silently uses those of the process."""


LONGEST_IMPORT_SECONDS = 30.0
"""How long a process waits at its end for the imports of the tool. A command of graph-agent does not wait."""


class AppSearch:
    """The tool of one index, which is built with four calls. Synchronous."""

    def __init__(self, query: IndexQuery) -> None:
        self._query = query
        self._first = FirstSearch(query)
        self._starting = threading.Lock()
        self._builder: threading.Thread | None = None
        self.tool = LazyValue(self._build)

    def search(self, text: str, filters: Filters, count: int) -> Found | None:
        """The best `count` passages and their scores, best first; `None` if the tool would not use the app's
        credentials."""
        if workspace_client().config.auth_type not in SUPPORTED_CREDENTIALS:
            return None
        if self._is_early and (found := self._first.search(text, filters, count)) is not None:
            self._build_meanwhile()
            return found
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

    def warm(self) -> bool:
        """Do what delays the first search, and return whether searches use the app's credentials here, as in `search`.

        The tool is built now only if the first search needs it.
        """
        if workspace_client().config.auth_type not in SUPPORTED_CREDENTIALS:
            return False
        if not (self._is_early and self._first.fits()):
            self.tool()
        return True

    @property
    def _is_early(self) -> bool:
        """Whether the tool is not there, and a search that needs it would wait for seconds of imports."""
        if self.tool.ready:
            return False
        builder = self._builder
        imported = hasattr(sys.modules.get("databricks_langchain"), "VectorSearchRetrieverTool")
        return not imported if builder is None else builder.is_alive()

    def _build_meanwhile(self) -> None:
        """Build the tool in a thread, once. A failure is that of the next search, which builds it itself."""
        with self._starting:
            if self._builder is not None:
                return
            run = copy_context().run
            builder = threading.Thread(target=run, args=(self._try_to_build,), name="search-tool", daemon=True)
            builder.start()
            self._builder = builder
        # A thread that imports a native library at the interpreter's end would end the process with an error. A program
        # with one question comes to its end before.
        atexit.register(builder.join, LONGEST_IMPORT_SECONDS)

    def _try_to_build(self) -> None:
        try:
            self.tool()
        except Exception as error:  # noqa: BLE001 - as said above
            logger.debug("the search tool was not built: %s", describe_error(error))

    def _build(self) -> "VectorSearchRetrieverTool":
        limit_waiting(current_settings().request_seconds)
        client = workspace_client()
        # In two parts: what has little to import, such as the store of traces, gets in between.
        with IMPORT_LOCK:
            import mlflow  # noqa: F401
        time.sleep(0.001)
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
