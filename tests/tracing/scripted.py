"""A chat model that says what it is told to, and runs shown as trees."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolCallChunk, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import RESPONSES
from graph_agent.protocol.requests import parse_request
from graph_agent.runs.observers import RunInfo
from graph_agent.runs.request import RunRequest
from graph_agent.tracing import RunRecord, SpanRecord

Tree = tuple[Any, ...]

USAGE = UsageMetadata(input_tokens=7, output_tokens=3, total_tokens=10)


class ScriptedModel(BaseChatModel):
    """Asks for `calls` when a person spoke last, else says `words`, one per token."""

    calls: Sequence[dict[str, Any]] = ()
    words: Sequence[str] = ("It ", "is ", "3.")
    hangs: Any = None
    """An event set when it begins to wait."""

    stop_after: int | None = None
    """Tokens after which it waits for ever."""

    fail_after: int | None = None
    """Tokens after which it raises."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(self, messages: Sequence[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages))

    async def _astream(self, messages: Sequence[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for number, chunk in enumerate(self._chunks(messages)):
            if number == self.stop_after:
                if self.hangs is not None:
                    self.hangs.set()
                await asyncio.Event().wait()
            if number == self.fail_after:
                raise ConnectionError("password=hunter2")
            yield ChatGenerationChunk(message=chunk)

    def _chunks(self, messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
        if self.calls and not any(isinstance(message, ToolMessage) for message in messages):
            yield AIMessageChunk(
                content="",
                tool_call_chunks=[
                    ToolCallChunk(name=one["name"], args=one["args"], id=one["id"], index=place)
                    for place, one in enumerate(self.calls)
                ],
                usage_metadata=USAGE,
            )
            return
        for word in self.words[:-1]:
            yield AIMessageChunk(content=word)
        yield AIMessageChunk(content=self.words[-1], usage_metadata=USAGE)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        described = [{"type": "function", "function": {"name": tool.name}} for tool in tools]
        return self.bind(tools=described, **kwargs)


def call(name: str, args: str, *, id: str) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id}


def question(text: str = "What is 1 + 2?") -> dict[str, list[BaseMessage]]:
    return {"messages": [HumanMessage(text)]}


def tree(record: RunRecord) -> Tree:
    """Kind, name, error and steps below, in the order they began."""

    def show(span: SpanRecord) -> Tree:
        below = tuple(show(one) for one in record.spans if one.parent is span)
        return (span.kind, span.name, span.error, *below)

    return show(record.root)


def span_of(record: RunRecord, kind: str) -> SpanRecord:
    """The only span of its kind."""
    (span,) = (one for one in record.spans if one.kind == kind)
    return span


def answer(text: str) -> dict[str, Any]:
    return {"choices": [{"message": AIMessage(text)}]}


def run_info(text: str) -> RunInfo:
    """A run of the graph `assistant` that `ann` asked for with this text."""
    invocation = parse_request(json.dumps({"input": text}).encode(), graphs=["assistant"])
    request = RunRequest(invocation=invocation, dialect=RESPONSES, owner=Caller("ann"), accepted_at=0.0)
    return RunInfo(id="resp_1", graph="assistant", request=request, messages=request.invocation.messages)
