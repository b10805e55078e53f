"""Records searches that nodes and tools make without a LangChain retriever."""

from collections.abc import Sequence

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig

from graph_agent.found_documents import Finding, described, tell_found
from graph_agent.runs.monitor import RunMonitor
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

    A run that tells its steps also tells the documents, unless the search has failed.
    """
    record_search(config, query=query, documents=documents, name=name, start_ns=start_ns, end_ns=end_ns, error=error)
    if error is None:
        tell_found(config, Finding(query=query, documents=described(documents)))


def record_search(
    config: RunnableConfig,
    *,
    query: str,
    documents: Sequence[Document],
    name: str,
    start_ns: int,
    end_ns: int,
    error: str | None = None,
) -> None:
    """The same without telling the documents, for a node that numbers them first."""
    callbacks = config.get("callbacks")
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or []
    parent = callbacks.parent_run_id if isinstance(callbacks, BaseCallbackManager) else None
    monitors = [one for one in handlers if isinstance(one, RunMonitor)]
    for monitor in monitors:
        monitor.times.searched((end_ns - start_ns) / 1e9)
    for handler in (*handlers, *(told for monitor in monitors for told in monitor.told)):
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
