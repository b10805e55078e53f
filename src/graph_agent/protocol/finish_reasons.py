"""Reads from a model's metadata why its answer was ended, in the spelling of each provider.

OpenAI, Mistral and most others write `finish_reason`, Anthropic `stop_reason`, Bedrock `stopReason`, Ollama
`done_reason`; the Responses API has `status: incomplete` and `incomplete_details.reason`. Responses clients know two
reasons: `max_output_tokens` and `content_filter`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Reason = Literal["max_output_tokens", "content_filter", "error"]

KEYS = ("finish_reason", "stop_reason", "stopReason", "done_reason", "finishReason")

_LENGTH = (
    "length",
    "max_tokens",
    "max_output_tokens",
    "max_completion_tokens",
    "model_length",
    "token_limit",
    "model_context_window_exceeded",
    "context_length_exceeded",
    "context_window_exceeded",
    "context_length",
    "model_context_length",
)
_FILTER = (
    "content_filter",
    "content_filtered",
    "content_filter_triggered",
    "guardrail_intervened",
    "safety",
    "image_safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "error_toxic",
    "sensitive",
    "refusal",
)
_ERROR = ("error", "failed", "server_error", "error_finish")

_REASONS: dict[str, Reason] = {
    **dict.fromkeys(_LENGTH, "max_output_tokens"),
    **dict.fromkeys(_FILTER, "content_filter"),
    **dict.fromkeys(_ERROR, "error"),
}

SENTENCES: Mapping[Reason, str] = {
    "max_output_tokens": "The model reached its own length limit before its answer was finished.",
    "content_filter": "A content filter of the model's endpoint ended the answer.",
}


@dataclass(frozen=True, slots=True)
class EarlyEnd:
    """Why a model's answer was ended before the model was done."""

    reason: Reason
    """As Responses clients know it; `error` if the endpoint says that it failed."""

    cause: str
    """As the provider spells it, in lower case. It is one of a fixed list, so no foreign text reaches the wire."""


def early_end_of(metadata: Mapping[str, Any]) -> EarlyEnd | None:
    """Why the model of a message or chunk was ended, from its `response_metadata`; `None` if it ended by itself."""
    for key in KEYS:
        if key in metadata and (ending := _read(metadata[key])):
            return ending
    match metadata.get("status"), metadata.get("incomplete_details"):
        case "incomplete", {"reason": reason}:
            return _read(reason)
        case "failed", _:
            return EarlyEnd("error", "failed")
    return None


def _read(value: Any) -> EarlyEnd | None:
    # Google's libraries give an enum, with the reason as its name.
    word = str(getattr(value, "name", value)).strip().lower().replace("-", "_").replace(" ", "_")
    if word in _REASONS:
        return EarlyEnd(_REASONS[word], word)
    # LangChain concatenates the metadata of chunks: `length` in two chunks becomes `lengthlength`.
    half = word[: len(word) // 2]
    return EarlyEnd(_REASONS[half], half) if half in _REASONS and half * 2 == word else None
