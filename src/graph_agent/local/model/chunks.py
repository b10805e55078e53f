"""`chat.completion.chunk` objects, as OpenAI-style clients read them."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graph_agent.local.model.chat_request import Call

Chunk = dict[str, Any]
FinishReason = Literal["stop", "length", "tool_calls"]

PIECE_CHARACTERS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkWriter:
    """The chunks of one answer: they share its id."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def start(self) -> Chunk:
        """The first chunk: who speaks."""
        return self._choice({"role": "assistant", "content": ""})

    def text(self, text: str) -> Chunk:
        """A piece of the answer."""
        return self._choice({"content": text})

    def calls(self, calls: Sequence[Call]) -> Iterator[Chunk]:
        """Each call: its id and name once, then its arguments in pieces."""
        for index, call in enumerate(calls):
            head = {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function"}
            yield self._call(index, head | {"function": {"name": call.name, "arguments": ""}})
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            for start in range(0, len(arguments), PIECE_CHARACTERS):
                yield self._call(index, {"function": {"arguments": arguments[start : start + PIECE_CHARACTERS]}})

    def finish(self, reason: FinishReason) -> Chunk:
        """Why the answer ends."""
        return self._choice({}, reason)

    def usage(self, *, prompt_tokens: int, output_tokens: int) -> Chunk:
        """What the answer cost; a chunk without choices, because some clients count usage on a choice twice."""
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": prompt_tokens + output_tokens,
        }
        return self._chunk([]) | {"usage": usage}

    def _call(self, index: int, call: dict[str, Any]) -> Chunk:
        return self._choice({"tool_calls": [{"index": index} | call]})

    def _choice(self, delta: dict[str, Any], reason: FinishReason | None = None) -> Chunk:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}])

    def _chunk(self, choices: list[dict[str, Any]]) -> Chunk:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return head | {"choices": choices}
