"""Which tool calls of a run are run, and under which ids: asked by the nodes that run them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
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

    __repr__ = __str__
    """A `ToolNode` that handles all errors quotes it."""


class ToolCallPolicy(BaseCallbackHandler):
    """What a run's callbacks are asked and told of calls that nodes of this package run."""

    def refused(self, call_id: str | None, *, name: str, parent_run_id: UUID | None) -> str | None:
        """Why this call must not be run; nothing if it may."""
        raise NotImplementedError

    def renamed(self, ids: Mapping[str, str]) -> None:
        """Calls got other ids than their model gave them."""
        raise NotImplementedError


def refusal_of(call: Any, config: RunnableConfig) -> str | None:
    """Why the node with this config must not run that call: the words of a `NotRun`; nothing if it may.

    For what is no LangChain tool, such as a search of the retriever: tools ask by themselves when they start.
    """
    allowance = _of(config)
    if allowance is None:
        return None
    manager: Any = config["callbacks"]
    return allowance.refused(call["id"], name=call["name"], parent_run_id=manager.parent_run_id)


def with_unique_ids(said: AIMessage, messages: Sequence[BaseMessage], config: RunnableConfig) -> AIMessage:
    """A model's message whose calls have ids that no other call of the conversation has.

    Some endpoints count from zero in each answer, or give none: a result could not be told from an earlier one.
    """
    taken = {call["id"] for one in messages if isinstance(one, AIMessage) for call in one.tool_calls}
    calls, renamed = [], {}
    for call in said.tool_calls:
        if not call["id"] or call["id"] in taken:
            new = f"call_{uuid4().hex[:24]}"
            renamed[call["id"] or ""] = new
            call = {**call, "id": new}
        taken.add(call["id"])
        calls.append(call)
    if not renamed:
        return said
    if allowance := _of(config):
        allowance.renamed(renamed)
    # Some models repeat calls in the content's blocks, or as they came: the text alone is kept.
    rest = {key: value for key, value in said.additional_kwargs.items() if key != "tool_calls"}
    content = said.content if isinstance(said.content, str) else said.text
    return said.model_copy(update={"tool_calls": calls, "content": content, "additional_kwargs": rest})


def _of(config: RunnableConfig) -> ToolCallPolicy | None:
    manager: Any = config.get("callbacks")
    handlers = getattr(manager, "handlers", None) or ()
    return next((one for one in handlers if isinstance(one, ToolCallPolicy)), None)
