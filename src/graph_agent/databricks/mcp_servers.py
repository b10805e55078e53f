"""MCP servers as a graph declares them: their address, whose permissions calls use, and which permissions those are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from graph_agent.client_tools import endpoint_name
from graph_agent.databricks.clients import Actor
from graph_agent.errors import ConfigurationError
from graph_agent.threads import run_in_call_thread
from graph_agent.trusted_hosts import is_loopback

Kind = Literal["functions", "ai-search", "vector-search", "genie", "sql", "external", "custom"]
Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]

WORKSPACE_KINDS = ("functions", "ai-search", "vector-search", "genie", "sql")
"""Servers whose tools keep the names that the workspace gives them."""

SCOPES: Mapping[str, tuple[str, ...]] = {
    "functions": ("unity-catalog", "mcp.functions"),
    "ai-search": ("ai-search",),
    "vector-search": ("vector-search", "mcp.vectorsearch"),
    "genie": ("genie", "mcp.genie"),
    "sql": ("sql",),
    "external": ("mcp.external",),
}
"""User scopes that allow a user's token to use a server: the name in the documentation first, then the older name that
Databricks' own client requests. Which of the two a workspace accepts is not documented.

Source: https://docs.databricks.com/aws/en/agents/mcp/managed-mcp
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """One server. Create it with `functions`, `ai_search`, `vector_search`, `genie`, `sql`, `external` or `at`, none
    of which makes a call."""

    name: str
    """The name in warnings and logs. The model sees tools of `external` and `at` servers as `NAME__TOOL`."""

    kind: Kind
    """Decides which permission and scope an error names."""

    place: str
    """A path in the workspace, or for `at` a complete URL."""

    acting_as: Actor | Literal["nobody"] | None = None
    """Whose permissions calls use. `None` takes `GRAPH_AGENT_AUTHORIZATION`; `nobody` sends no Databricks
    credentials."""

    headers: Headers = field(default_factory=dict, repr=False)
    """Additional headers, or a function that returns them. It is called for each request, off the event loop."""

    @classmethod
    def functions(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """The Unity Catalog functions of a schema, `catalog.schema`, or one function, `catalog.schema.function`."""
        return cls._managed("functions", name, "catalog.schema", acting_as)

    @classmethod
    def ai_search(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """The AI Search indexes of a schema, `catalog.schema`, or one index, `catalog.schema.index`."""
        return cls._managed("ai-search", name, "catalog.schema", acting_as)

    @classmethod
    def vector_search(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """The same indexes at the older address, for workspaces that do not have `ai_search` yet."""
        return cls._managed("vector-search", name, "catalog.schema", acting_as)

    @classmethod
    def genie(cls, space: str | None = None, *, acting_as: Actor | None = None) -> Self:
        """A Genie space by its id; without an id, Genie over all data that the caller may see."""
        if space is None:
            return cls(name="genie", kind="genie", place=_path("genie"), acting_as=acting_as)
        return cls(name=f"genie {space}", kind="genie", place=_path("genie", space), acting_as=acting_as)

    @classmethod
    def sql(cls, *, acting_as: Actor | None = None) -> Self:
        """SQL statements on all data that the caller may read and write. A model with this server can change data."""
        return cls(name="sql", kind="sql", place=_path("sql"), acting_as=acting_as)

    @classmethod
    def external(cls, connection: str, *, acting_as: Actor | None = None) -> Self:
        """A server outside the workspace, reached through a Unity Catalog connection that holds its credentials."""
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
        """A server at any URL. It gets Databricks credentials only if `acting_as` names an identity.

        Raises:
            ConfigurationError: it is not an HTTP URL, or it would send credentials unencrypted off this machine.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"the MCP server {name} must be at an http:// or https:// URL")
        secret = acting_as != "nobody" or bool(headers)
        if secret and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigurationError(f"the MCP server {name} gets credentials, so its URL must begin with https://")
        return cls(name=name, kind="custom", place=url, acting_as=acting_as, headers=headers or {})

    @classmethod
    def _managed(cls, kind: Kind, name: str, form: str, acting_as: Actor | None) -> Self:
        parts = name.split(".")
        if len(parts) not in (2, 3) or not all(parts):
            raise ConfigurationError(f"{name!r} does not name a schema; write it as {form}")
        return cls(name=name, kind=kind, place=_path(kind, *parts), acting_as=acting_as)

    async def extra_headers(self) -> Mapping[str, str]:
        """`headers`, or the result of calling them if they are a function."""
        return await run_in_call_thread(self.headers) if callable(self.headers) else self.headers

    def tool_name(self, remote: str) -> str:
        """The name of a tool for the model. Chat endpoints accept 64 characters: letters, digits, `_` and `-`."""
        return endpoint_name(self.full_name(remote))

    def full_name(self, remote: str) -> str:
        """The name before it is shortened and its characters are replaced."""
        return remote if self.kind in WORKSPACE_KINDS else f"{self.name}__{remote}"

    @property
    def permission(self) -> str:
        """The permission that its caller needs."""
        match self.kind:
            case "functions":
                return f"EXECUTE on the functions of {self.name}"
            case "ai-search" | "vector-search":
                return f"SELECT on the indexes of {self.name}"
            case "genie":
                return "CAN RUN on the Genie space"
            case "sql":
                return "CAN USE on a SQL warehouse, and SELECT on the tables"
            case "external":
                return f"USE CONNECTION on {self.name}"
            case _:
                return "CAN USE on the app that serves it"

    @property
    def scopes(self) -> tuple[str, ...]:
        """The user scopes, any one of which allows a user's token to use it; see `SCOPES`."""
        return SCOPES.get(self.kind, ())


def _path(*parts: str) -> str:
    # A name may contain any character, a slash too.
    return "/api/2.0/mcp/" + "/".join(quote(part, safe="") for part in parts)
