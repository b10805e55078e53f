"""`chat_model("databricks:ENDPOINT")`: a chat model that connects on first use."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from graph_agent.databricks.clients import settings, workspace_client
from graph_agent.errors import BadSetting
from graph_agent.late import IMPORTING

RETRIES = 2


def chat_model(name: str | None = None, **parameters: Any) -> BaseChatModel:
    """The chat model `provider:name`, `GRAPH_AGENT_MODEL` if none is named. Makes no call and no import yet.

    `databricks:NAME` is a serving endpoint (`ChatDatabricks`); any other provider string is LangChain's
    (`openai:…`, `anthropic:…`, `ollama:…`) and works where its package is installed. `parameters` go to the model,
    such as `temperature=0`.
    """
    return DeferredChatModel(connect=lambda: _connect(name or settings().model, parameters), name=name)


def _connect(name: str, parameters: dict[str, Any]) -> BaseChatModel:
    provider, _, endpoint = name.partition(":")
    if not endpoint:
        raise BadSetting(f"model {name!r} must be 'provider:name', such as 'databricks:my-endpoint'", param="model")
    if provider == "databricks":
        with IMPORTING:
            from databricks_langchain import ChatDatabricks

        timeout = settings().request_seconds
        defaults = {"timeout": timeout, "max_retries": RETRIES, "workspace_client": workspace_client()}
        served: BaseChatModel = ChatDatabricks(model=endpoint, **defaults | parameters)
        return served
    from langchain.chat_models import init_chat_model

    model: BaseChatModel = init_chat_model(name, **parameters)
    return model


class DeferredChatModel(BaseChatModel):
    """A chat model behind a function that makes it: importing a graph file costs nothing.

    The first call runs `connect` in a thread, as it imports for seconds and may call the workspace.
    """

    connect: Callable[[], BaseChatModel]
    _model: BaseChatModel | None = PrivateAttr(default=None)
    _lock: asyncio.Lock = PrivateAttr(default_factory=asyncio.Lock)

    @property
    def _llm_type(self) -> str:
        return "deferred"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Tools in the common JSON form; the real model translates them to its own when it is called."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **choice, **kwargs)

    async def _connected(self) -> BaseChatModel:
        async with self._lock:
            if self._model is None:
                self._model = await asyncio.to_thread(self.connect)
        return self._model

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # `run_manager` stays here: tokens are reported once, for this model's run and not for one inside it.
        async for chunk in stream_of(await self._connected(), messages, stop, kwargs):
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = await self._connected()
        return await model._agenerate(messages, stop=stop, **_translated(model, kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._model is None:
            self._model = self.connect()
        return self._model._generate(messages, stop=stop, **_translated(self._model, kwargs))


async def stream_of(
    model: BaseChatModel, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
) -> AsyncIterator[ChatGenerationChunk]:
    """Another model's chunks without a run of its own; one whole chunk from a model that cannot stream."""
    kwargs = _translated(model, kwargs)
    kind = type(model)
    if kind._astream is BaseChatModel._astream and kind._stream is BaseChatModel._stream:
        result = await model._agenerate(messages, stop=stop, **kwargs)
        whole = result.generations[0].message
        yield ChatGenerationChunk(message=AIMessageChunk(**whole.model_dump(exclude={"type"})))
        return
    async for chunk in model._astream(messages, stop=stop, **kwargs):
        yield chunk


def _translated(model: BaseChatModel, kwargs: dict[str, Any]) -> dict[str, Any]:
    """`tools` as this provider wants them."""
    tools = kwargs.get("tools")
    if not tools or isinstance(model, DeferredChatModel):
        return kwargs
    rest = {key: value for key, value in kwargs.items() if key not in ("tools", "tool_choice")}
    choice = {"tool_choice": kwargs["tool_choice"]} if "tool_choice" in kwargs else {}
    bound: Any = model.bind_tools(tools, **choice)
    return dict(bound.kwargs) | rest
