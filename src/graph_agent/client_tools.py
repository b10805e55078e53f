"""The tools that a client brings with a request: those that it runs, and those of MCP servers that it names.

A run has the tools of its own request. Nodes read them here, so that they reach a graph of any context schema. A call
of a tool that the client runs ends the turn: the client gets it, and its result comes with the next request. That
request may leave the tools out, so the message with the call is marked. A call of a tool of an MCP server is run by the
graph, as those of its own tools.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

MARK = "graph_agent_client_calls"
"""Key in `additional_kwargs` of a message: its calls that the client runs, by their ids. Chat models do not read it."""

SERVED = "graph_agent_served_calls"
"""Key in `additional_kwargs` of a message: its calls of MCP servers that the client names, by their ids."""

RUNS_SERVED = "graph_agent_runs_served_tools"
"""Attribute of a node's function that runs the calls of such servers."""

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


def endpoint_name(full: str) -> str:
    """A name as chat endpoints accept it: at most 64 characters, which are letters, digits, `_` and `-`."""
    # The last 64, as the beginning is the same for all tools of a server.
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in full)[-64:]


def served_name(name: str, label: str) -> str:
    """The name by which a model calls a tool of an MCP server of the client, unless two tools would have it."""
    return endpoint_name(f"{label}{BETWEEN}{name}")


