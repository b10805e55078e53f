"""Unity Catalog functions of the local workspace: the toolbox, served over MCP at the path that Databricks uses.

With it, a graph that uses `McpServer.functions("main.tools")` also runs on a laptop.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ValidationError
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

CATALOG, SCHEMA = "main", "tools"
PATH = f"/api/2.0/mcp/functions/{CATALOG}/{SCHEMA}"


class FunctionServer:
    """An ASGI app that serves tools over streamable HTTP. It imports and starts the MCP server with the first request.

    A `stateless` server keeps no session, like those of Databricks. `server`, if given, is served instead of `tools`.
    """

    def __init__(
        self,
        tools: Sequence[BaseTool] | None = None,
        *,
        path: str = PATH,
        prefix: str | None = None,
        stateless: bool = True,
        server: "Server[Any] | None" = None,
    ) -> None:
        self._tools = tools
        self._path = path
        self._prefix = f"{CATALOG}__{SCHEMA}__" if prefix is None else prefix
        self._stateless = stateless
        self._server = server
        self._running: asyncio.Task[None] | None = None
        self._manager: asyncio.Future[StreamableHTTPSessionManager] | None = None

    def route(self) -> Route:
        """The route for the exact path. Like Databricks, it does not accept a slash at the end."""
        return Route(self._path, endpoint=self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._manager is None:
            self._manager = asyncio.get_running_loop().create_future()
            # In a separate task, because the task group of the manager must outlive this request.
            self._running = asyncio.create_task(self._run(self._manager))
        # Shielded, because all requests wait for the same future, and one that is cancelled must not cancel it.
        manager = await asyncio.shield(self._manager)
        await manager.handle_request(scope, receive, send)

    async def _run(self, started: "asyncio.Future[StreamableHTTPSessionManager]") -> None:
        try:
            manager = await asyncio.to_thread(self._build)
            async with manager.run():
                started.set_result(manager)
                # Waits until the task is cancelled: the manager runs as long as this block.
                await asyncio.get_running_loop().create_future()
        except Exception as error:  # noqa: BLE001 - whatever the start raises must reach the requests that wait for it
            if not started.done():
                started.set_exception(error)

    def _build(self) -> "StreamableHTTPSessionManager":
        # Late import, because it takes a second.
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from graph_agent.toolbox import calculator, convert_units, current_time

        tools = self._tools if self._tools is not None else [calculator, convert_units, current_time]
        server = self._server or serve_tools({self._prefix + tool.name: tool for tool in tools})
        return StreamableHTTPSessionManager(server, stateless=self._stateless)


def serve_tools(tools: dict[str, BaseTool]) -> "Server[Any]":
    """An MCP server of LangChain tools, by the names that it serves them under."""
    from mcp import types
    from mcp.server.lowlevel import Server

    server: Server[Any] = Server("graph-agent")

    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
    async def listed() -> list[types.Tool]:
        return [
            types.Tool(
                name=name,
                description=tool.description,
                inputSchema=convert_to_openai_tool(tool)["function"]["parameters"],
            )
            for name, tool in tools.items()
        ]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def called(name: str, arguments: dict[str, Any]) -> list[types.TextContent]:
        # The MCP library turns an exception into a result that is marked as an error, with the exception's text.
        if name not in tools:
            raise ToolException(f"there is no function {name!r}")
        try:
            result = await tools[name].ainvoke(arguments)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
            # Only the names of the arguments: pydantic's message quotes their values.
            raise ToolException(f"wrong arguments: {wrong}") from None
        return [types.TextContent(type="text", text=str(result))]

    return server
