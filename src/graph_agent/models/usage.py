"""Token usage of a streamed answer, counted once."""

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk


class UsageOnce:
    """Takes the usage off the chunks of one answer, and gives it back on a chunk of its own at the end.

    Chunks are added up, and endpoints report usage on the last chunk, cumulatively on every chunk, or twice, as
    ChatDatabricks 0.22 does: the sum would be a multiple. The largest figure of each kind is what was used.
    """

    def __init__(self) -> None:
        self._used: UsageMetadata | None = None
        self._id: str | None = None

    def taken_from(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """The chunk without its usage; none if that was all it held."""
        message = chunk.message
        self._id = message.id or self._id
        if not isinstance(message, AIMessageChunk) or message.usage_metadata is None:
            return chunk
        self._used = _larger(self._used, message.usage_metadata)
        message.usage_metadata = None
        tells = message.content or message.tool_call_chunks or message.additional_kwargs or message.response_metadata
        return chunk if tells or chunk.generation_info else None

    def closing(self) -> ChatGenerationChunk | None:
        """The chunk that holds the usage; none if the endpoint reported none."""
        if self._used is None:
            return None
        return ChatGenerationChunk(message=AIMessageChunk(content="", id=self._id, usage_metadata=self._used))


def _larger(before: UsageMetadata | None, now: UsageMetadata) -> UsageMetadata:
    if before is None:
        return now
    both = UsageMetadata(
        input_tokens=max(before["input_tokens"], now["input_tokens"]),
        output_tokens=max(before["output_tokens"], now["output_tokens"]),
        total_tokens=max(before["total_tokens"], now["total_tokens"]),
    )
    given, written = before.get("input_token_details", {}), now.get("input_token_details", {})
    if given or written:
        both["input_token_details"] = InputTokenDetails(**_largest(given, written))  # type: ignore[typeddict-item]
    given_out, written_out = before.get("output_token_details", {}), now.get("output_token_details", {})
    if given_out or written_out:
        both["output_token_details"] = OutputTokenDetails(**_largest(given_out, written_out))  # type: ignore[typeddict-item]
    return both


def _largest(before: object, now: object) -> dict[str, int]:
    counts = [dict(one) for one in (before, now)]  # type: ignore[call-overload]
    return {key: max(one.get(key) or 0 for one in counts) for key in sorted(set(counts[0]) | set(counts[1]))}
