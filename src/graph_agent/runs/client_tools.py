"""Checks before a run whether its graph takes the tools of the client, answers in the form that it asks for, and has
probabilities of tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel

from graph_agent.answer_form import TAKES_FORM, AnswerForm
from graph_agent.client_tools import RUNS_SERVED, TAKES_TOOLS, ClientTools, ServedTool, ServerList, ToolServer
from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.model_options import PROBABILITIES, TAKES_PROBABILITIES
from graph_agent.redaction import redact_value_async

if TYPE_CHECKING:
    from graph_agent.protocol.requests import Invocation
    from graph_agent.runs.request import RunRequest

MOST_NAMED = 8
"""The most tools that a warning names."""

Graph = Pregel[Any, Any, Any, Any]


def client_tools_of(invocation: "Invocation") -> ClientTools:
    """The tools of a request."""
    parallel = invocation.said.get("parallel_tool_calls") is not False
    return ClientTools(invocation.tools, choice=invocation.tool_choice, parallel=parallel, servers=invocation.servers)


def without_ignored_tools(request: "RunRequest", graph: Graph) -> "RunRequest":
    """The request without the tools that no node of the graph binds, or the MCP servers whose tools none runs, and with
    a warning that names them.

    A `tool_choice` that says more than `auto` stays, with its tools, so that it is refused: to ignore it would change
    what the graph does.
    """
    invocation = request.invocation
    demanded = invocation.tool_choice != "auto" or any(one.must is not None for one in invocation.servers)
    takes = _has_mark(graph, TAKES_TOOLS)
    serves = takes and _has_mark(graph, RUNS_SERVED)
    tools = () if takes else invocation.tools
    servers = () if serves else invocation.servers
    if demanded or not (tools or servers):
        return request
    names = [*(tool.bound_name for tool in tools), *(server.label for server in servers)]
    more = len(names) - MOST_NAMED
    listed = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    binds = "runs" if takes else "binds"
    warning = f"`tools` was left out, because this graph {binds} only its own: {listed}."
    labels = {server.label for server in servers}
    kept = [one for one in invocation.said.get("tools") or () if takes and one.get("server_label") not in labels]
    said = {name: value for name, value in invocation.said.items() if name != "tools"}
    return replace(
        request,
        invocation=replace(
            invocation,
            tools=invocation.tools if takes else (),
            servers=invocation.servers if serves else (),
            server_headers=invocation.server_headers if serves else {},
            said=said | ({"tools": kept} if kept else {}),
            warnings=(*invocation.warnings, warning),
        ),
    )


def require_tools_taken(graph: Graph, tools: ClientTools) -> None:
    """Check that a node of the graph binds the client's tools, and that the graph has none of the same name.

    Raises:
        UnsupportedField: the graph cannot take tools.
        InvalidRequest: the graph has a tool of that name.
    """
    if not tools and tools.choice == "auto":
        return
    takes = False
    for one in _graphs(graph):
        for node in one.nodes.values():
            for runnable in _runnables(node):
                own = _mark(runnable, TAKES_TOOLS)
                takes = takes or own is not None
                names = runnable.tools_by_name if isinstance(runnable, ToolNode) else own or ()
                if (taken := next((name for name in names if name in tools.by_name), None)) is not None:
                    raise InvalidRequest(
                        f"`tools` has {taken}, which is the name of a tool of the graph: rename yours.", param="tools"
                    )
    if not takes:
        raise UnsupportedField(
            "`tools` is not supported by this graph, which binds only its own: switch them off in the client, or let "
            "the operator set GRAPH_AGENT_CLIENT_TOOLS=ignore. A graph takes them if its node is one of "
            "`make_planner`, or is marked by `takes_client_tools`, or if its agent has `ClientToolsMiddleware`.",
            param="tools" if tools else "tool_choice",
        )
    if tools.servers and not _has_mark(graph, RUNS_SERVED):
        raise UnsupportedField(
            "`tools` has an MCP server, whose tools this graph does not run: leave it out. A graph runs them if it has "
            "a node of `make_tools`, or if its agent has `ClientToolsMiddleware`.",
            param="tools",
        )


class ServersOfRun(Protocol):
    """The MCP servers that the client of one run names."""

    async def listed(self) -> Sequence[ServerList]:
        """The tools of every server, or why there are none."""

    def leave(self) -> None:
        """End what was opened for the run. Nobody waits for that."""


def servers_of_run(servers: Sequence[ToolServer], headers: Mapping[str, Mapping[str, str]]) -> ServersOfRun:
    """The MCP servers of a run. Connects to none."""
    # Late: only a run with such servers needs the client.
    from graph_agent.databricks.client_servers import ClientServers

    return ClientServers(servers, headers)


async def without_secrets(lists: Sequence[ServerList]) -> list[ServerList]:
    """The lists with a marker for every secret, such as a credential that the server repeats: they reach the model, the
    response and traces."""
    found = []
    for one in lists:
        schemas = await redact_value_async([tool.schema for tool in one.tools])
        tools = [_redacted(tool, schema) for tool, schema in zip(one.tools, schemas, strict=True)]
        found.append(replace(one, tools=tools, listed=await redact_value_async(list(one.listed))))
    return found


def _redacted(tool: ServedTool, schema: Mapping[str, Any]) -> ServedTool:
    if schema == tool.schema:
        return tool
    said = schema["function"]
    clean = {"description": said["description"], "args_schema": said["parameters"]}
    return replace(tool, schema=schema, tool=tool.tool.model_copy(update=clean))


def serve(client: ClientTools, lists: Sequence[ServerList]) -> None:
    """Give the client's tools those of its servers.

    Raises:
        InvalidRequest: the tool that the model must call is not there.
    """
    client.serve(lists)
    for server in client.servers:
        if server.must is None:
            continue
        named = (name for name, one in client.served.items() if (one.label, one.name) == (server.label, server.must))
        if (name := next(named, None)) is None:
            raise InvalidRequest(
                client.missing.get(server.label)
                or f"`tool_choice.name` is not the name of a tool that {server.label} offers.",
                param="tool_choice.name",
            )
        client.choice = name


def require_form_taken(graph: Graph, form: AnswerForm | None) -> None:
    """Check that a node of the graph answers in the form that is asked for.

    Raises:
        UnsupportedField: none does.
    """
    if form is None:
        return
    if not _has_mark(graph, TAKES_FORM):
        raise UnsupportedField(
            "`text.format` is not supported by this graph, which decides the form of its answer. A graph takes it if "
            "its node is one of `make_planner`, or is marked by `takes_answer_form`, or if its agent has "
            "`ClientToolsMiddleware`.",
            param="text.format",
        )


def require_probabilities_taken(graph: Graph, invocation: "Invocation") -> None:
    """Check that a node of the graph may ask its model for probabilities, if the request asks for them.

    Raises:
        UnsupportedField: none does.
    """
    if PROBABILITIES not in invocation.options:
        return
    if not _has_mark(graph, TAKES_PROBABILITIES):
        name = PROBABILITIES if invocation.said.get(PROBABILITIES) else "include"
        raise UnsupportedField(
            f"`{name}` asks for the probabilities of tokens, which this graph does not have: leave it out. A graph has "
            "them if its node is one of `make_planner`, or is marked by `takes_logprobs`.",
            param=name,
        )


def _has_mark(graph: Graph, name: str) -> bool:
    runnables = (one for within in _graphs(graph) for node in within.nodes.values() for one in _runnables(node))
    return any(_mark(one, name) is not None for one in runnables)


def _runnables(node: Any) -> tuple[Any, ...]:
    return (node.bound, *getattr(node.bound, "steps", ()))


def _graphs(graph: Graph) -> Iterator[Graph]:
    """The graph and the graphs that are nodes of it, whose calls can end its turn. Not those that a node calls."""
    seen, unread = {id(graph)}, [graph]
    while unread:
        one = unread.pop()
        yield one
        for node in one.nodes.values():
            if isinstance(node.bound, Pregel) and id(node.bound) not in seen:
                seen.add(id(node.bound))
                unread.append(node.bound)


def _mark(runnable: Any, name: str) -> Any:
    """What this mark of a node's function says, or `None` without one."""
    for function in (getattr(runnable, "afunc", None), getattr(runnable, "func", None)):
        # A partial, or the method of an object.
        for one in (function, getattr(function, "func", None), getattr(function, "__func__", None)):
            if (own := getattr(one, name, None)) is not None:
                return own
    return None
