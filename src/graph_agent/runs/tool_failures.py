"""Logs every failure of a tool or retriever in a run, like the failure of a node."""

import logging
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import ToolException
from langgraph.errors import GraphBubbleUp

from graph_agent.errors import RequestError, RunCancelled, ToolFailed
from graph_agent.foreign_errors import describe_error, dev_traceback, is_argument_error

logger = logging.getLogger(__name__)

NO_FAULTS = (GraphBubbleUp, RunCancelled, RequestError)
"""Exceptions raised on purpose: a pause, a hand-off, a stopped run, and errors that the caller must fix."""


class ToolFailureLog(BaseCallbackHandler):
    """Callbacks that log failures. A graph may survive a failing tool, and then its answer does not show the cause.

    A line has the tool's name and the exception's type and place in the code, never its message.
    """

    def __init__(self) -> None:
        self._names: dict[UUID, str] = {}

    def named(self, run_id: UUID, name: Any) -> None:
        """A tool or retriever has started. `name` is its name, or the dictionary in which LangChain describes it."""
        self._names[run_id] = str(name.get("name", "") if isinstance(name, dict) else name)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        name = self._names.pop(run_id, "")
        if getattr(output, "status", None) == "error":
            # The tool's `handle_tool_error` turned the exception into a result, so there is nothing more to log.
            logger.warning("tool %s returned an error and no result", name)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        name = self._names.pop(run_id, "")
        if isinstance(error, NO_FAULTS):
            return
        # Warnings for what a model can cause or a server can answer, an error for a fault in the tool's code.
        if is_argument_error(error):
            logger.warning("the model called tool %s with wrong arguments: %s", name, describe_error(error))
        elif isinstance(error, ToolException | ToolFailed):
            logger.warning("tool %s returned an error and no result: %s", name, describe_error(error))
        else:
            logger.error("tool %s failed: %s", name, describe_error(error), extra=dev_traceback(error))

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._names.pop(run_id, None)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        name = self._names.pop(run_id, "")
        if not isinstance(error, NO_FAULTS):
            logger.error("retriever %s failed: %s", name, describe_error(error), extra=dev_traceback(error))
