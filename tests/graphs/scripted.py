"""A chat model that says what its script says: the only stand-in these graphs need."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable


@dataclass(frozen=True)
class Thought:
    """A piece of reasoning."""

    text: str


@dataclass(frozen=True)
class Call:
    """A tool call."""

    name: str
    args: str = "{}"
    id: str = "call_1"


@dataclass(frozen=True)
class Boom:
    """The endpoint breaks off."""

    message: str


@dataclass(frozen=True)
class Blocks:
    """Content as a list of blocks."""

    blocks: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Ended:
    """The last chunk says how the endpoint ended: its `response_metadata`."""

    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Used:
    """A chunk of text that reports tokens: input, output, of these cached and reasoned."""

    text: str
    sent: int
    written: int
    cached: int = 0
    reasoned: int = 0


Turn = Sequence[str | Thought | Call | Boom | Blocks | Ended | Used | AIMessageChunk]


class ScriptedModel(BaseChatModel):
    """Speaks turn after turn: which one is told by how often the assistant has spoken since the last question."""

    turns: tuple[Any, ...]
    usage: tuple[int, int] | None = (7, 3)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(**kwargs)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for number, piece in enumerate(self._turn(messages)):
            yield _chunk(piece, number)
        if self.usage is None:
            return
        sent, said = self.usage
        usage = {"input_tokens": sent, "output_tokens": said, "total_tokens": sent + said}
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = list(self._stream(messages))
        whole = sum((chunk.message for chunk in chunks[1:]), chunks[0].message)
        message = AIMessage(
            whole.content,
            tool_calls=whole.tool_calls,
            invalid_tool_calls=whole.invalid_tool_calls,
            usage_metadata=whole.usage_metadata,
            additional_kwargs=whole.additional_kwargs,
            response_metadata=whole.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _turn(self, messages: Sequence[BaseMessage]) -> Turn:
        said = 0
        for message in messages:
            said = 0 if isinstance(message, HumanMessage) else said + isinstance(message, AIMessage)
        turn: Turn = self.turns[min(said, len(self.turns) - 1)]
        return turn


class WholeModel(ScriptedModel):
    """The same, at an endpoint that does not stream."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields, disable_streaming=True)


def says(*turns: Turn | str) -> ScriptedModel:
    """A model that streams these turns; a plain string is a turn of one token."""
    return ScriptedModel(turns=tuple((turn,) if isinstance(turn, str) else tuple(turn) for turn in turns))


def _usage(piece: Used) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=piece.sent,
        output_tokens=piece.written,
        total_tokens=piece.sent + piece.written,
        input_token_details={"cache_read": piece.cached},
        output_token_details={"reasoning": piece.reasoned},
    )


def _chunk(piece: Any, number: int) -> ChatGenerationChunk:
    match piece:
        case str():
            message = AIMessageChunk(piece)
        case Thought(text):
            message = AIMessageChunk("", additional_kwargs={"reasoning_content": text})
        case Blocks(blocks):
            message = AIMessageChunk(list(blocks))
        case Call(name, args, id):
            message = AIMessageChunk("", tool_call_chunks=[tool_call_chunk(name=name, args=args, id=id, index=number)])
        case Ended(metadata):
            message = AIMessageChunk("", response_metadata=dict(metadata))
        case Used():
            message = AIMessageChunk(piece.text, usage_metadata=_usage(piece))
        case AIMessageChunk():
            message = piece.model_copy(deep=True)
        case Boom(text):
            raise RuntimeError(text)
    return ChatGenerationChunk(message=message)
