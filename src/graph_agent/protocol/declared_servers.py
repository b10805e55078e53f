"""Reads the tools of type `mcp`: the MCP servers that a client names, and the credentials for them.

A server must be on the operator's list. Its credentials are taken out of the body before anything else reads it, so
that no digest, response or store has them.

Source: https://platform.openai.com/docs/guides/tools-connectors-mcp
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.client_tools import ToolFilter, ToolServer
from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.protocol.field_checks import Shape, a_boolean, a_name, a_string, an_object, array_of, wrong
from graph_agent.trusted_hosts import server_address

LABEL = re.compile(r"[A-Za-z0-9_-]{1,48}")
"""A label that stands in front of the names of tools, of which model endpoints take 64 characters."""

MOST_SERVERS = 8
"""Servers of one request. Each is asked for its tools before the graph runs."""

MOST_NAMES = 256
"""Names of tools in one filter."""

MOST_DESCRIPTION = 1_000
"""Characters of the description of a server, which stands with each of its tools."""

CREDENTIALS = ("authorization", "headers")
"""The fields of a tool that hold credentials."""

MOST_HEADERS, MOST_HEADER_CHARACTERS = 32, 16_384
"""Headers for one server, and the characters of all their names and values together."""

HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""The name of a header, as RFC 9110 has it."""

RESERVED = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "last-event-id",
        "origin",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
"""Headers that the connection or the protocol needs."""

RESERVED_BEGINNINGS = ("mcp-", "proxy-", "sec-", "x-forwarded-")

_WORD = re.compile(r"[A-Za-z_-]{0,15}")
"""Values of headers that are no secrets, such as `production`. Answers contain these words, too."""

_FILTER = Shape(
    optional={"tool_names": array_of(a_name), "read_only": a_boolean}, alternatives=("tool_names", "read_only")
)
_APPROVAL = Shape(optional={"always": _FILTER, "never": _FILTER}, alternatives=("always", "never"))
_SERVER = Shape(
    required={"server_label": a_name},
    optional={"server_url": a_name, "server_description": a_string, "allowed_callers": array_of(a_string)},
)

Fields = Mapping[str, Any]


def read_server(
    tool: Fields,
    path: str,
    *,
    graphs: Sequence[str],
    known: Sequence[str] | None,
    found: dict[str, ToolServer],
    warnings: list[str],
) -> None:
    """Read one tool of type `mcp` into `found`, by its label. One with the name of a graph is that graph. `known` are
    the addresses on the operator's list, or `None` where no request may name a server.

    Raises:
        InvalidRequest, UnsupportedField: `param` is the path of what is wrong.
    """
    label, url = tool.get("server_label"), tool.get("server_url")
    if not known:
        if label not in graphs:
            if known is None:
                raise _not_here(path, param=f"{path}.server_label")
            raise UnsupportedField(
                f"`{path}.server_label` must be the name of a graph of this service ({', '.join(graphs)}): the service "
                "connects to no server that a client names, because its operator has listed none in "
                "GRAPH_AGENT_CLIENT_MCP_SERVERS. The graph has its own servers.",
                param=f"{path}.server_label",
            )
        return
    address = server_address(url) if isinstance(url, str) else None
    if label in graphs:
        if address in known:
            raise InvalidRequest(
                f"`{path}.server_label` is the name of a graph of this service: choose another label.",
                param=f"{path}.server_label",
            )
        return
    for name in ("connector_id", "tunnel_id"):
        if tool.get(name) is not None:
            raise UnsupportedField(
                f"`{path}.{name}` is not supported: name the server by `server_url`.", param=f"{path}.{name}"
            )
    _SERVER(tool, path)
    if LABEL.fullmatch(tool["server_label"]) is None:
        raise InvalidRequest(
            f"`{path}.server_label` must have at most 48 letters, digits, `_` and `-`.", param=f"{path}.server_label"
        )
    if tool["server_label"] in found:
        raise InvalidRequest(
            f"`{path}.server_label` is that of another tool, too: rename one of them.", param=f"{path}.server_label"
        )
    if url is None:
        raise InvalidRequest(f"`{path}.server_url` is missing.", param=f"{path}.server_url")
    if address is None or address not in known:
        raise UnsupportedField(
            f"`{path}.server_url` is not one of the servers that this service may use: its operator lists them in "
            "GRAPH_AGENT_CLIENT_MCP_SERVERS, and the address must be the same.",
            param=f"{path}.server_url",
        )
    if len(tool.get("server_description") or "") > MOST_DESCRIPTION:
        raise InvalidRequest(
            f"`{path}.server_description` has more than {MOST_DESCRIPTION} characters.",
            param=f"{path}.server_description",
        )
    if (callers := tool.get("allowed_callers")) is not None and "direct" not in callers:
        raise UnsupportedField(
            f"`{path}.allowed_callers` must have 'direct': only the model calls tools here.",
            param=f"{path}.allowed_callers",
        )
    if tool.get("defer_loading"):
        warnings.append(
            f"The tools of {tool['server_label']} are loaded at once: `defer_loading` of `tools` has no effect."
        )
    always, never = _approval(tool.get("require_approval"), f"{path}.require_approval")
    found[tool["server_label"]] = ToolServer(
        label=tool["server_label"],
        url=address,
        description=tool.get("server_description") or "",
        allowed=read_allowed(tool.get("allowed_tools"), f"{path}.allowed_tools"),
        always=always,
        never=never,
    )


