"""Documents that a search has found, on their way from nodes and retrievers to whoever tells the steps of the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

NO_SPAN = "graph_agent_no_span"
"""A key in the metadata of a retriever's call. With it, the caller records and tells the search itself."""

MOST_DOCUMENTS = 20
"""The most documents of one search that are told."""

_ADDRESSES = ("doc_uri", "url", "source")
"""Keys of a document's metadata under which retrievers keep its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDocument:
    """A passage, as the search gave it."""

    id: str
    title: str
    text: str
    url: str | None = None
    score: float | None = None
    number: int | None = None
    """The number under which an answer may cite it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one search has found."""

    query: str
    documents: Sequence[FoundDocument]
    """Best first, at most `MOST_DOCUMENTS`."""
    call_id: str | None = None
    """The provider's id of the tool call that asked for it."""


class SearchListener(BaseCallbackHandler):
    """The interface of a run's callbacks to what searches without a LangChain retriever."""

    def found(self, found: Finding, *, parents: Sequence[UUID], metadata: Mapping[str, Any]) -> None:
        """The node or tool with one of these run ids and this metadata has searched."""
        raise NotImplementedError


def tell_found(config: RunnableConfig, found: Finding) -> None:
    """Tell what the node or tool that received `config` has found. Does nothing if nobody listens."""
    callbacks = config.get("callbacks")
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or []
    listeners = [one for one in handlers if isinstance(one, SearchListener)]
    if listeners:
        parent = callbacks.parent_run_id if isinstance(callbacks, BaseCallbackManager) else None
        for listener in listeners:
            listener.found(found, parents=callers(parent), metadata=config.get("metadata") or {})


def callers(parent: UUID | None) -> list[UUID]:
    """The run ids of the node or tool that calls: that of the config which it was given, and that of the context.

    A tool receives the config of its node. Only the context says that this is in a tool.
    """
    within = (var_child_runnable_config.get() or {}).get("callbacks")
    ids = [parent, within.parent_run_id if isinstance(within, BaseCallbackManager) else None]
    return [one for one in ids if one is not None]


def described(documents: Sequence[Document]) -> list[FoundDocument]:
    """The first of these documents, with what their metadata says of them under its usual names."""
    return [_described(one) for one in documents[:MOST_DOCUMENTS]]


def _described(document: Document) -> FoundDocument:
    metadata = document.metadata
    address = next((str(metadata[key]) for key in _ADDRESSES if metadata.get(key)), None)
    id_ = str(metadata.get("chunk_id") or document.id or "")
    return FoundDocument(
        id=id_,
        title=str(metadata.get("title") or address or id_),
        text=document.page_content,
        url=address,
        score=score_of(metadata.get("score")),
    )


def score_of(value: Any) -> float | None:
    """A score as a number that JSON knows, if it is one."""
    try:
        # Of NumPy too, whose numbers are no `float`.
        score = None if value is None or isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return score if score is not None and math.isfinite(score) else None
