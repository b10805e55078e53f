"""Searches with a given token, over the asynchronous index client, which sends one request to the index only.

`VectorSearchRetrieverTool` cannot act for a user: it replaces credentials that it does not know with the process's own.
"""

import threading
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langchain_core.documents import Document

from graph_agent.databricks.cookies import reject_cookies
from graph_agent.databricks.index_query import Filters, Found, IndexQuery
from graph_agent.lazy import IMPORT_LOCK

if TYPE_CHECKING:
    import httpx

_CONNECTIONS: WeakKeyDictionary[AbstractEventLoop, "httpx.AsyncClient"] = WeakKeyDictionary()
_MAKING = threading.Lock()


def prepare(loop: AbstractEventLoop) -> None:
    """Import the client and create its connection pool for a loop. Takes seconds the first time: call it in a thread.

    By itself the client creates the pool on the loop, where loading the certificates blocks for 50 to 150 ms. It also
    keeps pools by the loop's `id`, which a later loop may reuse.
    """
    with _MAKING:
        made = _CONNECTIONS.get(loop)
        if made is None or made.is_closed:
            _CONNECTIONS[loop] = _connected(id(loop))


def _connected(key: int) -> "httpx.AsyncClient":
    import httpx

    with IMPORT_LOCK:
        import_module("databricks_ai_bridge.utils.vector_search")
        import_module("databricks.ai_search.async_index")
        from databricks.ai_search import async_utils  # type: ignore[import-untyped]
    # No limit here: the search that uses it sets one.
    made = httpx.AsyncClient(timeout=None)
    reject_cookies(made.cookies.jar)
    # The client's own registry of pools; it has no public way to pass one in.
    async_utils._clients[key] = made
    return made


async def search_with_token(
    token: str,
    query: IndexQuery,
    text: str,
    filters: Filters,
    *,
    host: str,
    vector: Sequence[float] | None,
    count: int,
) -> Found:
    """The best `count` passages and their scores, best first.

    It is one request with `token`, over the loop's shared connections. The client has no time limit, so the caller
    sets one. Cancelling it closes the request.
    """
    from databricks.ai_search.async_index import AsyncAISearchIndex  # type: ignore[import-untyped]

    index = AsyncAISearchIndex(
        workspace_url=host,
        # Empty: a user's token is only valid at the workspace's own address.
        index_url="",
        name=query.index_name,
        endpoint_name="",
        personal_access_token=token,
        use_user_passed_credentials=True,
    )
    page = await index.similarity_search(
        columns=query.read,
        query_text=text if query.asks_with_words else None,
        query_vector=None if vector is None else list(vector),
        filters=filters or None,
        num_results=count,
        query_type=query.query_type,
        reranker=query.reranker(),
        # Otherwise the client prints a notice with every query.
        disable_notice=True,
        **query.options,
    )
    return query.titled(documents_of(page, query))


def documents_of(page: dict[str, Any], query: IndexQuery) -> list[tuple[Document, float]]:
    """The rows of an answer as documents, in the form that the tool returns."""
    from databricks_ai_bridge.utils.vector_search import (  # type: ignore[import-untyped]
        RetrieverSchema,
        parse_vector_search_response,
    )

    schema = RetrieverSchema(
        text_column=query.text_column,
        doc_uri=query.doc_uri,
        primary_key=query.chunk_id,
        other_columns=query.read,
    )
    return list(parse_vector_search_response(page, retriever_schema=schema, document_class=Document))
