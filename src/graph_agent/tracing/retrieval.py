"""Records searches that nodes and tools make without a LangChain retriever."""

from collections.abc import Sequence

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig

from graph_agent.tracing.recorder import RunRecorder


def record_retrieval(
    config: RunnableConfig,
    *,
    query: str,
    documents: Sequence[Document],
    name: str,
    start_ns: int,
    end_ns: int,
    error: str | None = None,
) -> None:
    """Add a RETRIEVER span under the node or tool that received `config`. Does nothing if no run is recorded.

    It is for nodes that query an index themselves. Times are nanoseconds since 1970 (`time.time_ns()`). `error` is the
    type of the exception that the search failed with, never its message.
    """
    callbacks = config.get("callbacks")
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or []
    parent = callbacks.parent_run_id if isinstance(callbacks, BaseCallbackManager) else None
    for handler in handlers:
        if isinstance(handler, RunRecorder):
            handler.retrieved(
                query=query,
                documents=documents,
                name=name,
                start_ns=start_ns,
                end_ns=end_ns,
                parent_run_id=parent,
                error=error,
            )
