"""The callback from which the tokens of a run come, and what its tools do, as parts of the graph's stream."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel._tools import StreamToolCallHandler

from graph_agent.client_tools import NO_TOOLS, ClientTools
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.translator import SPEAKER
from graph_agent.runs.monitor import RunMonitor
from graph_agent.runs.run_spending import RunSpending, TokenGate
from graph_agent.runs.stream import Part
from graph_agent.settings import Budgets

logger = logging.getLogger(__name__)

PLACE = "langgraph_checkpoint_ns"
"""Where LangGraph's metadata says in which graph and node something runs."""

FAILED = RuntimeError("a tool failed")

TOLD = tuple(
    f"on_{what}_{when}"
    for what, times in (
        ("chain", ("start", "end", "error")),
        ("llm", ("start", "new_token", "end", "error")),
        ("chat_model", ("start",)),
        ("tool", ("start", "end", "error")),
        ("retriever", ("start", "end", "error")),
    )
    for when in times
)
"""The methods of other callbacks that `PartSource` calls."""


def nowhere(part: Part) -> None:
    """Where the parts go of a graph that does not run."""


class PartSource(RunMonitor, StreamMessagesHandler, StreamToolCallHandler):
    """The monitor of one run, which also makes parts of what it sees.

    It is LangGraph's own handler of the stream modes `messages` and `tools`. So models stream, tags such as `nostream`
    count, and `push_message` finds it. LangGraph puts its handlers' parts into a queue; `put` gets these at once.

    It is one callback with the monitor, because LangChain takes as long to ask a callback about a token as the callback
    takes to answer. The monitor is first: it stops a run before anything of it is told, and says what is private.
    """

    def __init__(
        self, budgets: Budgets, *, client: ClientTools = NO_TOOLS, spending: RunSpending | None = None
    ) -> None:
        RunMonitor.__init__(self, budgets, client=client, spending=spending)
        StreamMessagesHandler.__init__(self, nowhere, True)
        StreamToolCallHandler.__init__(self, nowhere, True)
        self._telling: dict[str, list[Callable[..., None]]] = {}
        self._telling_tokens: Sequence[Callable[..., None]] = ()
        self._is_gated = False

    def tells(self, handlers: Iterable[Any]) -> list[Any]:
        """Tell these callbacks of the run what happens, if they can be told (`told_by_monitor`). Returns the others.

        LangChain takes as long to ask a callback about a step or a token as all of this takes. One that is told hears
        nothing besides the methods of `TOLD`, and can raise whatever it likes.
        """
        others = []
        for handler in handlers:
            told = getattr(handler, "told_by_monitor", None)
            if told is None:
                others.append(handler)
            elif not told:
                handler.told_by_monitor = True
                self.told = (*self.told, handler)
                for name in _answered_by(handler.__class__):
                    self._telling.setdefault(name, []).append(getattr(handler, name))
        self._telling_tokens = self._telling.get("on_llm_new_token", ())
        return others

    def gate(self, spending: RunSpending) -> TokenGate:
        """The callback behind this one in which model calls wait for their tokens. Nobody is told of one before."""
        self._is_gated = True

        def begins(*given: Any, **named: Any) -> None:
            self._tell("on_chat_model_start", *given, **named)

        return TokenGate(spending, self.refuse, begins=begins)

    # -- models -------------------------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        RunMonitor.on_chat_model_start(self, serialized, messages, run_id=run_id, metadata=metadata, **kwargs)
        # Not in a model that was called with these callbacks alone: LangGraph's method needs the place in a graph.
        if metadata is not None and PLACE in metadata:
            StreamMessagesHandler.on_chat_model_start(
                self, serialized, messages, run_id=run_id, metadata=metadata, **kwargs
            )
        if self.told and not self._is_gated:
            self._tell("on_chat_model_start", serialized, messages, run_id=run_id, metadata=metadata, **kwargs)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_llm_new_token(self, token, chunk=chunk, run_id=run_id)
        meta = self.metadata.get(run_id)
        # Nobody sees what has no speaker.
        if meta is not None and SPEAKER in meta[1] and isinstance(chunk, ChatGenerationChunk):
            self._emit(meta, chunk.message)
        for heard in self._telling_tokens:
            try:
                heard(token, run_id=run_id)
            except Exception as error:  # noqa: BLE001 - it must not fail the run
                _note("on_llm_new_token", error)

    def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
        RunMonitor.on_llm_start(self, serialized, prompts, **kwargs)
        self._tell("on_llm_start", serialized, prompts, **kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_llm_end(self, response, run_id=run_id, **kwargs)
        StreamMessagesHandler.on_llm_end(self, response, run_id=run_id, **kwargs)
        self._tell("on_llm_end", response, run_id=run_id, **kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_llm_error(self, error, run_id=run_id, **kwargs)
        StreamMessagesHandler.on_llm_error(self, error, run_id=run_id, **kwargs)
        self._tell("on_llm_error", error, run_id=run_id, **kwargs)

    def _tell(self, method: str, *given: Any, **named: Any) -> None:
        for heard in self._telling.get(method, ()):
            try:
                heard(*given, **named)
            except Exception as error:  # noqa: BLE001 - it must not fail the run
                _note(method, error)

    # -- nodes: LangGraph looks for messages in their inputs and outputs, which `updates` bring too -----------------

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        RunMonitor.on_chain_start(self, serialized, inputs, **kwargs)
        if self.told:
            self._tell("on_chain_start", serialized, inputs, **kwargs)

    def on_chain_end(self, response: Any, **kwargs: Any) -> None:  # type: ignore[override]
        # What nodes return comes with `updates`.
        if self.told:
            self._tell("on_chain_end", response, **kwargs)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        # The run learns of it from the graph.
        if self.told:
            self._tell("on_chain_error", error, **kwargs)

    # -- tools and retrievers -------------------------------------------------------------------------------------

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        RunMonitor.on_tool_start(self, serialized, input_str, **kwargs)
        StreamToolCallHandler.on_tool_start(self, serialized, input_str, **kwargs)
        self._tell("on_tool_start", serialized, input_str, **kwargs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_tool_end(self, output, run_id=run_id, **kwargs)
        StreamToolCallHandler.on_tool_end(self, output, run_id=run_id, **kwargs)
        self._tell("on_tool_end", output, run_id=run_id, **kwargs)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_tool_error(self, error, run_id=run_id, **kwargs)
        # Not the exception itself: LangGraph's method would read its text, which nobody may see.
        StreamToolCallHandler.on_tool_error(self, FAILED, run_id=run_id, **kwargs)
        self._tell("on_tool_error", error, run_id=run_id, **kwargs)

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        RunMonitor.on_retriever_start(self, serialized, query, **kwargs)
        self._tell("on_retriever_start", serialized, query, **kwargs)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_retriever_end(self, documents, run_id=run_id, **kwargs)
        self._tell("on_retriever_end", documents, run_id=run_id, **kwargs)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_retriever_error(self, error, run_id=run_id, **kwargs)
        self._tell("on_retriever_error", error, run_id=run_id, **kwargs)


@lru_cache(maxsize=32)
def _answered_by(kind: type) -> tuple[str, ...]:
    """The methods of `TOLD` that a class of callbacks has itself: LangChain's do nothing, or raise."""
    return tuple(name for name in TOLD if getattr(kind, name) is not getattr(BaseCallbackHandler, name))


def _note(method: str, error: Exception) -> None:
    logger.error("a callback of the run failed at %s: %s", method, describe_error(error))
