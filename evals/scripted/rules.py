"""A model that follows rules: it plays the planner of the project's graphs, and knows only what it is shown.

It calls a tool where the question has numbers, units or times, and searches otherwise. It answers with the sentence of
the passages that has most of the question's words, and with the result of a tool as it is. So a retriever that finds
the wrong documents, or a tool called wrongly, makes its answers wrong, as it would with a real model.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from .reading import passages, quoted, stems, support, wish

CHECK = re.compile(r"^Passages:\n(?P<passages>.*)\n\nQuestion: (?P<question>.*?)\nSome questions", re.DOTALL)
_GOES_ON = re.compile(r"(?:and|but|then)\b")
_A_WORD = re.compile(r"\S+\s*")
ENOUGH = 0.6
"""Share of a question's words that a passage must hold for the model to say that it answers the question."""

Chunk = dict[str, Any]


class ScriptedModel:
    """The chat endpoint of the scripted workspace; answers many at once, each the same every time."""

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        """See `ChatBackend`."""
        for chunk in reply(body):
            yield chunk
            # One write per chunk, as over a real network.
            await asyncio.sleep(0)


def reply(body: Mapping[str, Any]) -> list[Chunk]:
    """The chunks of the answer to a chat completions request."""
    messages = body["messages"]
    question = _text(next(message for message in reversed(messages) if message["role"] == "user"))
    prompt_words = sum(len(_text(message).split()) for message in messages)
    if check := CHECK.match(question):
        found = passages(check["passages"])
        return says("yes" if support(check["question"], found) >= ENOUGH else "no", prompt_words)
    results = _results(messages)
    if not results:
        functions = [tool["function"] for tool in body.get("tools") or []]
        if call := _chosen(functions, question, in_context(messages)):
            return calls(*call, prompt_words, place=len(messages))
    return says(_answer(in_context(messages), results), prompt_words)


def in_context(messages: Sequence[Mapping[str, Any]]) -> str:
    """The question; with the one before it, where it says too little alone."""
    asked = [_text(message) for message in messages if message["role"] == "user"]
    question = asked[-1]
    short = len(stems(question)) <= 3 or _GOES_ON.match(question.lower())
    return f"{asked[-2]} {question}" if len(asked) > 1 and short else question


def _chosen(functions: Sequence[Mapping[str, Any]], question: str, whole: str) -> tuple[str, dict[str, Any]] | None:
    """The function that has the parameter wanted: a tool for numbers, else a search, else somebody to hand over to."""
    wanted = wish(question)
    if wanted and (name := _with(functions, wanted[0])):
        return name, wanted[1]
    if name := _with(functions, "query"):
        return name, {"query": whole}
    agent = "data" if wanted else "documents"
    if name := _with([one for one in functions if one["name"].endswith(agent)], "task"):
        return name, {"task": whole}
    return None


def _with(functions: Sequence[Mapping[str, Any]], parameter: str) -> str | None:
    return next((one["name"] for one in functions if parameter in one["parameters"].get("properties", {})), None)


def _answer(question: str, results: Sequence[str]) -> str:
    found = [passage for result in results for passage in passages(result)]
    if found:
        return quoted(question, found)
    return " ".join(results) or "I can answer questions about the documentation."


def _results(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tools said since the last question, oldest first."""
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            results.insert(0, _text(message))
    return results


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def says(text: str, prompt_words: int) -> list[Chunk]:
    """The chunks of a text, word by word."""
    words = _A_WORD.findall(text)
    spoken = [_delta(content=word) for word in words]
    return [_delta(role="assistant", content=""), *spoken, _delta("stop") | _usage(prompt_words, len(words))]


def calls(name: str, arguments: Mapping[str, Any], prompt_words: int, *, place: int) -> list[Chunk]:
    """The chunks of one tool call, its id another one at each place of a conversation."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    piece = {"index": 0, "id": f"call_{place}_{name}", "type": "function", "function": function}
    return [_delta(tool_calls=[piece]), _delta("tool_calls") | _usage(prompt_words, len(arguments))]


def _delta(finish_reason: str | None = None, **content: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": content, "finish_reason": finish_reason}]}


def _usage(prompt: int, completion: int) -> Chunk:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}}
