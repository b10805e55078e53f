"""Which tool calls of a run are run: asked by whatever runs one."""

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt.tool_node import ToolInvocationError

from graph_agent.contract import NOT_RUN


class NotRun(ToolInvocationError):
    """A call that must not be run; `message` is told to the model, and may be told to the caller.

    It is an error of arguments to LangGraph's `ToolNode`, the one kind that it gives back to the model by default.
    """

    def __init__(self, why: str) -> None:
        # Not that of the base: it takes pydantic's error.
        Exception.__init__(self, why)
        self.message = NOT_RUN + why

    def __str__(self) -> str:
        return self.message


class Allowance(BaseCallbackHandler):
    """What a run's callbacks are asked before a call that is no LangChain tool, such as a search of the retriever."""

    def refused(self, call_id: str | None, *, name: str, parent_run_id: UUID | None) -> str | None:
        """Why this call must not be run; nothing if it may."""
        raise NotImplementedError


def refused(call: Any, config: RunnableConfig) -> str | None:
    """Why the node with this config must not run that call; nothing if it may."""
    manager: Any = config.get("callbacks")
    for handler in getattr(manager, "handlers", None) or ():
        if isinstance(handler, Allowance):
            return handler.refused(call["id"], name=call["name"], parent_run_id=manager.parent_run_id)
    return None
