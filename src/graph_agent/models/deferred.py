"""`chat_model("databricks:ENDPOINT")`: a chat model that connects on first use."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

from graph_agent.app_context import PerApp, current_app, current_settings
from graph_agent.databricks.clients import actor, sign_in
from graph_agent.databricks.default_model import default_model
from graph_agent.errors import AgentError, BadSetting
from graph_agent.identity.user_token import user_token
from graph_agent.models.model_errors import EMPTY, InvalidModelAnswer, ModelCall, model_error
from graph_agent.models.providers import RETRIES, ModelName, connect_model, disconnect
from graph_agent.models.request_options import PASSED, with_request_options
from graph_agent.models.usage import UsageDeltas
from graph_agent.threads import run_in_call_thread

T = TypeVar("T")


def chat_model(
    name: str | None = None, *, acting_as: Literal["app", "user"] | None = None, **parameters: Any
) -> BaseChatModel:
    """The chat model `provider:name`, or `GRAPH_AGENT_MODEL` without a name. Makes no call and no import yet.

    `databricks:NAME` is a serving endpoint (`ChatDatabricks`). Any other provider is one of LangChain's (`openai:…`,
    `anthropic:…`, `ollama:…`) and needs its package installed. `parameters` go to the model, such as `temperature=0`.

    `acting_as` says whose permissions a call of an endpoint uses; by default `GRAPH_AGENT_AUTHORIZATION`. One object
    serves all users. Settings are those of the run's app, and each app has its own connections. A call takes at most
    `GRAPH_AGENT_MODEL_SECONDS`, retries included. It raises `ModelFailed` or a subclass, or `Unauthenticated` if it
    acts for a user and there is no token.

    The options of a request, such as `temperature`, reach the model where `parameters` say nothing about them.
    """
    return DeferredChatModel(name=name, acting_as=acting_as, parameters=parameters)


class DeferredChatModel(BaseChatModel):
    """A chat model that connects in its first call, so that importing a graph file is cheap.

    The first call creates the real model in a thread, as that takes seconds of imports and may call the workspace.
    """

    acting_as: Literal["app", "user"] | None = None
    # Hidden from the repr, which callbacks receive: a parameter may be a key.
    parameters: Mapping[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    _model: PerApp[BaseChatModel] = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Prepare the real model of each app without creating it."""
        super().model_post_init(context)
        self._model = PerApp(lambda: connect_model(self._chosen, self.parameters, self.acting_as), close=disconnect)

    @property
    def _llm_type(self) -> str:
        return "deferred"

    @property
    def _chosen(self) -> ModelName:
        return ModelName.parse(self.name or default_model(current_app()))

    @property
    def may_tell_probabilities(self) -> bool:
        """Whether the provider's models take `logprobs` of OpenAI's chat completions. An endpoint may refuse it."""
        try:
            return self._chosen.provider in PASSED and not self.parameters.get("use_responses_api")
        except AgentError:
            # The call itself raises the same error.
            return False

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        # Traces name the call's span by these.
        params = super()._get_ls_params(stop, **kwargs)
        try:
            chosen = self._chosen
        except AgentError:
            # The call itself raises the same error.
            return params
        return {**params, "ls_provider": chosen.provider, "ls_model_name": chosen.name}

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools in the common JSON form. The call translates them to the real model's form."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **choice, **kwargs)

    async def warm(self) -> None:
        """Do the work that delays the first call: seconds of imports, and creating the client.

        Raises:
            BadSetting, WorkspaceUnavailable: as in the first call. The next call tries again.
        """
        await run_in_call_thread(self._model)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # `run_manager` is not passed on: tokens are reported once, for this model's run and not for the inner model.
        asked, usage = self._asked(), UsageDeltas()
        ends = _from_now(asked.total_seconds)
        silent = True
        try:
            model, kwargs = self._with_options(await _until(ends, self._ready(), asked), kwargs)
            async with aclosing(stream_chunks(model, messages, stop, kwargs)) as chunks:
                while (chunk := await _until(ends, anext(chunks, None), asked)) is not None:
                    silent = False
                    passed_on = usage.taken_from(chunk)
                    if passed_on is not None:
                        yield passed_on
        except AgentError:
            raise
        except Exception as error:
            raise model_error(error, asked) from error
        if silent:
            raise model_error(InvalidModelAnswer(EMPTY), asked)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = self._asked()
        ends = _from_now(asked.total_seconds)
        try:
            model, kwargs = self._with_options(await _until(ends, self._ready(), asked), kwargs)
            return await _until(ends, model._agenerate(messages, stop=stop, **_translated(model, kwargs)), asked)
        except AgentError:
            raise
        except Exception as error:
            raise model_error(error, asked) from error

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # A thread cannot be stopped, so the limit is on each try and not on the call.
        asked = self._asked()
        try:
            if asked.acting_as == "user":
                user_token()
            model, kwargs = self._with_options(self._model(), kwargs)
            return model._generate(messages, stop=stop, **_translated(model, kwargs))
        except AgentError:
            raise
        except Exception as error:
            raise model_error(error, asked) from error

    def _asked(self) -> ModelCall:
        chosen, total = self._chosen, current_settings().model_seconds
        if not chosen.on_databricks:
            if self.acting_as is not None:
                raise BadSetting(f"model {str(chosen)!r} is not on Databricks: leave acting_as out", param="acting_as")
            return ModelCall(name=f"model {str(chosen)!r}", acting_as="key", total_seconds=total)
        # A graph's author may have set either to any value that the client accepts, such as an `httpx.Timeout`.
        retries = self.parameters.get("max_retries", RETRIES)
        silence = self.parameters.get("timeout", current_settings().silence_seconds)
        return ModelCall(
            name=f"model endpoint {chosen.name!r}",
            acting_as=actor(self.acting_as),
            tries=1 + retries if isinstance(retries, int) else None,
            silence_seconds=silence if isinstance(silence, int | float) else None,
            total_seconds=total,
        )

    def _with_options(self, model: BaseChatModel, kwargs: dict[str, Any]) -> tuple[BaseChatModel, dict[str, Any]]:
        return with_request_options(model, self._chosen.provider, kwargs, self.parameters)

    async def _ready(self) -> BaseChatModel:
        databricks = self._chosen.on_databricks
        acting_as = actor(self.acting_as)
        if databricks and acting_as == "user":
            # First: inside the endpoint's client our exception would look like a bad connection, and it would retry.
            user_token()
        model = self._model() if self._model.ready else await run_in_call_thread(self._model)
        if databricks and acting_as == "app":
            await sign_in()
        return model


