"""A chat endpoint of the workspace, asked with OpenAI's client.

The package of `ChatDatabricks` takes four seconds of CPU time or more and 210 MB, because it imports much that this
does not use, and MLflow. What is sent is the same, and a test compares the two. `library_endpoint` has the parameters
that only `ChatDatabricks` knows.

Imports OpenAI's client, which takes a second: import this module where a model is created.
"""

from collections.abc import Callable, Generator, Mapping
from functools import cached_property
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from openai import AsyncOpenAI, OpenAI
from pydantic import ConfigDict, Field, PrivateAttr

from graph_agent.models.completion_requests import call_arguments, chosen_tool, message_to_send
from graph_agent.models.endpoint_answers import EndpointAnswers

NO_KEY = "no-token"
"""The key of OpenAI's client, which demands one. Each request carries the workspace's authorization instead."""

PLAIN = frozenset({"temperature", "n", "stop", "max_tokens", "extra_params", "timeout", "max_retries", "stream_usage"})
"""The parameters that an author may give."""


class ServingEndpoint(EndpointAnswers, BaseChatModel):
    """A chat endpoint that speaks OpenAI's chat completions."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str
    workspace_client: Any = Field(exclude=True, repr=False)
    """The client whose authorization each request carries."""

    temperature: float | None = None
    n: int = 1
    stop: list[str] | None = None
    max_tokens: int | None = None
    extra_params: dict[str, Any] | None = None
    """Further parameters of each call."""

    stream_usage: bool = True
    """Has no effect, as with `ChatDatabricks`: endpoints report usage by themselves."""

    timeout: float | None = None
    max_retries: int | None = None
    use_ai_gateway: bool = False
    """Whether the model is one of the workspace's AI gateway."""

    _streams: bool = PrivateAttr(default=True)
    _has_resources: bool = PrivateAttr(default=False)

    @property
    def _llm_type(self) -> str:
        return "databricks-endpoint"

    @cached_property
    def client(self) -> OpenAI:
        """The client for calls in a thread."""
        return OpenAI(**self._connection(), http_client=httpx.Client(auth=self._authorization(), follow_redirects=True))

    @cached_property
    def async_client(self) -> AsyncOpenAI:
        """The client for calls on the event loop."""
        return AsyncOpenAI(
            **self._connection(), http_client=httpx.AsyncClient(auth=self._authorization(), follow_redirects=True)
        )

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        """The model with tools, in OpenAI's form.

        Raises:
            ValueError: `tool_choice` names a tool that is not among them, or has an unknown form.
        """
        return self.bind(**chosen_tool(tools, tool_choice), **kwargs)

    def _connection(self) -> dict[str, Any]:
        path = "ai-gateway/mlflow/v1" if self.use_ai_gateway else "serving-endpoints"
        given = {"timeout": self.timeout, "max_retries": self.max_retries}
        return {
            "base_url": f"{self.workspace_client.config.host}/{path}",
            "api_key": NO_KEY,
            **{name: value for name, value in given.items() if value is not None},
        }

    def _authorization(self) -> httpx.Auth:
        return _Authorization(self.workspace_client.config.authenticate)

    def _prepare_inputs(
        self, messages: list[BaseMessage], stop: list[str] | None = None, stream: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The arguments of a chat completion. The author's own parameters win over those of the call."""
        own = {"temperature": self.temperature, "stop": self.stop or stop or None, "max_tokens": self.max_tokens}
        return call_arguments(
            self.model,
            {
                "model": self.model,
                "stream": stream,
                **(self.extra_params or {}),
                **kwargs,
                "messages": [message_to_send(one) for one in messages],
                **{name: value for name, value in own.items() if value is not None},
                **({} if self.n == 1 else {"n": self.n}),
            },
        )


class _Authorization(httpx.Auth):
    """The headers that the workspace's client makes, anew for each request."""

    def __init__(self, headers: Callable[[], Mapping[str, str]]) -> None:
        self._headers = headers

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = self._headers()["Authorization"]
        yield request
