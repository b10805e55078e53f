"""An MCP server that records its requests. A test can set every answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Answer = Callable[[Mapping[str, Any]], Response | Mapping[str, Any] | None]
"""Gets a message and returns a complete response, a result, or None for the usual one."""

FORECAST = {"name": "forecast", "inputSchema": {"type": "object"}}


@dataclass
class OddServer:
    """Numbers its sessions. `answers` are used first, by method. `looks` answer GET requests in order."""

    answers: dict[str, Answer] = field(default_factory=dict)
    looks: list[Response] = field(default_factory=list)
    tools: Sequence[Any] = (FORECAST,)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    sessions: int = 0

    def methods(self) -> list[str]:
        """Return the methods of the requests, without notifications and DELETE."""
        return [method for method, _ in self.asked if "/" in method or method in ("initialize", "GET")]

    def route(self, path: str) -> Route:
        """Return the route for a path."""
        return Route(path, self._answer, methods=["POST", "GET", "DELETE"])

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            self.asked.append((request.method, dict(request.headers)))
            return self.looks.pop(0) if request.method == "GET" and self.looks else Response(status_code=405)
        body = await request.json()
        if body["method"].startswith("notifications/"):
            return Response(status_code=202)
        self.asked.append((body["method"], dict(request.headers)))
        made = self.answers[body["method"]](body) if body["method"] in self.answers else None
        if isinstance(made, Response):
            return made
        return self.result(body, made if made is not None else self._usual(body))

    def result(self, body: Mapping[str, Any], result: Mapping[str, Any]) -> Response:
        """Return the answer with this result. The answer to `initialize` has a session id."""
        headers = {"mcp-session-id": f"s{self.sessions}"} if body["method"] == "initialize" else {}
        return JSONResponse({"jsonrpc": "2.0", "id": body["id"], "result": result}, headers=headers)

    def _usual(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        match body["method"]:
            case "initialize":
                self.sessions += 1
                about = {"name": "odd", "version": "1"}
                version = body["params"]["protocolVersion"]
                return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            case "tools/list":
                return {"tools": list(self.tools)}
            case _:
                return said("It rains.")


def said(text: str) -> dict[str, Any]:
    """Return the result of a call."""
    return {"content": [{"type": "text", "text": text}]}


def refusal(body: Mapping[str, Any], code: int, message: str, *, status: int = 200) -> Response:
    """Return an error of the protocol."""
    error = {"code": code, "message": message}
    return JSONResponse({"jsonrpc": "2.0", "id": body.get("id"), "error": error}, status)


def events(*found: str, status: int = 200) -> Response:
    """Return a stream with these events."""
    return Response("".join(f"{one}\n\n" for one in found), status, media_type="text/event-stream")


def answer_event(id: Any, result: Mapping[str, Any]) -> str:
    """Return the event with the answer to a request."""
    return "data: " + json.dumps({"jsonrpc": "2.0", "id": id, "result": result})
