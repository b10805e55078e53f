"""Query embeddings for indexes with self-managed vectors, as the app or as the calling user."""

from typing import TYPE_CHECKING

from graph_agent.databricks.clients import Actor, client_for
from graph_agent.databricks.index_errors import Service, search_error
from graph_agent.errors import AgentError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


def embed_query(text: str, *, endpoint: str, acting_as: Actor) -> list[float]:
    """The vector of a query: one call of the serving endpoint. Synchronous: call it in a thread.

    `DatabricksEmbeddings` is not used: it accepts no client, so it can only act as the app, and it reads the
    workspace's configuration before every call.

    Raises:
        RetrievalFailed: the endpoint refused, or returned no vector.
        Unauthenticated: acting for a user, and there is no token.
    """
    try:
        answer = client_for(acting_as).serving_endpoints.query(name=endpoint, input=[text])
        vector = (answer.data or [])[0].embedding
    except AgentError:
        raise
    except Exception as error:
        raise search_error(error, Service(f"the embedding endpoint {endpoint}", "CAN QUERY", acting_as)) from error
    return [float(number) for number in vector or []]


def app_embeddings(endpoint: str) -> "Embeddings":
    """`embed_query` as a LangChain object, for `VectorSearchRetrieverTool`."""
    # Late: langchain-core's embeddings import numpy.
    from langchain_core.embeddings import Embeddings

    class AppEmbeddings(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return embed_query(text, endpoint=endpoint, acting_as="app")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

    return AppEmbeddings()
