"""A Genie space of the stand-in. It answers after a number of polls."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SPACE = "01ef"
GENIE = f"/api/2.0/genie/spaces/{SPACE}"


def text(content: str) -> dict[str, Any]:
    """Return an attachment with text."""
    return {"attachment_id": "t", "text": {"content": content}}


def query(sql: str, attachment: str = "q") -> dict[str, Any]:
    """Return an attachment with a query."""
    return {"attachment_id": attachment, "query": {"query": sql}}


def genie_routes(
    attachments: Sequence[dict[str, Any]] = (),
    *,
    looks: int = 1,
    table: dict[str, Any] | None = None,
    error: str | None = None,
) -> list[Route]:
    """Return the routes of the space. After `looks` polls, the message is complete, or has failed with `error`."""
    seen: dict[str, int] = {}

    async def start(request: Request) -> Response:
        number = f"{len(seen)}"
        seen[number] = 0
        return JSONResponse(
            {
                "conversation_id": number,
                "message_id": "m",
                "conversation": {"id": number, "space_id": SPACE, "user_id": 1, "title": "", "conversation_id": number},
                "message": message(number, "SUBMITTED"),
            }
        )

    async def look(request: Request) -> Response:
        number = request.path_params["conversation"]
        seen[number] += 1
        if seen[number] <= looks:
            return JSONResponse(message(number, "ASKING_AI"))
        if error is not None:
            return JSONResponse(message(number, "FAILED") | {"error": {"error": error}})
        return JSONResponse(message(number, "COMPLETED") | {"attachments": list(attachments)})

    async def result(request: Request) -> Response:
        return JSONResponse({"statement_response": table})

    def message(conversation: str, status: str) -> dict[str, Any]:
        ids = {"space_id": SPACE, "conversation_id": conversation, "message_id": "m", "id": "m"}
        return ids | {"content": "asked", "status": status}

    messages = GENIE + "/conversations/{conversation}/messages/{message}"
    return [
        Route(GENIE + "/start-conversation", start, methods=["POST"]),
        Route(messages, look),
        Route(messages + "/attachments/{attachment}/query-result", result),
    ]
