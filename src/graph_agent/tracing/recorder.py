"""Records one run as spans with explicit parents, in the request's thread and without MLflow.

MLflow's own callback is not used, because it serializes every token, and because it finds parents through context
variables, which nests concurrent runs wrongly.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult

from graph_agent.found_documents import NO_SPAN
from graph_agent.tracing.payloads import documents_in, holds, model_name, note_answer, note_call, partial_answer, reason
from graph_agent.tracing.records import Kind, RunRecord, SpanRecord
from graph_agent.tracing.span_tree import SpanTree


class RunRecorder(BaseCallbackHandler):
    """A callback handler for `config["callbacks"]`, one per run. `close()` returns the record to export.

    It records when steps begin and end. Of tokens it keeps only the text, until the call has ended. Chains become spans
    if they are nodes or (sub)graphs. The children of any other chain belong to its parent.
    """

    # Otherwise LangChain calls the handler in other threads, where the end of a step may arrive before its start.
    run_inline = True
    # A bug in tracing must not fail the run.
    raise_error = False

    def __init__(
        self,
        *,
        graph: str,
        inputs: Any,
        session: str | None = None,
        user: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.trace_id = f"tr-{uuid4().hex}"
        """Chosen here, so that it is known before the export."""
        self._session, self._user, self._tags = session, user, dict(tags or {})
        self._tree = SpanTree(graph, inputs)
        self._nodes: dict[UUID | None, str] = {}
        """Steps that are nodes, and their names."""
        self._written: dict[UUID, list[str]] = {}
        """The text of model calls that have not ended."""
        self._failure: str | None = None
        self._record: RunRecord | None = None

    @property
    def spans(self) -> tuple[SpanRecord, ...]:
        """The spans so far. The root comes first."""
        return tuple(self._tree.spans)

    told_by_monitor = False
    """Whether the run's monitor calls the methods, instead of LangChain, which takes several times as long."""

    @property
    def ignore_retry(self) -> bool:
        """Retries are not separate steps."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Custom events belong to the author of the graph."""
        return True

    def close(
        self,
        *,
        status: Literal["OK", "ERROR"] = "OK",
        outputs: Any = None,
        error: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """End the open spans, the root last. Later callbacks are ignored, and later calls return the same record.

        `error` is the error of the root if `status` is `ERROR`. Without it, it is the type of the graph's exception.
        """
        if self._record is not None:
            return self._record
        now = time.time_ns()
        failure = (error or self._failure or "Error") if status == "ERROR" else None
        tree = self._tree
        # A copy, because a synchronous node may still be running in its thread.
        for run_id, written in list(self._written.items()):
            if span := tree.find_open(run_id):
                span.outputs = partial_answer(written)
        # Spans that have ended ignore this.
        for span in reversed(tree.spans[1:]):
            span.end(now_ns=now, error=failure or "Unfinished")
        tree.root.attributes.update(attributes or {})
        tree.root.end(now_ns=now, outputs=outputs, error=failure)
        self._record = RunRecord(
            trace_id=self.trace_id, spans=tuple(tree.spans), session=self._session, user=self._user, tags=self._tags
        )
        tree.close()
        return self._record

    def retrieved(
        self,
        *,
        query: str,
        documents: Sequence[Document],
        name: str,
        start_ns: int,
        end_ns: int,
        parent_run_id: UUID | None = None,
        error: str | None = None,
    ) -> None:
        """Add a finished retrieval under the step `parent_run_id`. Times are nanoseconds since 1970."""
        if self._record is None:
            span = self._tree.add(parent_run_id, name, "RETRIEVER", {"query": query}, start_ns)
            span.end(now_ns=end_ns, outputs=None if error else list(documents), error=error)

    # -- chains ---------------------------------------------------------------------------------------------------

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if self._record is not None:
            return
        # LangGraph runs a node as a chain with the node's name. It reports no other difference to other chains.
        if name is not None and metadata is not None and metadata.get("langgraph_node") == name:
            self._tree.became_graph(parent_run_id)
            # A chain in a node that has the node's name is the node's own function, not another node.
            if self._nodes.get(parent_run_id) != name:
                self._start(run_id, parent_run_id, name, "CHAIN")
                self._nodes[run_id] = name
                return
        self._tree.pass_on(run_id, parent_run_id, name or "chain")

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        if span is not None:
            # A node returns its update. A graph returns its whole state, which its nodes' spans have already.
            update = outputs if run_id in self._nodes else None
            span.end(now_ns=time.time_ns(), outputs=dict(update) if isinstance(update, dict) else update)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        if span is not None:
            span.end(now_ns=time.time_ns(), error=reason(error))
        elif self._tree.is_outermost(run_id):
            self._failure = reason(error)

    # -- models ---------------------------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # A copy of the list, because the caller may change its own before the export.
        said = list(messages[0]) if messages else []
        # The model's name, if it is known. The name of a class says little, above all if it wraps another model.
        called = name or (metadata or {}).get("ls_model_name") or model_name(serialized)
        span = self._start(run_id, parent_run_id, called, "CHAT_MODEL", {"messages": said})
        note_call(span, metadata, kwargs.get("invocation_params"))
        self._written[run_id] = []

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        span = self._start(run_id, parent_run_id, name or model_name(serialized), "LLM", {"prompts": list(prompts)})
        note_call(span, metadata, kwargs.get("invocation_params"))
        self._written[run_id] = []

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        # The text is kept because a cancelled model call reports no answer. Appending costs no more than the inherited
        # method, which does nothing. Tokens that are not strings belong to tool calls and content blocks.
        written = self._written.get(run_id)
        if written is not None and token.__class__ is str:
            written.append(token)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        self._written.pop(run_id, None)
        if span is not None:
            span.end(now_ns=time.time_ns(), outputs=note_answer(span, response))

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **kwargs: Any
    ) -> None:
        span = self._tree.end(run_id)
        written = self._written.pop(run_id, None)
        if span is not None:
            said = note_answer(span, response) if response else None
            span.end(now_ns=time.time_ns(), outputs=said or partial_answer(written), error=reason(error))

    # -- tools and retrievers -------------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        name: str | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given: Any = input_str if inputs is None else dict(inputs)
        self._start(run_id, parent_run_id, name or (serialized or {}).get("name") or "tool", "TOOL", given)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        if span is None:
            return
        now = time.time_ns()
        failed = "ToolError" if getattr(output, "status", None) == "error" else None
        span.end(now_ns=now, outputs=output.content if isinstance(output, ToolMessage) else output, error=failed)
        documents = documents_in(output)
        # MLflow's scorers find retrieved documents only in RETRIEVER spans. If the tool called a retriever through
        # LangChain, that has such a span already.
        if documents and not any(one.kind == "RETRIEVER" and holds(one, documents[0]) for one in self._tree.spans):
            self._tree.add(run_id, span.name, "RETRIEVER", span.inputs, span.start_ns).end(
                now_ns=now, outputs=documents
            )

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        if span is not None:
            span.end(now_ns=time.time_ns(), error=reason(error))

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if NO_SPAN in (metadata or {}):
            self._tree.pass_on(run_id, parent_run_id)
            return
        self._start(run_id, parent_run_id, name or model_name(serialized), "RETRIEVER", {"query": query})

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        if span is not None:
            span.end(now_ns=time.time_ns(), outputs=list(documents))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._tree.end(run_id)
        if span is not None:
            span.end(now_ns=time.time_ns(), error=reason(error))

    def _start(self, run_id: UUID, parent_run_id: UUID | None, name: str, kind: Kind, inputs: Any = None) -> SpanRecord:
        if self._record is None:
            return self._tree.start(run_id, parent_run_id, name, kind, inputs)
        # A synchronous node may still be running after `close`. Its steps go to a span that nobody exports.
        return SpanRecord(0, None, name, kind, 0)
