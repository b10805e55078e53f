"""MCP servers as a graph declares them: where each is, whose permissions its calls use, and what those must be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from graph_agent.databricks.clients import Actor
from graph_agent.errors import ConfigurationError
from graph_agent.threads import run_in_call_thread
from graph_agent.trusted_hosts import is_loopback

Kind = Literal["functions", "ai-search", "vector-search", "genie", "sql", "external", "custom"]
Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]

WORKSPACE_KINDS = ("functions", "ai-search", "vector-search", "genie", "sql")
"""Servers whose tools keep the names the workspace gives them."""

SCOPES: Mapping[str, tuple[str, ...]] = {
    "functions": ("unity-catalog", "mcp.functions"),
    "ai-search": ("ai-search",),
    "vector-search": ("vector-search", "mcp.vectorsearch"),
    "genie": ("genie", "mcp.genie"),
    "sql": ("sql",),
    "external": ("mcp.external",),
}
"""User scopes that make a user's token good for a server, as the documentation names them now, then the older name
that Databricks' own client asks for; which of them a workspace takes, only the workspace tells.

Source: https://docs.databricks.com/aws/en/agents/mcp/managed-mcp
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """One server, made by `functions`, `ai_search`, `vector_search`, `genie`, `sql`, `external` or `at`; that is no
    work."""

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
    def ai_search(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """AI Search indexes of a schema, `catalog.schema`, or one of them, `catalog.schema.index`."""
        return cls._managed("ai-search", name, "catalog.schema", acting_as)

    @classmethod
    def vector_search(cls, name: str, *, acting_as: Actor | None = None) -> Self:
        """The same indexes at the older address, for workspaces that do not have `ai_search` yet."""
        return cls._managed("vector-search", name, "catalog.schema", acting_as)

    @classmethod
    def genie(cls, space: str | None = None, *, acting_as: Actor | None = None) -> Self:
        """A Genie space, by its id; without one, Genie over all that the caller may see."""
        if space is None:
            return cls(name="genie", kind="genie", place=_path("genie"), acting_as=acting_as)
        return cls(name=f"genie {space}", kind="genie", place=_path("genie", space), acting_as=acting_as)

    @classmethod
    def sql(cls, *, acting_as: Actor | None = None) -> Self:
        """SQL statements on what the caller may read and write: a model that has it can change data."""
        return cls(name="sql", kind="sql", place=_path("sql"), acting_as=acting_as)

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
        if secret and parts.scheme == "http" and not is_loopback(parts.hostname):
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
        return await run_in_call_thread(self.headers) if callable(self.headers) else self.headers

    def tool_name(self, remote: str) -> str:
        """What the model calls a tool of it: chat endpoints take 64 characters of letters, digits, `_` and `-`."""
        full = self.full_name(remote)
        # The end tells tools of one schema apart.
        return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in full)[-64:]

    def full_name(self, remote: str) -> str:
        """The same before it is cut and respelled."""
        return remote if self.kind in WORKSPACE_KINDS else f"{self.name}__{remote}"

    @property
    def permission(self) -> str:
        """What its caller must hold."""
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
        """The user scopes, any of which makes a user's token good for it; see `SCOPES`."""
        return SCOPES.get(self.kind, ())


def _path(*parts: str) -> str:
    return "/api/2.0/mcp/" + "/".join(quote(part, safe="") for part in parts)
