"""`chat.completion.chunk` objects, in the form that OpenAI-style clients read."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graph_agent.local.model.chat_request import Call

Chunk = dict[str, Any]
Token = dict[str, Any]
"""A token with its probability, in OpenAI's form."""

FinishReason = Literal["stop", "length", "tool_calls"]

PIECE_CHARACTERS = 24
"""Size of the pieces that a call's arguments are sent in, so that clients see them arrive as from a real endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkWriter:
    """Makes the chunks of one answer, which share an id."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def start(self) -> Chunk:
        """The first chunk, which has the role."""
        return self._choice({"role": "assistant", "content": ""})

    def text(self, text: str, tokens: Sequence[Token] | None = None) -> Chunk:
        """A piece of the answer, and its tokens with their probabilities if they are asked for."""
        return self._choice({"content": text}, logprobs=None if tokens is None else {"content": [*tokens]})

    def calls(self, calls: Sequence[Call]) -> Iterator[Chunk]:
        """The chunks of each call: its id and name once, then its arguments in pieces."""
        for index, call in enumerate(calls):
            head = {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function"}
            yield self._call(index, head | {"function": {"name": call.name, "arguments": ""}})
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            for start in range(0, len(arguments), PIECE_CHARACTERS):
                yield self._call(index, {"function": {"arguments": arguments[start : start + PIECE_CHARACTERS]}})

    def finish(self, reason: FinishReason) -> Chunk:
        """The chunk that says why the answer ends."""
        return self._choice({}, reason)

    def usage(self, *, prompt_tokens: int, cached_tokens: int, output_tokens: int) -> Chunk:
        """The token usage of the answer. `cached_tokens` are those of the prompt that were not read again.

        The chunk has no choices, because some clients count the usage of a chunk with choices twice.
        """
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": prompt_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        }
        return self._chunk([]) | {"usage": usage}

    def _call(self, index: int, call: dict[str, Any]) -> Chunk:
        return self._choice({"tool_calls": [{"index": index} | call]})

    def _choice(
        self, delta: dict[str, Any], reason: FinishReason | None = None, *, logprobs: dict[str, Any] | None = None
    ) -> Chunk:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": logprobs}])

    def _chunk(self, choices: list[dict[str, Any]]) -> Chunk:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return head | {"choices": choices}


def tokens_told(probabilities: Sequence[Mapping[str, Any]], likeliest: int) -> list[Token]:
    """Tokens of llama.cpp in OpenAI's form, each with so many of the likeliest ones."""
    return [
        _token(one) | {"top_logprobs": [_token(other) for other in (one.get("top_logprobs") or ())[:likeliest]]}
        for one in probabilities
    ]


def _token(one: Mapping[str, Any]) -> Token:
    return {"token": one["token"], "logprob": one["logprob"], "bytes": one["bytes"]}


def completion_as_chunks(completion: Any) -> list[Chunk]:
    """The chunks that a whole `chat.completion` object would have been streamed as; empty if it is not one."""
    choices = completion.get("choices") if isinstance(completion, dict) else None
    if not isinstance(choices, list) or not choices or not all(map(_has_message, choices)):
        return []
    head = {key: value for key, value in completion.items() if key not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    chunks = [head | {"choices": [_choice_as_delta(at, choice) for at, choice in enumerate(choices)]}]
    if completion.get("usage"):
        # Apart from the choices, for the reason that `ChunkWriter.usage` gives.
        chunks.append(head | {"choices": [], "usage": completion["usage"]})
    return chunks


def _has_message(choice: Any) -> bool:
    message = choice.get("message") if isinstance(choice, dict) else None
    return isinstance(message, dict) and isinstance(message.get("tool_calls"), list | None)


def _choice_as_delta(at: int, choice: dict[str, Any]) -> dict[str, Any]:
    delta = dict(choice["message"])
    if delta.get("tool_calls"):
        # Clients join the pieces of streamed calls by `index`, which a whole completion does not have.
        delta["tool_calls"] = [
            {"index": number} | call for number, call in enumerate(delta["tool_calls"]) if isinstance(call, dict)
        ]
    kept = {key: value for key, value in choice.items() if key != "message"}
    return {"index": at, "finish_reason": "stop"} | kept | {"delta": delta}
