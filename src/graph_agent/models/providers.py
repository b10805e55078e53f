"""Creates the real chat model behind `provider:name`. This takes seconds of imports, and calls to the workspace."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import httpx
from langchain_core.language_models import BaseChatModel

from graph_agent.app_context import current_settings
from graph_agent.databricks.clients import Actor, client_for
from graph_agent.databricks.cookies import reject_cookies
from graph_agent.errors import AgentError, BadSetting
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.models.long_waits import forbid_long_retries, forbid_long_retries_async

RETRIES = 2
"""Retries of a call to a serving endpoint, on 408, 409, 429, 5xx and connection errors; 0.5 to 8 s apart."""

GATEWAY = "system.ai."
"""Prefix of the names of models that only the AI gateway serves."""

CONNECT_SECONDS = 10.0
"""Longest wait for a connection to a serving endpoint."""


@runtime_checkable
class Closable(Protocol):
    """A model whose connections can be closed."""

    async def aclose(self) -> None:
        """Close them."""


class ModelName(NamedTuple):
    """The two parts of `provider:name`."""

    provider: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Parse it. A name without a provider is a serving endpoint, as `valueFrom` in an app.yaml provides it.

        Raises:
            BadSetting: the text does not have that form.
        """
        provider, colon, name = text.partition(":")
        if not colon:
            provider, name = "databricks", text
        if not provider or not name:
            raise BadSetting(f"model {text!r} must be 'provider:name', such as 'databricks:my-endpoint'", param="model")
        return cls(provider, name)

    @property
    def on_databricks(self) -> bool:
        """Whether it is a serving endpoint of the workspace or a model of its AI gateway."""
        return self.provider == "databricks"

    @property
    def on_gateway(self) -> bool:
        """Whether it is a model of Unity Catalog, which the workspace's AI gateway serves: `system.ai.NAME`."""
        return self.on_databricks and self.name.startswith(GATEWAY)

    def __str__(self) -> str:
        return f"{self.provider}:{self.name}"


def connect_model(model: ModelName, parameters: Mapping[str, Any], acting_as: Actor | None) -> BaseChatModel:
    """The chat model, ready for its first call. Blocks for seconds: call it off the event loop.

    Raises:
        BadSetting: its package is not installed, or it cannot be set up with these parameters.
        WorkspaceUnavailable: there is no client for the Databricks workspace.
    """
    try:
        return _endpoint(model, parameters, acting_as) if model.on_databricks else _of_langchain(model, parameters)
    except AgentError:
        raise
    except Exception as error:
        # Without the library's message, which may quote the parameters, and with them a key.
        kind = type(error).__name__
        raise BadSetting(
            f"model {str(model)!r} cannot be set up ({kind}): check its name, its parameters and its key", param="model"
        ) from error


async def disconnect(model: BaseChatModel) -> None:
    """Close the connections of a model from `connect_model`, if its class supports it. Few of LangChain's do."""
    if isinstance(model, Closable):
        await model.aclose()


def _endpoint(model: ModelName, parameters: Mapping[str, Any], acting_as: Actor | None) -> BaseChatModel:
    silence = current_settings().silence_seconds
    gateway = {"use_ai_gateway": True} if model.on_gateway else {}
    served = _endpoint_class(parameters)(
        **{
            "model": model.name,
            "timeout": silence,
            "max_retries": RETRIES,
            "workspace_client": client_for(acting_as),
            **gateway,
            **parameters,
        }
    )
    if isinstance(served.timeout, int | float):
        # The field's type allows only a number, which would apply to connecting too. The clients accept httpx's type.
        connect = min(served.timeout, CONNECT_SECONDS)
        served.timeout = httpx.Timeout(served.timeout, connect=connect)
    # Create both clients now: the first use creates a TLS context, which takes 45 to 70 ms of CPU (measured) and would
    # run on the event loop.
    for client in (served.async_client, served.client):
        reject_cookies(client._client.cookies.jar)
    served.async_client._client.event_hooks["response"].append(forbid_long_retries_async)
    served.client._client.event_hooks["response"].append(forbid_long_retries)
    model_made: BaseChatModel = served
    return model_made


def _endpoint_class(parameters: Mapping[str, Any]) -> Any:
    """The class that knows these parameters, with as few imports as possible."""
    with IMPORT_LOCK:
        from graph_agent.models.serving_endpoint import PLAIN, ServingEndpoint

        if parameters.keys() <= PLAIN:
            return ServingEndpoint
        # Takes seconds.
        from graph_agent.models.library_endpoint import LibraryEndpoint

    return LibraryEndpoint


def _of_langchain(model: ModelName, parameters: Mapping[str, Any]) -> BaseChatModel:
    with IMPORT_LOCK:
        from langchain.chat_models import init_chat_model

    try:
        made: BaseChatModel = init_chat_model(str(model), **parameters)
    except (ImportError, AttributeError) as error:
        # LangChain looks in its community package last, where the provider's model no longer is.
        wanted = (name for name in _missing(error) if not name.startswith("langchain_community"))
        package = next(wanted, f"langchain_{model.provider}").partition(".")[0].replace("_", "-")
        raise BadSetting(
            f"model {str(model)!r} needs the package {package}: pip install {package}", param="model"
        ) from error
    return made


def _missing(error: BaseException | None) -> Iterator[str]:
    """Names of the modules that were not found, along the chain of exceptions."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ModuleNotFoundError) and error.name:
            yield error.name
        error = error.__cause__ or error.__context__
