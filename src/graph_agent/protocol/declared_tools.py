"""Reads `tools`, `tool_choice` and `parallel_tool_calls`: the tools that the client runs, the MCP servers that it
names, and the tools that nobody runs.

| Type | What becomes of it |
|---|---|
| function, custom | a tool of the client |
| namespace | its tools, each under a name that has the namespace |
| mcp with the name of a graph | the graph itself, as OpenAI's Agents SDKs declare it |
| another mcp | the tools of that server, if its address is on the operator's list |
| any other type | left out, with a warning: a tool that OpenAI hosts |
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graph_agent.client_tools import INPUT, ClientTool, ToolServer
from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.protocol.declared_servers import check_server_count, read_server
from graph_agent.protocol.field_checks import (
    Shape,
    a_boolean,
    a_name,
    a_string,
    an_object,
    array_of,
    at,
    one_of,
    shown,
)
from graph_agent.protocol.item_shapes import HOSTED

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A name that every model endpoint takes."""

MAX_TOOLS = 256
"""Tools of one request, namespaces and the tools in them. They are sent to the model in every step."""

MAX_DEPTH = 32
"""Levels of a tool's schema."""

NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The schema of a function that takes nothing."""

GRAMMAR = "The input must follow this {syntax} grammar:\n{definition}"

_FUNCTION = Shape(
    required={"name": a_name},
    optional={"description": a_string, "parameters": an_object, "strict": a_boolean},
)
_FORMAT = Shape(required={"type": one_of("text", "grammar")}, optional={"syntax": a_string, "definition": a_string})
_CUSTOM = Shape(required={"name": a_name}, optional={"description": a_string, "format": _FORMAT})
_NAMESPACE = Shape(required={"name": a_name, "tools": array_of(an_object)}, optional={"description": a_string})
_CHOICE = Shape(required={"type": a_name})
_ALLOWED = Shape(required={"tools": array_of(_CHOICE)}, optional={"mode": one_of("auto", "none", "required")})

SILENT = frozenset({"mcp_list_tools"})
"""Items that say nothing to a model anywhere, so that nobody has to be warned."""

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTools:
    """The tools of a request."""

    tools: Sequence[ClientTool] = ()
    """Those that the client runs, and that the model may call."""

    servers: Sequence[ToolServer] = ()
    """The MCP servers whose tools the model may call."""

    choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the tool that the model must call."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """What the response repeats, without credentials."""

    warnings: Sequence[str] = ()


def read_tools(fields: Fields, graphs: Sequence[str], servers: Sequence[str] | None = None) -> DeclaredTools:
    """The tools of a request for one of `graphs`, and how the model may choose among them. `servers` are the addresses
    of the MCP servers that it may name, or `None` where no request may.

    Raises:
        InvalidRequest, UnsupportedField: `param` is the path of what is wrong.
    """
    sent = fields.get("tools") or []
    choice = fields.get("tool_choice")
    if not sent and choice in (None, "auto"):
        return DeclaredTools()
    _check_count(_count(sent), "tools")
    found: dict[str, ClientTool] = {}
    named: dict[str, ToolServer] = {}
    hosted: list[str] = []
    warnings: list[str] = []
    for index, tool in enumerate(sent):
        if tool.get("type") == "mcp":
            read_server(tool, f"tools[{index}]", graphs=graphs, known=servers, found=named, warnings=warnings)
            continue
        for path, one in _read(tool, f"tools[{index}]", hosted):
            if one.bound_name in found:
                raise InvalidRequest(f"`{path}` is the name of another tool, too: rename one of them.", param=path)
            if NAME.fullmatch(one.bound_name) is None:
                raise InvalidRequest(
                    f"`{path}` must have at most 64 letters, digits, `_` and `-`, with its namespace and `__`.",
                    param=path,
                )
            found[one.bound_name] = one
    said: dict[str, Any] = {}
    if sent:
        said["tools"] = [_repeated(one) for one in sent]
    if choice is not None:
        said["tool_choice"] = choice
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            said["tool_choice"] = choice | {"mode": _mode_of(choice)}
    check_server_count(named)
    read = DeclaredTools(
        tools=tuple(found.values()),
        servers=tuple(named.values()),
        said=said,
        warnings=[*_warnings(hosted), *warnings],
    )
    return read if choice is None else _chosen(read, choice, graphs)


def _repeated(tool: Fields) -> dict[str, Any]:
    """A tool as the response says it. The Open Responses specification requires all fields of a function there."""
    said = dict(tool)
    if tool["type"] != "function":
        return said
    missing: dict[str, Any] = {"description": None, "strict": None}
    return missing | said | {"parameters": said.get("parameters") or dict(NO_PARAMETERS)}


def _count(sent: Sequence[Fields]) -> int:
    inner = (one.get("tools") for one in sent if one.get("type") == "namespace")
    return len(sent) + sum(len(tools) for tools in inner if isinstance(tools, list))


def _check_count(count: int, path: str) -> None:
    if count > MAX_TOOLS:
        raise InvalidRequest(f"`{path}` has more than {MAX_TOOLS} entries: send fewer.", param=path)


def _read(tool: Fields, path: str, hosted: list[str]) -> Iterator[tuple[str, ClientTool]]:
    kind = tool.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidRequest(f"`{path}.type` must be a string, such as 'function'.", param=f"{path}.type")
    if kind == "namespace":
        _NAMESPACE(tool, path)
        for index, one in enumerate(tool["tools"]):
            inner = f"{path}.tools[{index}]"
            if one.get("type") not in ("function", "custom"):
                raise InvalidRequest(f"`{inner}.type` must be 'function' or 'custom'.", param=f"{inner}.type")
            yield f"{inner}.name", replace(_tool(one, inner), namespace=tool["name"])
    elif kind in ("function", "custom"):
        yield f"{path}.name", _tool(tool, path)
    else:
        hosted.append(kind)


def _tool(tool: Fields, path: str) -> ClientTool:
    description = tool.get("description") or ""
    if tool["type"] == "custom":
        _CUSTOM(tool, path)
        form = tool.get("format") or {}
        if form.get("type") == "grammar":
            grammar = GRAMMAR.format(syntax=form.get("syntax") or "", definition=form.get("definition") or "")
            description = "\n\n".join(filter(None, [description, grammar]))
        text = {"type": "string", "description": "The whole input of the tool, as plain text."}
        parameters: Mapping[str, Any] = {"type": "object", "properties": {INPUT: text}, "required": [INPUT]}
        return ClientTool(name=tool["name"], kind="custom", description=description, parameters=parameters)
    if isinstance(tool.get("function"), dict) and "name" not in tool:
        raise InvalidRequest(
            f"`{path}.function` is the form of chat completions: put its fields into `{path}` itself.",
            param=f"{path}.function",
        )
    _FUNCTION(tool, path)
    parameters = tool.get("parameters") or NO_PARAMETERS
    check_depth(parameters, f"{path}.parameters")
    return ClientTool(name=tool["name"], description=description, parameters=parameters, strict=tool.get("strict"))


def check_depth(schema: Any, path: str) -> None:
    """Refuse a schema with too many levels."""
    level = [schema]
    for _ in range(MAX_DEPTH):
        level = [
            value
            for one in level
            for value in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
        if not level:
            return
    raise InvalidRequest(f"`{path}` has more than {MAX_DEPTH} levels: make it flatter.", param=path)


def _warnings(hosted: Sequence[str]) -> list[str]:
    return [
        f"The tool {shown(kind)} of `tools` was left out: this service does not host it."
        for kind in dict.fromkeys(hosted)
    ]


def hosted_warnings(items: Sequence[Fields]) -> list[str]:
    """What the model does not see of a history: what tools that OpenAI hosts have done."""
    kinds = dict.fromkeys(item["type"] for item in items if item["type"] in HOSTED)
    return [f"No model reads the items of type {kind} in `input`." for kind in kinds if kind not in SILENT]


# -- the choice -----------------------------------------------------------------------------------------------------


def _chosen(read: DeclaredTools, choice: str | Fields, graphs: Sequence[str]) -> DeclaredTools:
    if isinstance(choice, str):
        one_of("auto", "none", "required")(choice, "tool_choice")
        if choice == "required" and not read.tools and not read.servers:
            raise InvalidRequest(
                "`tool_choice` must be left out, because `tools` has none that the model could call.",
                param="tool_choice",
            )
        return replace(read, choice=choice)
    _CHOICE(choice, "tool_choice")
    if choice["type"] == "allowed_tools":
        _ALLOWED(choice, "tool_choice")
        _check_count(len(choice["tools"]), "tool_choice.tools")
        names = set()
        chosen: dict[str, list[str] | None] = {}
        for index, one in enumerate(choice["tools"]):
            path = f"tool_choice.tools[{index}]"
            # Those of the graph are its own to choose, and a hosted one that is merely allowed is left out.
            if one["type"] in ("function", "custom"):
                names.add(_named(read, one, path))
            elif one["type"] == "mcp" and (server := _server(read, one, path, graphs)) is not None:
                tool, others = one.get("name"), chosen.get(server.label, [])
                # An entry without a name allows the whole server.
                chosen[server.label] = None if tool is None or others is None else [*others, tool]
        allowed = tuple(tool for tool in read.tools if tool.bound_name in names)
        servers = tuple(replace(one, chosen=chosen[one.label]) for one in read.servers if one.label in chosen)
        if _mode_of(choice) == "required" and not allowed and not servers:
            raise InvalidRequest(
                "`tool_choice.tools` must have a tool that the model can call.", param="tool_choice.tools"
            )
        return replace(read, tools=allowed, servers=servers, choice=_mode_of(choice))
    if choice["type"] == "mcp" and (server := _server(read, choice, "tool_choice", graphs)) is not None:
        if (tool := choice.get("name")) is None:
            # As if it were the only one that is allowed.
            return replace(read, tools=(), servers=(server,), choice="required")
        return replace(read, servers=tuple(replace(one, must=tool) if one is server else one for one in read.servers))
    if choice["type"] in ("function", "custom"):
        return replace(read, choice=_named(read, choice, "tool_choice"))
    raise UnsupportedField(
        f"`tool_choice.type` is {shown(choice['type'])}, and this service does not host such a tool: leave it out.",
        param="tool_choice.type",
    )


def _server(read: DeclaredTools, choice: Fields, path: str, graphs: Sequence[str]) -> ToolServer | None:
    """The server that an entry of `tool_choice` names, or `None` if it names a graph."""
    label, tool = choice.get("server_label"), choice.get("name")
    a_name(label, f"{path}.server_label")
    if label in graphs:
        return None
    if tool is not None:
        a_name(tool, f"{path}.name")
    for one in read.servers:
        if one.label == label:
            return one
    path = f"{path}.server_label"
    raise InvalidRequest(f"`{path}` is not the `server_label` of one of `tools`.", param=path)


def _mode_of(allowed: Fields) -> Any:
    return allowed.get("mode") or "auto"


def _named(read: DeclaredTools, choice: Fields, path: str) -> str:
    a_name(choice.get("name"), at(path, "name"))
    name, namespace = choice["name"], choice.get("namespace")
    for tool in read.tools:
        if tool.name == name and namespace in (None, tool.namespace):
            return tool.bound_name
    raise InvalidRequest(f"`{at(path, 'name')}` is not the name of one of `tools`.", param=at(path, "name"))
