"""A model that follows rules: it replaces the model of the project's planners, and only knows the request.

It calls a tool if the question has numbers, units or times, and searches otherwise. Then it answers with the sentence
of the passages that has most words of the question, or with the unchanged result of a tool. So a retriever that finds
the wrong documents, or a wrong tool call, makes its answers wrong, as it would with a real model.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graph_agent.testing import Call, Usage

from .reading import passages, quoted, stems, support, wish

_EARLIER = re.compile(r"^User: (.*)$", re.MULTILINE)
_GOES_ON = re.compile(r"(?:and|but|then)\b")
_A_WORD = re.compile(r"\S+\s*")
ENOUGH = 0.6
"""The share of a question's words that a passage must contain for the model to say that it answers the question."""

Reply = list[str | Call | Usage]


def reply(body: Mapping[str, Any]) -> Reply:
    """Return the reply to a chat completions request. The same request always gets the same reply."""
    messages = body["messages"]
    question = _text(next(message for message in reversed(messages) if message["role"] == "user"))
    prompt_words = sum(len(_text(message).split()) for message in messages)
    if check := asked_with(question, "\nSome questions"):
        found = passages(check.passages)
        return says("yes" if support(check.question, found) >= ENOUGH else "no", prompt_words)
    if asked := asked_with(question, "\nUse this to answer"):
        before = [_user(text) for text in _EARLIER.findall(_text(messages[0]))]
        return says(_answer(in_context([*before, _user(asked.question)]), [asked.passages]), prompt_words)
    results = _results(messages)
    if not results:
        functions = [tool["function"] for tool in body.get("tools") or []]
        if call := _chosen(functions, question, in_context(messages)):
            return calls(*call, prompt_words, place=len(messages))
    return says(_answer(in_context(messages), results), prompt_words)


class Asked(NamedTuple):
    """What a request for a check or an answer has before the words that say what to do."""

    passages: str
    question: str


def asked_with(text: str, task: str) -> Asked | None:
    """The passages and the question of a request whose words `task` follow the question. None for any other.

    Not by a regular expression, which would look for the end of the question from each of its possible beginnings.
    """
    begin, middle = "Passages:\n", "\n\nQuestion: "
    # The last question that is followed by the task: passages may have such lines, too.
    at = text.rfind(middle, len(begin), max(text.rfind(task), 0))
    if not text.startswith(begin) or at < 0:
        return None
    asked = at + len(middle)
    return Asked(text[len(begin) : at], text[asked : text.index(task, asked)])


def in_context(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the question, together with the previous one if it has too few words to be understood alone."""
    asked = [_text(message) for message in messages if message["role"] == "user"]
    question = asked[-1]
    short = len(stems(question)) <= 3 or _GOES_ON.match(question.lower())
    return f"{asked[-2]} {question}" if len(asked) > 1 and short else question


def _chosen(functions: Sequence[Mapping[str, Any]], question: str, whole: str) -> tuple[str, dict[str, Any]] | None:
    """Choose a function by its parameters: a tool for numbers, else a search, else a handoff to another agent."""
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
    """Return the tool results since the last question, oldest first."""
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            results.insert(0, _text(message))
    return results


def _user(text: str) -> Mapping[str, Any]:
    return {"role": "user", "content": text}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def says(text: str, prompt_words: int) -> Reply:
    """Reply with a text, word by word."""
    words = _A_WORD.findall(text)
    return [*words, Usage(prompt_words, len(words))]


def calls(name: str, arguments: Mapping[str, Any], prompt_words: int, *, place: int) -> Reply:
    """Reply with one tool call. Its id depends on its place in the conversation, so that no id occurs twice."""
    return [Call(name, arguments, id=f"call_{place}_{name}"), Usage(prompt_words, len(arguments))]
