"""Searches as the app while databricks-langchain is not imported, with the SDK that the process has anyway.

Importing databricks-langchain and the MLflow that it needs takes four seconds of CPU time or more and 210 MB. Without
this module a service would pay for them before its first question, or its first question would wait for them.
"""

import json
import logging
from typing import Any

from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.index_query import Filters, Found, IndexQuery
from graph_agent.databricks.token_search import documents_of
from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.lazy import LazyValue

logger = logging.getLogger(__name__)


class FirstSearch:
    """The index by the SDK's own methods. Synchronous.

    It searches only an index whose embeddings Databricks computes from `text_column`, without reranking, and with
    filters that are no text. For everything else, and after any failure, its methods say that the tool is needed. So
    all messages about a wrong index come from one place.
    """

    def __init__(self, query: IndexQuery) -> None:
        self._query = query
        self._fits = LazyValue(self._described)

    def fits(self) -> bool:
        """Whether searches can be answered. The first use reads the description of the index.

        Raises:
            AgentError: the workspace cannot be reached, or asks for a longer wait than the SDK may take.
        """
        if self._query.embedding is not None or self._query.rerank:
            return False
        try:
            return self._fits()
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the tool is asked next and explains it
            logger.debug("the index is not read by the SDK: %s", describe_error(error))
            return False

    def search(self, text: str, filters: Filters, count: int) -> Found | None:
        """The best `count` passages and their scores, best first; `None` if the tool is needed. Raises as `fits`."""
        if isinstance(filters, str) or not self.fits():
            return None
        query = self._query
        try:
            answer = workspace_client().vector_search_indexes.query_index(
                query.index_name,
                query.read,
                query_text=text,
                query_type=query.query_type,
                num_results=count,
                filters_json=json.dumps(filters) if filters else None,
                **query.options,
            )
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            logger.debug("the index is not searched by the SDK: %s", describe_error(error))
            return None
        # A further page has another address. The tool reads such answers.
        return None if answer.next_page_token else query.titled(documents_of(answer.as_dict(), query))

    def _described(self) -> bool:
        index: Any = workspace_client().vector_search_indexes.get_index(self._query.index_name)
        sources = getattr(index.delta_sync_index_spec, "embedding_source_columns", None) or ()
        return index.primary_key == self._query.chunk_id and [one.name for one in sources] == [self._query.text_column]
