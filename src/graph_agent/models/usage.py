"""Token usage of one model call, counted once, independent of how its endpoint reports it.

Endpoints report usage on the last chunk, cumulatively on every chunk, in portions (`langchain-google-genai`,
`langchain-anthropic`), or twice (ChatDatabricks 0.22). So neither the sum nor the maximum is right for all of them. The
input tells them apart: portions report it once, in the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk


@dataclass(slots=True)
class CallTokens:
    """The tokens of one model call, updated with each report."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, usage: Any) -> None:
        """Add one report, a `usage_metadata` of LangChain.

        A report that repeats the input is cumulative, and the maximum counts. So is one that names the input late,
        with at least the output so far. Any other report is a portion, and is added.
        """
        sent, written = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        reasoned = (usage.get("output_token_details") or {}).get("reasoning") or 0
        if sent and (self.input_tokens or written >= self.output_tokens):
            self.input_tokens = max(self.input_tokens, sent)
            self.output_tokens = max(self.output_tokens, written)
            self.cached_tokens = max(self.cached_tokens, cached)
            self.reasoning_tokens = max(self.reasoning_tokens, reasoned)
        else:
            self.input_tokens += sent
            self.output_tokens += written
            self.cached_tokens += cached
            self.reasoning_tokens += reasoned

    def __bool__(self) -> bool:
        return bool(self.input_tokens or self.output_tokens)


class UsageDeltas:
    """Reduces each usage report of a stream to what is new in it, because LangChain adds up the chunks."""

    def __init__(self) -> None:
        self._tally = CallTokens()

    def taken_from(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """The chunk with only the new part of its usage; `None` if the chunk then has nothing."""
        message = chunk.message
        if not isinstance(message, AIMessageChunk) or message.usage_metadata is None:
            return chunk
        message.usage_metadata = self._new_part(message.usage_metadata)
        carries = message.content or message.tool_call_chunks or message.additional_kwargs or message.response_metadata
        return chunk if carries or chunk.generation_info or message.usage_metadata else None

    def _new_part(self, usage: UsageMetadata) -> UsageMetadata | None:
        tally = self._tally
        before = (tally.input_tokens, tally.output_tokens, tally.cached_tokens, tally.reasoning_tokens)
        tally.add(usage)
        after = (tally.input_tokens, tally.output_tokens, tally.cached_tokens, tally.reasoning_tokens)
        sent, written, cached, reasoned = (new - old for old, new in zip(before, after, strict=True))
        if not (sent or written or cached or reasoned):
            return None
        new = UsageMetadata(input_tokens=sent, output_tokens=written, total_tokens=sent + written)
        if cached:
            new["input_token_details"] = InputTokenDetails(cache_read=cached)
        if reasoned:
            new["output_token_details"] = OutputTokenDetails(reasoning=reasoned)
        return new


def usage_of_completion(reported: Any) -> UsageMetadata | None:
    """The `usage` of a chat completion. Tokens that Claude reads from or writes to its cache count as input.

    Other providers include cached tokens in `prompt_tokens`; Claude's endpoints report them beside it.
    """
    counts = ("prompt_tokens", "completion_tokens")
    if not isinstance(reported, Mapping) or not any(_count(reported, key) for key in counts):
        return None
    given, written = _mapping(reported, "prompt_tokens_details"), _mapping(reported, "completion_tokens_details")
    read, stored = _count(reported, "cache_read_input_tokens"), _count(reported, "cache_creation_input_tokens")
    prompt, completion = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens")
    # With details it is the form in which the prompt already includes what was cached.
    if not given:
        prompt += read + stored
    usage = UsageMetadata(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=_count(reported, "total_tokens") or prompt + completion,
    )
    if cached := _count(given, "cached_tokens") or read:
        usage["input_token_details"] = InputTokenDetails(cache_read=cached)
    if stored:
        usage["input_token_details"] = InputTokenDetails(cache_read=cached, cache_creation=stored)
    if reasoned := _count(written, "reasoning_tokens"):
        usage["output_token_details"] = OutputTokenDetails(reasoning=reasoned)
    return usage


def _mapping(reported: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = reported.get(key)
    return found if isinstance(found, Mapping) else {}


def _count(reported: Mapping[str, Any], key: str) -> int:
    # Bounded: an absurd or infinite number would spoil every sum it becomes part of.
    found = reported.get(key)
    return int(found) if isinstance(found, int | float) and 0 <= found < 1e15 else 0