def addresses_in(response: Fields) -> Mapping[str, str | None]:
    """The addresses of the MCP servers that the request for this response named, by their labels."""
    return {
        one["server_label"]: server_address(one["server_url"])
        for one in response.get("tools") or ()
        if one.get("type") == "mcp" and one.get("server_url")
    }


def refuse_servers(tools: Any) -> None:
    """Refuse MCP servers among the tools of a protocol that has none. `tools` may be anything.

    Raises:
        UnsupportedField: there is one.
    """
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and tool.get("type") == "mcp":
            raise _not_here(f"tools[{index}]", param=f"tools[{index}].type")


def _not_here(path: str, *, param: str) -> UnsupportedField:
    return UnsupportedField(
        f"`{path}` names an MCP server, which only requests for a response may do, such as those to `/v1/responses` of "
        "a service: leave it out.",
        param=param,
    )


def check_server_count(found: Mapping[str, ToolServer]) -> None:
    """Refuse more servers than a run may ask.

    Raises:
        InvalidRequest: there are more.
    """
    if len(found) > MOST_SERVERS:
        raise InvalidRequest(f"`tools` has more than {MOST_SERVERS} MCP servers: send fewer.", param="tools")


def read_allowed(value: Any, path: str) -> ToolFilter | None:
    """The tools that `allowed_tools` of a server allows, or `None` for all.

    Raises:
        InvalidRequest: it is no filter.
    """
    if value is None:
        return None
    if isinstance(value, list):
        array_of(a_name)(value, path)
        return ToolFilter(names=_bounded(value, path))
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{path}` must be an array of names, or an object with `tool_names`.", param=path)
    return _filter(value, path)


def _filter(value: Any, path: str) -> ToolFilter | None:
    if value is None:
        return None
    _FILTER(value, path)
    names = value.get("tool_names")
    return ToolFilter(
        names=None if names is None else _bounded(names, f"{path}.tool_names"), read_only=value.get("read_only")
    )


def _bounded(names: Sequence[str], path: str) -> tuple[str, ...]:
    if len(names) > MOST_NAMES:
        raise InvalidRequest(f"`{path}` has more than {MOST_NAMES} entries: send fewer.", param=path)
    return tuple(names)


def _approval(value: Any, path: str) -> tuple[ToolFilter | None, ToolFilter | None]:
    """Which tools always ask, and which never do. All others ask."""
    if value is None or value == "always":
        return None, None
    if value == "never":
        return None, ToolFilter()
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{path}` must be 'always', 'never', or an object with those filters.", param=path)
    _APPROVAL(value, path)
    return _filter(value.get("always"), f"{path}.always"), _filter(value.get("never"), f"{path}.never")


