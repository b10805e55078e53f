"""MCP servers of the stand-in, in addition to that of the workspace at `/api/2.0/mcp/functions/main/tools`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool, tool
from mcp import types
from mcp.server.lowlevel import Server
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from graph_agent.databricks.remote_tool import RemoteTool
from graph_agent.local.rest.functions import PATH, FunctionServer

FUNCTIONS = "^" + PATH + "$"
"""The pattern of the workspace's MCP server, for `calls` and faults."""


@tool
def forecast(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


async def _echo(arguments: dict[str, Any]) -> tuple[str, None]:
    return " ".join(f"{name}={value}" for name, value in arguments.items()), None


find_customer = RemoteTool(
    name="find_customer",
    description="A tool whose arguments are named like LangChain's own.",
    args_schema={"type": "object", "properties": {"config": {"type": "string"}, "callbacks": {"type": "integer"}}},
    ask=_echo,
)


def mcp_route(path: str, tools: Sequence[BaseTool] = (forecast,), *, stateless: bool = True) -> Route:
    """A server with these tools. If it is not `stateless`, it has sessions, and can forget them."""
    return FunctionServer(tools, path=path, prefix="", stateless=stateless).route()


def odd_route(path: str, answers: Mapping[str, Callable[[], Any]]) -> Route:
    """A server whose tools take no arguments and return the results of these functions, in any shape."""
    server: Server[Any] = Server("odd")

    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
    async def listed() -> list[types.Tool]:
        return [types.Tool(name=name, inputSchema={"type": "object"}) for name in answers]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def called(name: str, arguments: dict[str, Any]) -> Any:
        return answers[name]()

    return FunctionServer(path=path, server=server).route()


def raw_route(
    path: str, listing: Callable[[Any], Response], *, opening: Callable[[Any], Response | None] = lambda id: None
) -> Route:
    """A server that opens sessions. `listing` creates the answer to `tools/list` from the id of the request.

    `opening` does the same for `initialize`. If it returns None, the usual answer is sent.
    """

    async def answer(request: Request) -> Response:
        body = await request.json()
        match body["method"]:
            case "initialize":
                if (instead := opening(body["id"])) is not None:
                    return instead
                about = {"protocolVersion": body["params"]["protocolVersion"], "capabilities": {"tools": {}}}
                about["serverInfo"] = {"name": "raw", "version": "1"}
                return JSONResponse({"jsonrpc": "2.0", "id": body["id"], "result": about})
            case "tools/list":
                return listing(body["id"])
            case _:
                return Response(status_code=202)

    return Route(path, answer, methods=["POST"])


class Waiting:
    """A server with the tool `wait`. Calls with `{"end": false}` never end. It records what happens to the calls."""

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        self.opened = 0
        self.asked: list[Any] = []
        self.left: list[Any] = []
        self.called_off: list[Any] = []

    def route(self, path: str) -> Route:
        """Return the route for a path."""
        return Route(path, self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        result: dict[str, Any] = {}
        match body["method"]:
            case "initialize":
                self.opened += 1
                result = {"protocolVersion": body["params"]["protocolVersion"], "capabilities": {"tools": {}}}
                result["serverInfo"] = {"name": "waiting", "version": "1"}
            case "tools/list":
                result = {"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]}
            case "tools/call" if body["params"]["arguments"]["end"]:
                result = {"content": [{"type": "text", "text": "ended"}]}
            case "tools/call":
                self.asked.append(body["id"])
                return await self._waits(request, body["id"])
            case "notifications/cancelled":
                self.called_off.append(body["params"]["requestId"])
                return Response(status_code=202)
            case _:
                return Response(status_code=202)
        return JSONResponse({"jsonrpc": "2.0", "id": body["id"], "result": result})

    async def _waits(self, request: Request, id: Any) -> Response:
        async def events() -> AsyncIterator[str]:
            try:
                while True:
                    yield ": wait\n\n"
                    await asyncio.sleep(0.02)
            finally:
                self.left.append(id)

        if self.streams:
            return StreamingResponse(events(), media_type="text/event-stream")
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.left.append(id)
        return Response(status_code=500)