async def stream_chunks(
    model: BaseChatModel, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
) -> AsyncGenerator[ChatGenerationChunk, None]:
    """The chunks of a model, without starting a run for it; a single chunk from a model that cannot stream."""
    kwargs = _translated(model, kwargs)
    kind = type(model)
    # LangChain's own test for streaming: one of the two methods is overridden.
    if kind._astream is BaseChatModel._astream and kind._stream is BaseChatModel._stream:
        result = await model._agenerate(messages, stop=stop, **kwargs)
        whole = result.generations[0].message
        yield ChatGenerationChunk(message=AIMessageChunk(**whole.model_dump(exclude={"type"})))
        return
    # Its declared type has no `aclose`.
    chunks: Any = model._astream(messages, stop=stop, **kwargs)
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk


def _from_now(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def _until(ends: float, waited_for: Awaitable[T], asked: ModelCall) -> T:
    # Around each wait and not around the whole stream: between chunks the consumer's code runs, and the time limit
    # would raise there.
    limit = asyncio.timeout_at(ends)
    try:
        async with limit:
            return await waited_for
    except TimeoutError:
        # A `TimeoutError` of the client itself is another error.
        if limit.expired():
            raise asked.took_too_long() from None
        raise


def _translated(model: BaseChatModel, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments with `tools` in the provider's own form."""
    tools = kwargs.get("tools")
    if not tools or isinstance(model, DeferredChatModel):
        return kwargs
    rest = {key: value for key, value in kwargs.items() if key not in ("tools", "tool_choice")}
    choice = {"tool_choice": kwargs["tool_choice"]} if "tool_choice" in kwargs else {}
    bound: Any = model.bind_tools(tools, **choice)
    return dict(bound.kwargs) | rest
