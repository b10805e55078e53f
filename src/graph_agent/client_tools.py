"""The tools that a client brings with a request. The model may call them, and the client runs them.

A run has the tools of its own request. Nodes read them here, so that they reach a graph of any context schema. A call
of such a tool ends the turn: the client gets it, and its result comes with the next request. That request may leave the
tools out, so the message with the call is marked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

MARK = "graph_agent_client_calls"
"""Key in `additional_kwargs` of a message: its calls that the client runs, by their ids. Chat models do not read it."""

TAKES_TOOLS = "graph_agent_takes_client_tools"
"""Attribute of a node's function that binds the client's tools: the tools of its own, which may be empty."""

INPUT = "input"
"""The one argument of a custom tool, as the model writes it."""

BETWEEN = "__"
"""Stands between a namespace and the name of a tool in it, in the name by which a model calls it."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTool:
    """One tool of the client."""

    name: str
    """As the client calls it."""

    kind: Literal["function", "custom"] = "function"
    """A custom tool takes one string instead of arguments."""

    namespace: str | None = None
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None

    @property
    def bound_name(self) -> str:
        """As the model calls it: model endpoints know no namespaces."""
        return bound_name(self.name, self.namespace)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in the form that every chat model's `bind_tools` takes."""
        function: dict[str, Any] = {
            "name": self.bound_name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}


def bound_name(name: str, namespace: str | None) -> str:
    """The name by which a model calls a tool."""
    return name if namespace is None else f"{namespace}{BETWEEN}{name}"


class ClientTools:
    """The tools of one request, and how the model may choose among them."""

    def __init__(self, tools: Sequence[ClientTool] = (), *, choice: str = "auto", parallel: bool = True) -> None:
        """`choice` is `auto`, `none`, `required`, or the name by which the model calls the one tool that it must."""
        self.by_name: Mapping[str, ClientTool] = {tool.bound_name: tool for tool in tools}
        self.choice = choice
        self.parallel = parallel

    def __bool__(self) -> bool:
        return bool(self.by_name)

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools in the form that every chat model's `bind_tools` takes."""
        return [tool.schema for tool in self.by_name.values()]

    def choice_after(self, messages: Sequence[BaseMessage]) -> str | None:
        """How the model must choose in its next step, or `None` if it may do as it likes.

        A choice is for the first step of a run. In the steps after that, the model has the results of the graph's own
        tools, and would never answer.
        """
        if self.choice in ("auto", "none"):
            return None
        last = messages[-1] if messages else None
        mine = isinstance(last, ToolMessage) and (last.name is None or last.name in self.by_name)
        return self.choice if mine or not isinstance(last, ToolMessage) else None

    def only_first(self, said: AIMessage) -> AIMessage:
        """The message with its first call alone, if the client takes one call at a time and one of the calls is its."""
        if self.parallel or len(said.tool_calls) < 2 or not client_calls_of(said, self.by_name):
            return said
        rest = {key: value for key, value in said.additional_kwargs.items() if key != "tool_calls"}
        content = said.content if isinstance(said.content, str) else said.text
        return said.model_copy(
            update={"tool_calls": said.tool_calls[:1], "content": content, "additional_kwargs": rest}
        )


NO_TOOLS = ClientTools()

_current: ContextVar[ClientTools] = ContextVar("graph_agent_client_tools", default=NO_TOOLS)


def current_client_tools() -> ClientTools:
    """The client's tools of the current run. There are none outside of a run."""
    return _current.get()


@contextmanager
def within_client_tools(tools: ClientTools) -> Iterator[None]:
    """Within this context the run has these tools of its client, also in tasks that start in it."""
    token = _current.set(tools)
    try:
        yield
    finally:
        _current.reset(token)


def takes_client_tools(node: F) -> F:
    """Mark the function of a node that binds the client's tools, so that requests with tools are accepted.

    The nodes of `make_planner` are marked. A node of yours binds `runtime.context.tools` of an `AgentContext`, and its
    graph ends the turn when the model has called one of them.
    """
    setattr(node, TAKES_TOOLS, ())
    return node


# -- calls ----------------------------------------------------------------------------------------------------------


def client_call_in(message: BaseMessage, call: Any, tools: Mapping[str, ClientTool]) -> ClientTool | None:
    """The client's tool that a call of this message is for, or `None` if the graph runs it."""
    marks = message.additional_kwargs.get(MARK) if message.additional_kwargs else None
    marked = marks.get(call["id"]) if isinstance(marks, Mapping) else None
    if marked is not None:
        return ClientTool(name=marked["name"], kind=marked["kind"], namespace=marked["namespace"])
    return tools.get(call["name"])


def client_calls_of(message: AIMessage, tools: Mapping[str, ClientTool] | None = None) -> list[Any]:
    """The calls of a message that the client runs."""
    known = current_client_tools().by_name if tools is None else tools
    if not known and MARK not in message.additional_kwargs:
        return []
    return [call for call in message.tool_calls if client_call_in(message, call, known) is not None]


def with_marks(said: AIMessage) -> AIMessage:
    """The model's message, in which the calls are marked that the client runs."""
    tools = current_client_tools().by_name
    calls = client_calls_of(said, tools)
    if not calls:
        return said
    marks = {
        call["id"]: {"name": tool.name, "kind": tool.kind, "namespace": tool.namespace}
        for call in calls
        if (tool := client_call_in(said, call, tools)) is not None
    }
    return said.model_copy(update={"additional_kwargs": {**said.additional_kwargs, MARK: marks}})


def open_client_calls(messages: Sequence[BaseMessage]) -> list[Any]:
    """The calls at the end of a conversation for which the client has not sent a result. The turn ends on them."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage) and message.tool_calls:
            return [call for call in client_calls_of(message) if call["id"] not in answered]
        elif isinstance(message, AIMessage | HumanMessage):
            break
    return []
