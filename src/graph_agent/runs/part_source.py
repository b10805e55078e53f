"""The callback from which the tokens of a run come, and what its tools do, as parts of the graph's stream."""

import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel._tools import StreamToolCallHandler

from graph_agent.client_tools import NO_TOOLS, ClientTools
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.translator import SPEAKER
from graph_agent.runs.monitor import RunMonitor
from graph_agent.runs.run_spending import RunSpending
from graph_agent.runs.stream import Part
from graph_agent.settings import Budgets

logger = logging.getLogger(__name__)

PLACE = "langgraph_checkpoint_ns"
"""Where LangGraph's metadata says in which graph and node something runs."""

FAILED = RuntimeError("a tool failed")


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
        self._listeners: list[Any] = []

    def tells(self, handlers: Iterable[Any]) -> None:
        """Tell these callbacks of the run what models do, if they can be told (`told_by_monitor`). LangChain takes as
        long to ask one about a token as all of this takes."""
        for handler in handlers:
            if getattr(handler, "told_by_monitor", None) is False:
                handler.told_by_monitor = True
                self._listeners.append(handler)

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

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_llm_new_token(self, token, chunk=chunk, run_id=run_id)
        meta = self.metadata.get(run_id)
        # Nobody sees what has no speaker.
        if meta is not None and SPEAKER in meta[1] and isinstance(chunk, ChatGenerationChunk):
            self._emit(meta, chunk.message)
        if self._listeners:
            self._tell("on_llm_new_token", token, run_id=run_id)

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
        for listener in self._listeners:
            try:
                getattr(listener, method)(*given, **named)
            except Exception as error:  # noqa: BLE001 - it must not fail the run
                logger.error("a callback of the run failed at %s: %s", method, describe_error(error))

    # -- nodes: LangGraph looks for messages in their inputs and outputs, which `updates` bring too -----------------

    def on_chain_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:  # type: ignore[override]
        """What nodes return comes with `updates`."""

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """The run learns of it from the graph."""

    # -- tools --------------------------------------------------------------------------------------------------

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        RunMonitor.on_tool_start(self, serialized, input_str, **kwargs)
        StreamToolCallHandler.on_tool_start(self, serialized, input_str, **kwargs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_tool_end(self, output, run_id=run_id, **kwargs)
        StreamToolCallHandler.on_tool_end(self, output, run_id=run_id, **kwargs)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        RunMonitor.on_tool_error(self, error, run_id=run_id, **kwargs)
        # Not the exception itself: LangGraph's method would read its text, which nobody may see.
        StreamToolCallHandler.on_tool_error(self, FAILED, run_id=run_id, **kwargs)
