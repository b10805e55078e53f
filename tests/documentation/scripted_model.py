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

Messages = Sequence[Mapping[str, Any]]

Answers = Mapping[str | tuple[str, str], Sequence[Any]]
"""The replies to each question, in the order in which a graph calls the model. A function in place of a reply makes it
of the messages. Where a graph has several models, the name of a tool stands before the question: of one that only the
model in question has."""


@contextmanager
def scripted_model(answers: Answers, unanswerable: Sequence[str] = ()) -> Iterator[str]:
    """Serve the model on loopback, and yield its base URL.

    `unanswerable` are the questions that no passage answers. A question without an answer is refused.
    """

    async def chat(request: Request) -> ASGIApp:
        body = await request.json()
        reply = _reply(body, answers, unanswerable)
        if reply is None:
            return JSONResponse({"error": {"message": "the script has no answer to this"}}, 400)
        return ScriptedCompletion(Script([lambda _: reply]), body)

    with on_loopback(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])) as url:
        yield f"{url}/v1"


def _reply(body: Mapping[str, Any], answers: Answers, unanswerable: Sequence[str]) -> Any:
    messages: Messages = body["messages"]
    last = max(at for at, message in enumerate(messages) if message["role"] == "user")
    question = str(messages[last]["content"])
    if question.endswith("Reply no or yes."):
        return "no" if any(f"Question: {one}\n" in question for one in unanswerable) else "yes"
    # The answer is asked for with the passages and the question alone.
    is_last = question.startswith("Passages:")
    if is_last:
        question = question.rpartition("Question: ")[2].partition("\n")[0]
    tools = [tool["function"]["name"] for tool in body.get("tools") or ()]
    keys: list[str | tuple[str, str]] = [*((tool, question) for tool in tools), question]
    replies = next((answers[key] for key in keys if key in answers), ())
    said = len(replies) - 1 if is_last else sum(message["role"] == "assistant" for message in messages[last + 1 :])
    if not 0 <= said < len(replies):
        return None
    reply = replies[said]
    return reply(messages) if callable(reply) else reply
