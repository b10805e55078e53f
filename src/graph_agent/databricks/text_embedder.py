"""Embeds texts at a serving endpoint, as the app."""

from collections.abc import Sequence

from graph_agent.app_context import AppContext
from graph_agent.databricks.api_calls import ApiCalls
from graph_agent.errors import BadSetting, ToolFailed

DATABRICKS = "databricks:"

SECONDS = 10.0
"""Limit for one request. A search waits for it."""


class EndpointEmbedder:
    """The embeddings of one endpoint, for one app.

    As the app, because memories are also searched without a user's token, and because a vector must not depend on who
    asked for it. `DatabricksEmbeddings` is not used: it reads the workspace's configuration before every call.
    """

    def __init__(self, app: AppContext, endpoint: str) -> None:
        self._app = app
        self._endpoint = endpoint
        self._calls = ApiCalls(f"the embedding endpoint {endpoint}", grant="CAN QUERY", acting_as="app")

    @property
    def name(self) -> str:
        """The endpoint, as settings name it."""
        return f"{DATABRICKS}{self._endpoint}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text.

        Raises:
            AgentError: the endpoint does not answer.
            ValueError: the endpoint refuses a text.
        """
        # Routes have no app in their context.
        with self._app.entered():
            try:
                answer = await self._calls.ask(
                    lambda client: client.serving_endpoints.query(name=self._endpoint, input=list(texts)),
                    seconds=SECONDS,
                )
            except ToolFailed as error:
                if _is_refusal(error.__cause__):
                    raise ValueError("the endpoint refuses a text") from None
                raise
        found = sorted(answer.data or [], key=lambda one: one.index or 0)
        return [one.embedding or [] for one in found]


def endpoint_of(setting: str) -> str:
    """The endpoint that `GRAPH_AGENT_EMBEDDINGS` names.

    Raises:
        BadSetting: it names none.
    """
    endpoint = setting.removeprefix(DATABRICKS)
    if not setting.startswith(DATABRICKS) or not endpoint:
        raise BadSetting(
            "GRAPH_AGENT_EMBEDDINGS must be databricks: and the name of an embedding endpoint",
            param="GRAPH_AGENT_EMBEDDINGS",
        )
    return endpoint


def _is_refusal(error: BaseException | None) -> bool:
    from databricks.sdk.errors import BadRequest

    return isinstance(error, BadRequest)
