"""Counts tokens as the model of the local workspace does. Endpoints of Databricks have no such route."""

from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.app_context import AppContext
from graph_agent.databricks.api_calls import ApiCalls
from graph_agent.databricks.default_model import LOCAL_MODEL, default_model, is_local
from graph_agent.errors import AgentError

SECONDS = 10.0
"""Limit for one request."""

NAME = LOCAL_MODEL.removeprefix("databricks:")


async def tokens_of_local_model(
    app: AppContext, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> int | None:
    """How many tokens the local model reads for these messages of a chat completion. `None`: it is not the model of
    this app, or it does not say."""
    if not is_local(app) or default_model(app) != LOCAL_MODEL:
        return None
    calls = ApiCalls("the local model", grant="CAN QUERY", acting_as="app")
    body = {"messages": list(messages), **({"tools": list(tools)} if tools else {})}
    with app.entered():
        try:
            answer = await calls.ask(
                lambda client: client.api_client.do("POST", f"/serving-endpoints/{NAME}/tokens", body=body),
                seconds=SECONDS,
            )
        except AgentError:
            # A model behind another server has no such route either.
            return None
    tokens = answer.get("input_tokens") if isinstance(answer, dict) else None
    return tokens if isinstance(tokens, int) else None
