"""Records one run as spans with explicit parents, on the request path, without touching MLflow.

Why not MLflow's own callback: it serialises every token and finds parents through context variables, which mis-nests
concurrent runs.
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig

from graph_agent.tracing.payloads import documents_in, holds, model_name, note_answer, note_call, partial_answer, reason
from graph_agent.tracing.records import Kind, RunRecord, SpanRecord

_LOW_BITS = (1 << 64) - 1

NO_SPAN = "graph_agent_no_span"
"""Key in the metadata of a retriever's call whose caller records the search itself, with `record_retrieval`."""


class RunRecorder(BaseCallbackHandler):
    """A callback handler for `config["callbacks"]`: one per run, whose `close()` gives the record to export.

    It sees steps begin and end; of tokens it keeps the text alone, until the call has ended. Chains are kept where
    they are nodes or (sub)graphs; any other chain lends its children to its parent.
    """

    run_inline = True
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
        """Known before anything is exported."""
        self._session, self._user, self._tags = session, user, dict(tags or {})
        self._root = SpanRecord(random.getrandbits(64) or 1, None, graph, "AGENT", time.time_ns(), inputs=inputs)
        self._spans = [self._root]
        self._open: dict[UUID, SpanRecord] = {}
        """Spans under way, by the run they stand for."""
        self._owners: dict[UUID | None, SpanRecord] = {}
        """The span below which the steps of a run belong."""
        self._nodes: dict[UUID | None, str] = {}
        """Runs that are nodes, and their names."""
        self._unnamed: dict[UUID | None, tuple[str, int]] = {}
        """Chains without a span, which may yet turn out to be graphs: name and start."""
        self._written: dict[UUID, list[str]] = {}
        """Text of model calls under way."""
        self._failure: str | None = None
        self._record: RunRecord | None = None

    @property
    def spans(self) -> tuple[SpanRecord, ...]:
        """What was recorded so far, the root first."""
        return tuple(self._spans)

    @property
    def ignore_retry(self) -> bool:
        """Retries are not steps of their own."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Custom events are the graph author's."""
        return True

    def close(
        self,
        *,
        status: Literal["OK", "ERROR"] = "OK",
        outputs: Any = None,
        error: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """End what is still open, the root last. Later callbacks are ignored, and later calls give the same record.

        `error` is what the root says when `status` is `ERROR`; the type of the graph's exception if not given.
        """
        if self._record is not None:
            return self._record
        now = time.time_ns()
        failure = (error or self._failure or "Error") if status == "ERROR" else None
        # A copy: a synchronous node may still be at work in its thread.
        for run_id, written in list(self._written.items()):
            if span := self._open.get(run_id):
                span.outputs = partial_answer(written)
        for span in reversed(self._spans[1:]):
            span.end(now_ns=now, error=failure or "Unfinished")
        self._root.attributes.update(attributes or {})
        self._root.end(now_ns=now, outputs=outputs, error=failure)
        self._record = RunRecord(
            trace_id=self.trace_id, spans=tuple(self._spans), session=self._session, user=self._user, tags=self._tags
        )
        self._open.clear()
        self._owners.clear()
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
        """Add a finished retrieval under the run `parent_run_id`. Times are nanoseconds since 1970."""
        if self._record is None:
            span = self._add(random.getrandbits(64) or 1, parent_run_id, name, "RETRIEVER", {"query": query}, start_ns)
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
        if name is not None and metadata is not None and metadata.get("langgraph_node") == name:
            if parent_run_id is not None and parent_run_id in self._unnamed:
                self._name_subgraph(parent_run_id)
            # A runnable in a node that is named like it is the node's own function, not another node.
            if self._nodes.get(parent_run_id) != name:
                self._start(run_id, parent_run_id, name, "CHAIN")
                self._nodes[run_id] = name
                return
        if parent_run_id in self._owners:
            self._unnamed[run_id] = (name or "chain", time.time_ns())
        self._owners[run_id] = self._owner(parent_run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.pop(run_id, None)
        if span is not None:
            # A node returns its update; a graph its whole state, which its nodes have told already.
            update = outputs if run_id in self._nodes else None
            span.end(now_ns=time.time_ns(), outputs=dict(update) if isinstance(update, dict) else update)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.pop(run_id, None)
        if span is not None:
            span.end(now_ns=time.time_ns(), error=reason(error))
        elif self._owners.get(run_id) is self._root:
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
        said = list(messages[0]) if messages else []
        # Its name where it tells one: a class says little, least of all one that wraps another model.
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
        # Kept because a cancelled model call reports nothing; appending costs no more than the inherited no-op.
        written = self._written.get(run_id)
        if written is not None and token.__class__ is str:
            written.append(token)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.pop(run_id, None)
        self._written.pop(run_id, None)
        if span is not None:
            span.end(now_ns=time.time_ns(), outputs=note_answer(span, response))

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **kwargs: Any
    ) -> None:
        span = self._open.pop(run_id, None)
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
        span = self._open.pop(run_id, None)
        if span is None:
            return
        now = time.time_ns()
        failed = "ToolError" if getattr(output, "status", None) == "error" else None
        span.end(now_ns=now, outputs=output.content if isinstance(output, ToolMessage) else output, error=failed)
        documents = documents_in(output)
        # A retriever the tool called through LangChain has a span already.
        if documents and not any(one.kind == "RETRIEVER" and holds(one, documents[0]) for one in self._spans):
            self._add(random.getrandbits(64) or 1, run_id, span.name, "RETRIEVER", span.inputs, span.start_ns).end(
                now_ns=now, outputs=documents
            )

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.pop(run_id, None)
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
            self._owners[run_id] = self._owner(parent_run_id)
            return
        self._start(run_id, parent_run_id, name or model_name(serialized), "RETRIEVER", {"query": query})

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.pop(run_id, None)
        if span is not None:
            span.end(now_ns=time.time_ns(), outputs=list(documents))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._open.pop(run_id, None)
        if span is not None:
            span.end(now_ns=time.time_ns(), error=reason(error))

    # -- what the callbacks share ---------------------------------------------------------------------------------

    def _start(self, run_id: UUID, parent_run_id: UUID | None, name: str, kind: Kind, inputs: Any = None) -> SpanRecord:
        span = self._add(run_id.int & _LOW_BITS, parent_run_id, name, kind, inputs, time.time_ns())
        if self._record is None:
            self._open[run_id] = self._owners[run_id] = span
        return span

    def _add(
        self, span_id: int, parent_run_id: UUID | None, name: str, kind: Kind, inputs: Any, start_ns: int
    ) -> SpanRecord:
        span = SpanRecord(span_id, self._owner(parent_run_id), name, kind, start_ns, inputs=inputs)
        self._spans.append(span)
        return span

    def _owner(self, run_id: UUID | None) -> SpanRecord:
        return self._owners.get(run_id, self._root)

    def _name_subgraph(self, run_id: UUID) -> None:
        """A chain that turns out to hold nodes is a graph: give it a span of its own, from when it started."""
        name, start_ns = self._unnamed.pop(run_id)
        span = SpanRecord(run_id.int & _LOW_BITS, self._owners[run_id], name, "CHAIN", start_ns)
        self._spans.append(span)
        self._open[run_id] = self._owners[run_id] = span


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
    """Add a RETRIEVER span under the node or tool that `config` was given to; does nothing where no run is recorded.

    For nodes that query an index themselves. Times are nanoseconds since 1970 (`time.time_ns()`). `error` is the type
    of the exception with which it failed, never its message.
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
