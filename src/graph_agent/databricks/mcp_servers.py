"""MCP servers as a graph declares them: where each is, whose permissions its calls use, and what those must be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from graph_agent.databricks.clients import Actor
from graph_agent.errors import ConfigurationError
from graph_agent.threads import in_calling_thread

Kind = Literal["functions", "vector-search", "genie", "external", "custom"]
Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """One server. Make it with `functions`, `vector_search`, `genie`, `external` or `at`; making it does no work."""

    name: str
    """What warnings and logs call it; tools of `external` and `at` servers are told to the model as `NAME__TOOL`."""

    kind: Kind
    """Decides which permission and scope an error names."""

    place: str
    """A path of the workspace, or for `at` a whole URL."""

    acting_as: Actor | Literal["nobody"] | None = None
    """Whose permissions calls use: `None` is what `GRAPH_AGENT_AUTHORIZATION` says; `nobody` sends no credentials of
    Databricks."""

    headers: Headers = field(default_factory=dict, repr=False)
    """More headers, or a function that gives them at each request, off the event loop."""

    @classmethod
    def functions(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """Unity Catalog functions of a schema, `catalog.schema`, or one of them, `catalog.schema.function`."""
        return cls._managed("functions", name, "catalog.schema", acting_as)

    @classmethod
    def vector_search(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """Vector Search indexes of a schema, `catalog.schema`, or one of them, `catalog.schema.index`."""
        return cls._managed("vector-search", name, "catalog.schema", acting_as)

    @classmethod
    def genie(cls, space: str, *, acting_as: Actor | None = None) -> Self:
        """A Genie space, by its id."""
        return cls(name=f"genie {space}", kind="genie", place=_path("genie", space), acting_as=acting_as)

    @classmethod
    def external(cls, connection: str, *, acting_as: Actor | None = None) -> Self:
        """A server elsewhere, reached through a Unity Catalog connection that keeps its credentials."""
        return cls(name=connection, kind="external", place=_path("external", connection), acting_as=acting_as)

    @classmethod
    def at(
        cls,
        url: str,
        *,
        name: str,
        headers: Headers | None = None,
        acting_as: Actor | Literal["nobody"] | None = "nobody",
    ) -> Self:
        """A server at a URL, anywhere. It gets credentials of Databricks only when `acting_as` says whose.

        Raises:
            ConfigurationError: no HTTP URL, or one that would carry credentials unencrypted off this machine.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"the MCP server {name} must be at an http:// or https:// URL")
        secret = acting_as != "nobody" or bool(headers)
        if secret and parts.scheme == "http" and not _loopback(parts.hostname):
            raise ConfigurationError(f"the MCP server {name} must be at an https:// URL, as it is sent credentials")
        return cls(name=name, kind="custom", place=url, acting_as=acting_as, headers=headers or {})

    @classmethod
    def _managed(cls, kind: Kind, name: str, form: str, acting_as: Actor | None) -> Self:
        parts = name.split(".")
        if len(parts) not in (2, 3) or not all(parts):
            raise ConfigurationError(f"{name!r} does not name a schema; write it as {form}")
        return cls(name=name, kind=kind, place=_path(kind, *parts), acting_as=acting_as)

    async def extra_headers(self) -> Mapping[str, str]:
        """`headers`, asked for where they are a function."""
        return await in_calling_thread(self.headers) if callable(self.headers) else self.headers

    def tool_name(self, remote: str) -> str:
        """What the model calls a tool of it: chat endpoints take 64 characters of letters, digits, `_` and `-`."""
        full = remote if self.kind in ("functions", "vector-search", "genie") else f"{self.name}__{remote}"
        # The end tells tools of one schema apart.
        return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in full)[-64:]

    @property
    def permission(self) -> str:
        """What its caller must hold."""
        match self.kind:
            case "functions":
                return f"EXECUTE on the functions of {self.name}"
            case "vector-search":
                return f"SELECT on the indexes of {self.name}"
            case "genie":
                return "CAN RUN on the Genie space"
            case "external":
                return f"USE CONNECTION on {self.name}"
            case _:
                return "CAN USE on the app that serves it"

    @property
    def scope(self) -> str | None:
        """The user scope the app must have for a user's token to be good for it."""
        scopes: dict[str, str] = {
            "functions": "mcp.functions",
            "vector-search": "mcp.vectorsearch",
            "genie": "mcp.genie",
            "external": "mcp.external",
        }
        return scopes.get(self.kind)


def _path(*parts: str) -> str:
    return "/api/2.0/mcp/" + "/".join(quote(part, safe="") for part in parts)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
