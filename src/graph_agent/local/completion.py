"""One chat completion out of its streamed chunks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Completion:
    """Takes chunks in their order; `reply` is what a request without `stream` is answered with."""

    _role: str = "assistant"
    _text: list[str] = field(default_factory=list)
    _calls: dict[int, Json] = field(default_factory=dict)
    _finish_reason: str | None = None
    _usage: Json | None = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            self._add_delta(choice.get("delta") or {})

    def reply(self) -> Json:
        choice = {"index": 0, "message": self._message(), "logprobs": None, "finish_reason": self._finish_reason}
        reply: Json = {"object": "chat.completion", "choices": [choice]}
        return reply if self._usage is None else {**reply, "usage": self._usage}

    def _message(self) -> Json:
        text = "".join(self._text)
        message: Json = {"role": self._role, "content": None if self._calls and not text else text}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return message

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        self._role = delta.get("role") or self._role
        self._text.append(delta.get("content") or "")
        for piece in delta.get("tool_calls") or ():
            self._add_call(piece)

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        """A call's id and name come once, its arguments in pieces."""
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self._calls.setdefault(piece.get("index", 0), empty)
        function = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""
