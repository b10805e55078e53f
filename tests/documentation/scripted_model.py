"""The model of the tutorials: an OpenAI-compatible server that answers the questions of the pages."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.testing import on_loopback
from graph_agent.testing.completions import ScriptedCompletion
from graph_agent.testing.script import Script

FOUND = "{found}"
"""In a reply, stands for what the last tool of the turn has returned."""

Answers = Mapping[str, Sequence[Any]]


@contextmanager
def scripted_model(answers: Answers, unanswerable: Sequence[str] = ()) -> Iterator[str]:
    """Serve the model on loopback, and yield its base URL.

    `answers` has the replies to each question, in the order in which a graph calls the model. `unanswerable` are the
    questions that no passage answers. A question without an answer is refused.
    """

    async def chat(request: Request) -> ASGIApp:
        body = await request.json()
        reply = _reply(body["messages"], answers, unanswerable)
        if reply is None:
            return JSONResponse({"error": {"message": "the script has no answer to this"}}, 400)
        return ScriptedCompletion(Script([lambda _: reply]), body)

    with on_loopback(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])) as url:
        yield f"{url}/v1"


def _reply(messages: Sequence[Mapping[str, Any]], answers: Answers, unanswerable: Sequence[str]) -> Any:
    last = max(at for at, message in enumerate(messages) if message["role"] == "user")
    question = str(messages[last]["content"])
    if question.endswith("Reply no or yes."):
        return "no" if any(f"Question: {one}\n" in question for one in unanswerable) else "yes"
    turn = messages[last + 1 :]
    said = sum(message["role"] == "assistant" for message in turn)
    replies = answers.get(question, ())
    if said >= len(replies):
        return None
    found = next((str(one["content"]) for one in reversed(turn) if one["role"] == "tool"), "")
    reply = replies[said]
    return reply.replace(FOUND, found) if isinstance(reply, str) else reply