# -- MCP servers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFilter:
    """Some of the tools of a server: those that have everything that is said here."""

    names: Sequence[str] | None = None
    read_only: bool | None = None
    """What the server says of the tool in `readOnlyHint`."""

    def has(self, name: str, *, read_only: bool) -> bool:
        """Whether a tool is one of them."""
        return (self.names is None or name in self.names) and self.read_only in (None, read_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServer:
    """An MCP server that the client names. Its credentials are not here, so a store may keep this."""

    label: str
    url: str
    """As the operator's list has it."""

    description: str = ""
    allowed: ToolFilter | None = None
    """The tools that the model gets. `None`: all."""

    chosen: Sequence[str] | None = None
    """Those of them that `tool_choice` allows. `None`: all."""

    must: str | None = None
    """The tool that the model must call in the first step of the run."""

    always: ToolFilter | None = None
    """The tools that ask a person before each call, even if `never` has them."""

    never: ToolFilter | None = None
    """The tools that do not ask. All others do."""

    def offers(self, name: str, *, read_only: bool) -> bool:
        """Whether the model gets this tool."""
        chosen = self.chosen is None or name in self.chosen
        return chosen and (self.allowed is None or self.allowed.has(name, read_only=read_only))

    def asks(self, name: str, *, read_only: bool) -> bool:
        """Whether a person decides about each call of this tool."""
        always = self.always is not None and self.always.has(name, read_only=read_only)
        return always or self.never is None or not self.never.has(name, read_only=read_only)

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "ToolServer":
        """From its fields, as a store keeps them."""
        read = dict(fields)
        for name in ("allowed", "always", "never"):
            if (one := read[name]) is not None:
                read[name] = ToolFilter(names=_names(one["names"]), read_only=one["read_only"])
        return cls(**{**read, "chosen": _names(read["chosen"])})


def _names(names: Sequence[str] | None) -> Sequence[str] | None:
    return None if names is None else tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedTool:
    """One tool of an MCP server that the client names."""

    label: str
    """The server."""

    url: str
    """Its address."""

    name: str
    """As the server calls it."""

    asks: bool
    """Whether a person decides about each call."""

    tool: Any = field(repr=False)
    """The LangChain tool that calls the server. Its name is that by which the model calls it."""

    schema: Mapping[str, Any]
    """In the form that every chat model's `bind_tools` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCall:
    """What the message with a call says of the tool of an MCP server."""

    label: str
    """The server."""

    url: str
    """Its address. A label alone may mean another server in the next request."""

    name: str
    """The tool, as the server calls it."""

    asks: bool
    """Whether a person decides about the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerList:
    """What came of the attempt to list the tools of a server."""

    label: str
    tools: Sequence[ServedTool] = ()
    listed: Sequence[Mapping[str, Any]] = ()
    """The same tools, as the list says them."""

    error: str | None = None
    """Why there is no list, without any text of the server."""

    warning: str | None = None
    """What is missing of it."""


# -- the tools of a run ---------------------------------------------------------------------------------------------


class ClientTools:
    """The tools of one request, and how the model may choose among them."""

    def __init__(
        self,
        tools: Sequence[ClientTool] = (),
        *,
        choice: str = "auto",
        parallel: bool = True,
        servers: Sequence[ToolServer] = (),
    ) -> None:
        """`choice` is `auto`, `none`, `required`, or the name by which the model calls the one tool that it must.
        `servers` are the MCP servers that the client names. Their tools are there after `serve`."""
        self.by_name: Mapping[str, ClientTool] = {tool.bound_name: tool for tool in tools}
        """The tools that the client runs."""
        self.choice = choice
        self.parallel = parallel
        self.servers = servers
        self.served: Mapping[str, ServedTool] = {}
        """The tools of the servers, by the names by which the model calls them."""
        self.missing: Mapping[str, str] = {}
        """The servers without a list, by label, and why."""
        self.warnings: Sequence[str] = ()
        """What is missing of the lists."""

    def __bool__(self) -> bool:
        return bool(self.by_name or self.servers)

    def serve(self, lists: Sequence[ServerList]) -> None:
        """Take the tools of the servers, which are listed now."""
        served: dict[str, ServedTool] = {}
        twice = []
        for tool in (tool for one in lists for tool in one.tools):
            # Labels with `__` may give two tools one name.
            if tool.tool.name in self.by_name or tool.tool.name in served:
                twice.append(tool.tool.name)
            else:
                served[tool.tool.name] = tool
        self.served = served
        self.missing = {one.label: one.error for one in lists if one.error is not None}
        self.warnings = [
            *(one.warning for one in lists if one.warning is not None),
            *(f"One of two tools named {name} was left out: give its server another label." for name in twice),
        ]

    def tool_of(self, call: ServedCall) -> ServedTool | None:
        """The tool that a call is for, if its server is one of this request, at the same address. The name by which
        the model calls it may mean a tool of another server now."""
        wanted = call.label, call.url, call.name
        return next((one for one in self.served.values() if (one.label, one.url, one.name) == wanted), None)

    def __contains__(self, name: object) -> bool:
        """Whether the model calls a tool of the client, or of a server that it names, by this name."""
        return name in self.by_name or name in self.served

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools in the form that every chat model's `bind_tools` takes."""
        served = [dict(tool.schema) for tool in self.served.values()]
        return [*(tool.schema for tool in self.by_name.values()), *served]

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
        if self.parallel or len(said.tool_calls) < 2:
            return said
        if not client_calls_of(said, self.by_name) and not any(call["name"] in self.served for call in said.tool_calls):
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


def runs_served_tools(node: F) -> F:
    """Mark the function of a node that runs the calls of MCP servers which the client names."""
    setattr(node, RUNS_SERVED, True)
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
    current = current_client_tools()
    tools = current.by_name
    marks = {
        call["id"]: {"name": tool.name, "kind": tool.kind, "namespace": tool.namespace}
        for call in client_calls_of(said, tools)
        if (tool := client_call_in(said, call, tools)) is not None
    }
    served = {
        call["id"]: {"label": one.label, "url": one.url, "name": one.name, "asks": one.asks}
        for call in (said.tool_calls if current.served else ())
        if (one := current.served.get(call["name"])) is not None
    }
    more = ({MARK: marks} if marks else {}) | ({SERVED: served} if served else {})
    return said.model_copy(update={"additional_kwargs": {**said.additional_kwargs, **more}}) if more else said


def served_call_in(message: BaseMessage, call: Any, tools: Mapping[str, ServedTool]) -> ServedCall | None:
    """The tool of an MCP server that a call of this message is for, or `None`. `tools` are those of the current run.

    What the message says counts: a person may have decided about it, and the request may name other servers now.
    """
    if (marked := _served_mark(message, call)) is not None:
        return ServedCall(label=marked["label"], url=marked["url"], name=marked["name"], asks=marked["asks"])
    tool = tools.get(call["name"]) if tools else None
    return None if tool is None else ServedCall(label=tool.label, url=tool.url, name=tool.name, asks=tool.asks)


def is_marked_as_served(message: BaseMessage, call: Any) -> bool:
    """Whether the message itself says that a call is for a tool of an MCP server which the client names."""
    return _served_mark(message, call) is not None


def _served_mark(message: BaseMessage, call: Any) -> Mapping[str, Any] | None:
    marks = message.additional_kwargs.get(SERVED) if message.additional_kwargs else None
    return marks.get(call["id"]) if isinstance(marks, Mapping) else None


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
