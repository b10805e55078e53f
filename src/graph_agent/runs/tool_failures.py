"""Sees every tool and retriever of a run that fails, whoever calls it, and logs it as a failing node is logged."""

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
"""Raised on purpose: a pause, a hand-off, a stopped run, and what the caller has to mend."""


class ToolFailureLog(BaseCallbackHandler):
    """Callbacks that log. A graph may survive a failing tool, and its answer does not say what went wrong.

    A line has the tool's name, the exception's type and its place in the code, never what it says.
    """

    def __init__(self) -> None:
        self._names: dict[UUID, str] = {}

    def named(self, run_id: UUID, name: Any) -> None:
        """A tool or retriever has started: its name, or what LangChain wrote of it."""
        self._names[run_id] = str(name.get("name", "") if isinstance(name, dict) else name)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        name = self._names.pop(run_id, "")
        if getattr(output, "status", None) == "error":
            # Its own `handle_tool_error` kept the exception.
            logger.warning("tool %s gave an error and no result", name)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        name = self._names.pop(run_id, "")
        if isinstance(error, NO_FAULTS):
            return
        if is_argument_error(error):
            logger.warning("tool %s was called by the model with wrong arguments: %s", name, describe_error(error))
        elif isinstance(error, ToolException | ToolFailed):
            logger.warning("tool %s gave an error and no result: %s", name, describe_error(error))
        else:
            logger.error("tool %s failed: %s", name, describe_error(error), extra=dev_traceback(error))

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._names.pop(run_id, None)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        name = self._names.pop(run_id, "")
        if not isinstance(error, NO_FAULTS):
            logger.error("retriever %s failed: %s", name, describe_error(error), extra=dev_traceback(error))
