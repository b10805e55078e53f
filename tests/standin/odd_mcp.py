"""An MCP server whose every answer a test decides, and which remembers what it was asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Answer = Callable[[Mapping[str, Any]], Response | Mapping[str, Any] | None]
"""Of a message: a whole response, a result, or nothing for the usual one."""

FORECAST = {"name": "forecast", "inputSchema": {"type": "object"}}


@dataclass
class OddServer:
    """Keeps sessions by number. `answers` are tried first, by method; `looks` answer GETs in turn."""

    answers: dict[str, Answer] = field(default_factory=dict)
    looks: list[Response] = field(default_factory=list)
    tools: Sequence[Any] = (FORECAST,)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    sessions: int = 0

    def methods(self) -> list[str]:
        """What it was asked, notifications and goodbyes left out."""
        return [method for method, _ in self.asked if "/" in method or method in ("initialize", "GET")]

    def route(self, path: str) -> Route:
        """At that path."""
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
        """That result as the answer; of `initialize`, with a session."""
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
    """The result of a call."""
    return {"content": [{"type": "text", "text": text}]}


def refusal(body: Mapping[str, Any], code: int, message: str, *, status: int = 200) -> Response:
    """An error in the protocol's words."""
    error = {"code": code, "message": message}
    return JSONResponse({"jsonrpc": "2.0", "id": body.get("id"), "error": error}, status)


def events(*found: str, status: int = 200) -> Response:
    """A stream of these lines that then ends."""
    return Response("".join(f"{one}\n\n" for one in found), status, media_type="text/event-stream")


def answer_event(id: Any, result: Mapping[str, Any]) -> str:
    """The event with the answer to that request."""
    return "data: " + json.dumps({"jsonrpc": "2.0", "id": id, "result": result})
