"""Token usage of one model call, counted once however its endpoint reports it.

Endpoints report usage on the last chunk, cumulatively on every chunk, in portions (`langchain-google-genai`,
`langchain-anthropic`), or twice (ChatDatabricks 0.22): the sum is a multiple of some, the largest too little of others.
What tells them apart is the input: portions name it once, on the first.
"""

from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk


@dataclass(slots=True)
class CallTokens:
    """Tokens of one model call, report by report."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, usage: Any) -> None:
        """One report, LangChain's `usage_metadata`.

        Where the input is named again the figures are cumulative, and the largest counts; so they are where it is
        named late, beside at least the output there was. Any other report is a portion.
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
    """Makes a stream's usage one that may be added up, as LangChain adds up chunks: of each report, what is new."""

    def __init__(self) -> None:
        self._tally = CallTokens()

    def taken_from(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """The chunk with what is new in its usage; none if it held nothing but what was said before."""
        message = chunk.message
        if not isinstance(message, AIMessageChunk) or message.usage_metadata is None:
            return chunk
        message.usage_metadata = self._news(message.usage_metadata)
        tells = message.content or message.tool_call_chunks or message.additional_kwargs or message.response_metadata
        return chunk if tells or chunk.generation_info or message.usage_metadata else None

    def _news(self, usage: UsageMetadata) -> UsageMetadata | None:
        tally = self._tally
        before = (tally.input_tokens, tally.output_tokens, tally.cached_tokens, tally.reasoning_tokens)
        tally.add(usage)
        after = (tally.input_tokens, tally.output_tokens, tally.cached_tokens, tally.reasoning_tokens)
        sent, written, cached, reasoned = (new - old for old, new in zip(before, after, strict=True))
        if not (sent or written or cached or reasoned):
            return None
        news = UsageMetadata(input_tokens=sent, output_tokens=written, total_tokens=sent + written)
        if cached:
            news["input_token_details"] = InputTokenDetails(cache_read=cached)
        if reasoned:
            news["output_token_details"] = OutputTokenDetails(reasoning=reasoned)
        return news