# -- credentials ----------------------------------------------------------------------------------------------------


def without_credentials(sent: Fields) -> tuple[Fields, Sequence[Fields | None]]:
    """The body without the credentials of MCP servers, and what was taken out of each of its tools."""
    tools = sent.get("tools")
    if not isinstance(tools, list) or not any(map(_has_credentials, tools)):
        return sent, ()
    clean = [
        {name: value for name, value in tool.items() if name not in CREDENTIALS} if _has_credentials(tool) else tool
        for tool in tools
    ]
    taken = [
        {name: tool[name] for name in CREDENTIALS if name in tool} if _has_credentials(tool) else None for tool in tools
    ]
    return {**sent, "tools": clean}, taken


def headers_for(
    servers: Sequence[ToolServer], tools: Sequence[Fields], taken: Sequence[Fields | None]
) -> Mapping[str, Mapping[str, str]]:
    """The headers for each server, by its label. `taken` is what was taken out of `tools`.

    Raises:
        InvalidRequest: a header is not allowed, or they are too large.
    """
    labels = {one.label for one in servers}
    return {
        tool["server_label"]: _headers(one, f"tools[{index}]")
        for index, (tool, one) in enumerate(zip(tools, taken, strict=False))
        if one is not None and tool["server_label"] in labels
    }


def _has_credentials(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "mcp" and any(name in tool for name in CREDENTIALS)


def _headers(tool: Fields, path: str) -> Mapping[str, str]:
    given, token = tool.get("headers"), tool.get("authorization")
    headers: dict[str, str] = {}
    if given is not None:
        an_object(given, f"{path}.headers")
        if len(given) > MOST_HEADERS:
            raise InvalidRequest(f"`{path}.headers` has more than {MOST_HEADERS} entries.", param=f"{path}.headers")
        for name, value in given.items():
            _check_header(name, value, f"{path}.headers")
            if name.lower() in headers:
                raise InvalidRequest(f"`{path}.headers` has a header twice.", param=f"{path}.headers")
            headers[name.lower()] = value
    if token is not None:
        a_name(token, f"{path}.authorization")
        if "authorization" in headers:
            raise InvalidRequest(
                f"`{path}.authorization` and the header Authorization exclude each other: send one of them.",
                param=f"{path}.authorization",
            )
        if not _is_field_value(token):
            raise _unprintable(f"{path}.authorization")
        headers["authorization"] = token if token[:7].lower() == "bearer " else f"Bearer {token}"
    if sum(len(name) + len(value) for name, value in headers.items()) > MOST_HEADER_CHARACTERS:
        raise InvalidRequest(
            f"`{path}.headers` and `authorization` have more than {MOST_HEADER_CHARACTERS} characters.",
            param=f"{path}.headers",
        )
    return headers


def _check_header(name: str, value: Any, path: str) -> None:
    if HEADER.fullmatch(name) is None:
        raise InvalidRequest(f"`{path}` has a key that is not the name of a header.", param=path)
    if name.lower() in RESERVED or name.lower().startswith(RESERVED_BEGINNINGS):
        raise InvalidRequest(f"`{path}` must not have {name}, which the connection sets itself.", param=path)
    if not isinstance(value, str):
        raise wrong(f"{path}.{name}", "a string", "another value")
    if not _is_field_value(value):
        raise _unprintable(f"{path}.{name}")


def _is_field_value(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip()


def _unprintable(path: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}` must be printable ASCII without spaces at its ends.", param=path)


def secrets_in(headers: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The values that nothing of the run may say."""
    found = []
    for one in headers.values():
        for value in one.values():
            scheme, _, rest = value.partition(" ")
            found += [value, rest] if rest and scheme.isalpha() else [value]
    return [value for value in found if not _WORD.fullmatch(value)]
