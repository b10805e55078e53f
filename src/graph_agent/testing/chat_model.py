"""`ScriptedChatModel`: a LangChain chat model that gives scripted replies and records its requests."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, PrivateAttr

from graph_agent.testing.errors import BadScript
from graph_agent.testing.script import Blocks, Call, Finish, Reasoning, Script, Usage, Wait, shown

USAGE = Usage(input=7, output=3)
"""The usage that is reported for a reply without a `Usage`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call of the model."""

    messages: list[BaseMessage]
    tools: list[dict[str, Any]]
    """The bound tools in OpenAI's format."""

    options: Mapping[str, Any]
    """Everything else that was bound or passed, such as `tool_choice`, `response_format` and `stop`."""

    @property
    def tool_names(self) -> list[str]:
        """The names of the bound tools."""
        return [tool.get("function", tool).get("name", "") for tool in self.tools]

    @property
    def texts(self) -> list[str]:
        """The text of each message."""
        return [message.text for message in self.messages]


class ScriptedChatModel(BaseChatModel):
    """A chat model that gives its replies in order, one for each call.

        ScriptedChatModel("Hello.")
        ScriptedChatModel(Call("search", {"query": "port"}), ["It ", "is ", "8000."])
        ScriptedChatModel(lambda messages: messages[-1].text.upper())

    A reply is a piece or a list of pieces. A piece is a text (one chunk), `Call`, `Reasoning`, `Blocks`, `Usage`,
    `Finish`, `Wait`, an `AIMessage` or `AIMessageChunk`, a Pydantic object (the call that `with_structured_output`
    expects), or an exception, which is raised. A function can take the place of a reply: it gets the messages and
    returns a reply.

    `each_turn=True` restarts the script with each user message and repeats its last reply. Use it for a graph that gets
    several requests. `usage` is reported with each reply that has no `Usage`. With `None`, nothing is reported. The
    fields of LangChain work as usual: `disable_streaming=True` stands for an endpoint that does not stream.

    Raises:
        ScriptExhausted: it was called more often than the script has replies.
        BadScript: the script is empty, or contains something that is not a piece.
    """

    usage: Usage | None = USAGE
    _script: Script = PrivateAttr()
    _requests: list[ModelRequest] = PrivateAttr(default_factory=list)

    def __init__(self, *replies: Any, each_turn: bool = False, **fields: Any) -> None:
        super().__init__(**fields)
        self._script = Script(replies, each_turn=each_turn)

    @property
    def requests(self) -> list[ModelRequest]:
        """The requests to this model so far, oldest first."""
        return self._requests

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools. The model records them in OpenAI's format."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **choice, **kwargs)

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._reply(messages, stop, kwargs):
            if isinstance(piece, Wait):
                piece.over_in_thread()
            else:
                yield _chunk(piece)

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._reply(messages, stop, kwargs):
            if isinstance(piece, Wait):
                await piece.over()
            else:
                yield _chunk(piece)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return _whole(list(self._stream(messages, stop, **kwargs)))

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return _whole([chunk async for chunk in self._astream(messages, stop, **kwargs)])

    def _reply(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Iterator[Any]:
        options = {key: value for key, value in kwargs.items() if key != "tools"}
        if stop is not None:
            options["stop"] = stop
        request = ModelRequest(messages=list(messages), tools=list(kwargs.get("tools") or ()), options=options)
        self._requests.append(request)
        reply = self._script.reply(messages, said=_said(messages), describe=lambda: _described(request))
        yield from _numbered(reply, messages)
        if self.usage is not None and not any(map(_reports_usage, reply)):
            yield self.usage


def _said(messages: Sequence[BaseMessage]) -> int:
    said = 0
    for message in messages:
        said = 0 if isinstance(message, HumanMessage) else said + isinstance(message, AIMessage)
    return said


def _described(request: ModelRequest) -> str:
    last = request.messages[-1]
    tools = ", ".join(request.tool_names) or "none"
    return f"{last.type} message {shown(last.text)}, the last of {len(request.messages)}; tools bound: {tools}"


def _reports_usage(piece: Any) -> bool:
    return isinstance(piece, Usage) or (isinstance(piece, AIMessage) and piece.usage_metadata is not None)


def _numbered(reply: Sequence[Any], messages: Sequence[BaseMessage]) -> Iterator[Any]:
    """Yield the pieces, with each call converted to chunks that have an index and an id."""
    made = sum(len(message.tool_calls) for message in messages if isinstance(message, AIMessage))
    place = 0
    for piece in reply:
        call = Call(type(piece).__name__, piece.model_dump(mode="json")) if _is_answer(piece) else piece
        if not isinstance(call, Call):
            yield piece
            continue
        first, *more = call.chunks
        id = call.id or f"call_{made + place + 1}"
        yield AIMessageChunk(
            content="", tool_call_chunks=[tool_call_chunk(name=call.name, args=first, id=id, index=place)]
        )
        for args in more:
            yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=args, index=place)])
        place += 1


def _is_answer(piece: Any) -> bool:
    return isinstance(piece, BaseModel) and not isinstance(piece, BaseMessage)


def _chunk(piece: Any) -> ChatGenerationChunk:
    match piece:
        case str():
            message = AIMessageChunk(content=piece)
        case Reasoning(text):
            message = AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})
        case Blocks(blocks):
            message = AIMessageChunk(content=[dict(block) for block in blocks])
        case Finish(metadata):
            message = AIMessageChunk(content="", response_metadata=dict(metadata))
        case Usage():
            message = AIMessageChunk(content="", usage_metadata=_usage(piece))
        case AIMessageChunk():
            message = piece.model_copy(deep=True)
        case AIMessage():
            message = AIMessageChunk(**piece.model_dump(exclude={"type"}))
        case BaseException():
            # The same exception object may be raised by many calls. Its old traceback would keep their frames alive.
            raise piece.with_traceback(None)
        case type():
            raise piece
        case _:
            raise BadScript(
                f"a reply contains a {type(piece).__name__}; use texts, Call, Reasoning, Blocks, Usage, Finish, Wait, "
                "LangChain messages and exceptions"
            )
    return ChatGenerationChunk(message=message)


def _usage(usage: Usage) -> UsageMetadata:
    counted = UsageMetadata(
        input_tokens=usage.input, output_tokens=usage.output, total_tokens=usage.input + usage.output
    )
    if usage.cached:
        counted["input_token_details"] = {"cache_read": usage.cached}
    if usage.reasoning:
        counted["output_token_details"] = {"reasoning": usage.reasoning}
    return counted


def _whole(chunks: list[ChatGenerationChunk]) -> ChatResult:
    """Merge the chunks into the reply of an endpoint that does not stream."""
    whole: Any = (
        sum((chunk.message for chunk in chunks[1:]), chunks[0].message) if chunks else AIMessageChunk(content="")
    )
    message = AIMessage(
        # When LangChain adds a text chunk to a list of blocks, an empty text becomes a block.
        content=[block for block in whole.content if block] if isinstance(whole.content, list) else whole.content,
        id=whole.id,
        name=whole.name,
        tool_calls=whole.tool_calls,
        invalid_tool_calls=whole.invalid_tool_calls,
        usage_metadata=whole.usage_metadata,
        additional_kwargs=whole.additional_kwargs,
        response_metadata=whole.response_metadata,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
