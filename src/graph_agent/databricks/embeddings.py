"""Query embeddings for indexes that hold vectors of their own, as the app or as the calling user."""

from typing import TYPE_CHECKING

from graph_agent.databricks.clients import Actor, client_for
from graph_agent.databricks.index_errors import Service, search_error
from graph_agent.errors import AgentError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


def embed_query(text: str, *, endpoint: str, acting_as: Actor) -> list[float]:
    """The vector of a query: one call of the serving endpoint. Synchronous; call it in a thread.

    `DatabricksEmbeddings` would do for the app alone: it takes no client, so it can act for nobody else, and looks the
    workspace's configuration up before every call.

    Raises:
        RetrievalFailed: the endpoint refused, or gave no vector.
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
    """The same as a LangChain object, for `VectorSearchRetrieverTool`."""
    # Late: langchain-core's embeddings bring numpy.
    from langchain_core.embeddings import Embeddings

    class AppEmbeddings(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return embed_query(text, endpoint=endpoint, acting_as="app")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

    return AppEmbeddings()
