"""The callback that sees which documents the searches of a run find, for the events that tell its steps.

What runs inside a tool is private. So a search in there is told when the tool has returned, and only with the passages
that its result repeats, which the client sees anyway.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from graph_agent.found_documents import (
    MOST_DOCUMENTS,
    NO_SPAN,
    Finding,
    FoundDocument,
    SearchListener,
    callers,
    described,
)
from graph_agent.runs.node_watch import task_of
from graph_agent.runs.printed_documents import printed_documents

_BREAKS = re.compile(r"[\\\"'\n\r\t]+")
"""Where the same text differs, if it is written as JSON or as Python."""

BEGINNING = 500
"""The characters of a passage that are looked for in a result."""


@dataclass(slots=True)
class _Tool:
    """A public tool that runs."""

    task: str | None
    call_id: str | None
    inputs: Mapping[str, Any]
    found: list[tuple[str, FoundDocument]] = field(default_factory=list)
    """What searches in it have found, each with the query."""


class SearchWatch(SearchListener):
    """Watches the searches of one run."""

    # Otherwise LangChain calls the handler in other threads, where a tool may have returned before its search.
    run_inline = True
    # A bug in this must not fail the run.
    raise_error = False
    # A token costs nothing here.
    ignore_llm = True
    ignore_chat_model = True
    ignore_chain = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, *, is_private: Callable[[UUID | None], bool], found: Callable[[str, Finding], None]) -> None:
        """`found` gets LangGraph's id of the task in which something was found."""
        self._is_private = is_private
        self._found = found
        self._tools: dict[UUID, _Tool] = {}
        self._searches: dict[UUID, tuple[str, list[UUID], Mapping[str, Any]]] = {}
        """The retrievers that run: query, callers and metadata."""

    def found(self, found: Finding, *, parents: Sequence[UUID], metadata: Mapping[str, Any]) -> None:
        tool = next((self._tools[one] for one in parents if one in self._tools), None)
        if tool is not None:
            tool.found += [(found.query, one) for one in found.documents[: MOST_DOCUMENTS - len(tool.found)]]
        elif not any(map(self._is_private, parents)):
            self._tell(task_of(metadata), found)

    # -- retrievers ---------------------------------------------------------------------------------------------

    def on_retriever_start(
        self,
        serialized: Any,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # A retriever that asks others tells what they have found. One that is marked is told by its node.
        if parent_run_id not in self._searches and NO_SPAN not in (metadata or {}):
            self._searches[run_id] = (query, callers(parent_run_id), metadata or {})

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        if (search := self._searches.pop(run_id, None)) is not None:
            query, parents, metadata = search
            self.found(Finding(query=query, documents=described(documents)), parents=parents, metadata=metadata)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._searches.pop(run_id, None)

    # -- tools --------------------------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not self._is_private(parent_run_id):
            self._tools[run_id] = _Tool(task_of(metadata or {}), tool_call_id, inputs or {})

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        tool = self._tools.pop(run_id, None)
        if tool is None or getattr(output, "status", None) == "error":
            return
        text = output.text if isinstance(output, BaseMessage) else output if isinstance(output, str) else ""
        returned = [("", one) for one in described(_documents_in(output) or printed_documents(text))]
        shown = [(query, one) for query, one in tool.found or returned if _repeats(text, one.text)]
        if shown:
            query = _query(tool.inputs, (query for query, _ in shown))
            self._tell(tool.task, Finding(query=query, documents=[one for _, one in shown], call_id=tool.call_id))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._tools.pop(run_id, None)

    def _tell(self, task: str | None, found: Finding) -> None:
        if task is not None:
            self._found(task, found)


def _documents_in(output: Any) -> list[Document]:
    artifact = getattr(output, "artifact", None)
    return [one for one in artifact if isinstance(one, Document)] if isinstance(artifact, list) else []


def _repeats(text: str, passage: str) -> bool:
    longest = max(_BREAKS.split(passage[:BEGINNING]), key=len).strip()
    return bool(longest) and longest in text


def _query(inputs: Mapping[str, Any], queries: Iterable[str]) -> str:
    """The query, if the client knows it from the call. What a tool makes of its inputs is private."""
    given = [value for value in inputs.values() if isinstance(value, str)]
    asked = inputs.get("query")
    known = next((query for query in queries if query and query in given), None)
    return known or (asked if isinstance(asked, str) else "")
