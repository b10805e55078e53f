"""A judge with OpenAI's chat completions. It answers yes, except where a test sets another verdict or a failure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graph_agent.testing import on_loopback

REFUSED, GARBLED = "refused", "garbled"


class StubJudge:
    """`says` maps a text in the request to a verdict, `REFUSED` (status 400) or `GARBLED` (not JSON)."""

    def __init__(self, **says: str) -> None:
        self.says = dict(says)
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        text = "\n".join(_text(message["content"]) for message in body["messages"])
        self.asked.append(text)
        verdict = next((said for part, said in self.says.items() if part in text), "yes")
        if verdict == REFUSED:
            return JSONResponse({"error": {"message": "no", "type": "invalid_request_error"}}, 400)
        content = "I would rather not." if verdict == GARBLED else json.dumps({"result": verdict, "rationale": "so"})
        return JSONResponse(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the judge and yield its base URL for `OPENAI_BASE_URL`."""
        routes = [
            Route("/v1/chat/completions", self.answer, methods=["POST"]),
            Route("/v1/models", lambda request: JSONResponse({"data": []})),
        ]
        with on_loopback(Starlette(routes=routes)) as url:
            yield f"{url}/v1"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)
