"""Decides which tool calls of a run may be run, and under which ids. The nodes that run tools ask here."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt.tool_node import ToolInvocationError

from graph_agent.contract import NOT_RUN
from graph_agent.known_messages import NONE_KNOWN, KnownMessages


class NotRun(ToolInvocationError):
    """A call that must not be run. The model gets `message`, and the caller may see it.

    To LangGraph's `ToolNode` it is an error in the arguments, the only kind that it returns to the model by default.
    """

    def __init__(self, why: str) -> None:
        # Skips the constructor of the base class, which requires a pydantic error.
        Exception.__init__(self, why)
        self.message = NOT_RUN + why

    def __str__(self) -> str:
        return self.message

    __repr__ = __str__
    """A `ToolNode` that handles all errors quotes the `repr`."""


class ToolCallPolicy(BaseCallbackHandler):
    """The interface of a run's callbacks to the nodes of this package that run tool calls."""

    def refused(self, call_id: str | None, *, name: str, parent_run_id: UUID | None) -> str | None:
        """Why this call must not be run, or `None` if it may."""
        raise NotImplementedError

    def renamed(self, ids: Mapping[str, str]) -> None:
        """Calls got other ids than the model gave them: old id -> new id."""
        raise NotImplementedError

    def known_in(self, messages: Sequence[BaseMessage]) -> KnownMessages:
        """What is known of the first of these messages. It says how many they are."""
        raise NotImplementedError


def refusal_of(call: Any, config: RunnableConfig) -> str | None:
    """Why the node with this config must not run that call, as the text of a `NotRun`, or `None` if it may.

    It is for calls that are not LangChain tools, such as a search of the retriever. For tools, the callbacks decide
    when the tool starts.
    """
    policy = _of(config)
    if policy is None:
        return None
    manager: Any = config["callbacks"]
    return policy.refused(call["id"], name=call["name"], parent_run_id=manager.parent_run_id)


def with_unique_ids(said: AIMessage, messages: Sequence[BaseMessage], config: RunnableConfig) -> AIMessage:
    """Return the model's message with ids for its calls that are unique in the conversation.

    Some endpoints count from zero in each answer, or give no ids. Then a result could belong to several calls.
    """
    if not said.tool_calls:
        return said
    policy = _of(config)
    known = NONE_KNOWN if policy is None else policy.known_in(messages)
    known = known.and_then(messages[known.count :])
    taken: set[str | None] = set()
    calls, renamed = [], {}
    for call in said.tool_calls:
        if not call["id"] or call["id"] in taken or known.asks(call["id"]):
            new = f"call_{uuid4().hex[:24]}"
            renamed[call["id"] or ""] = new
            call = {**call, "id": new}
        taken.add(call["id"])
        calls.append(call)
    if not renamed:
        return said
    if policy:
        policy.renamed(renamed)
    # Some models repeat the calls, with the old ids, in content blocks or in `additional_kwargs`. Only text is kept.
    rest = {key: value for key, value in said.additional_kwargs.items() if key != "tool_calls"}
    content = said.content if isinstance(said.content, str) else said.text
    return said.model_copy(update={"tool_calls": calls, "content": content, "additional_kwargs": rest})


def _of(config: RunnableConfig) -> ToolCallPolicy | None:
    manager: Any = config.get("callbacks")
    # Outside of a run, as in a test of a graph, there may be no callbacks or only a list of them.
    handlers = getattr(manager, "handlers", None) or ()
    return next((one for one in handlers if isinstance(one, ToolCallPolicy)), None)
