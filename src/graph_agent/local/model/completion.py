"""Joins streamed chunks into one chat completion."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_agent.model_tool_calls import CallReader

Json = dict[str, Any]


@dataclass(slots=True)
class Completion:
    """Collects chunks in order. `reply` is the answer to a request without `stream`."""

    _role: str = "assistant"
    _text: list[str] = field(default_factory=list)
    _calls: dict[int, Json] = field(default_factory=dict)
    _pieces: CallReader = field(default_factory=CallReader)
    _finish_reason: str | None = None
    _usage: Json | None = None
    _tokens: list[Any] | None = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            self._add_delta(choice.get("delta") or {})
            if tokens := (choice.get("logprobs") or {}).get("content"):
                self._tokens = [*(self._tokens or ()), *tokens]

    def reply(self) -> Json:
        logprobs = None if self._tokens is None else {"content": self._tokens}
        choice = {"index": 0, "message": self._message(), "logprobs": logprobs, "finish_reason": self._finish_reason}
        reply: Json = {"object": "chat.completion", "choices": [choice]}
        return reply if self._usage is None else {**reply, "usage": self._usage}

    def _message(self) -> Json:
        # The reader holds back arguments that may turn out not to be a JSON object, until the answer has ended.
        self._add_calls(self._pieces.rest())
        text = "".join(self._text)
        # As OpenAI does: the content of a message with calls and without text is null.
        message: Json = {"role": self._role, "content": None if self._calls and not text else text}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return message

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        self._role = delta.get("role") or self._role
        content = delta.get("content") or ""
        self._text.append(content if isinstance(content, str) else "".join(map(_text, content)))
        self._add_calls(self._pieces.read(delta.get("tool_calls")))

    def _add_calls(self, pieces: Iterable[Mapping[str, Any]]) -> None:
        """Add pieces of calls. The id and name of a call come once, its arguments in pieces."""
        for piece in pieces:
            empty = {"id": piece["id"], "type": "function", "function": {"name": "", "arguments": ""}}
            function = self._calls.setdefault(piece["index"], empty)["function"]
            function["name"] += piece["name"] or ""
            function["arguments"] += piece["args"] or ""


def _text(part: Any) -> str:
    return str(part.get("text") or "") if isinstance(part, Mapping) else str(part)
