"""Tokens counted by the local model's own tokenizer, over the route of the local workspace."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from tests.local.test_model import ScriptedDecoder
from tests.local.test_workspace import ScriptedBackend, Serve

from graph_agent import Settings, create_app
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.model.local_model import LocalModel
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.testing import AgentClient

pytestmark = pytest.mark.anyio

WARNINGS = "x-graph-agent-warnings"


async def plainly(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Hello.")]}


@pytest.mark.parametrize(
    ("backend", "model", "tokens"),
    [
        # A word is a token: "user: How long is this?" has 5, with the instructions 8.
        (LocalModel(ScriptedDecoder(), name="m"), None, [5, 8]),
        # Another server behind the workspace does not count, and the count of another model is not known.
        (ScriptedBackend(), None, None),
        (LocalModel(ScriptedDecoder(), name="m"), "databricks:other", None),
    ],
)
async def test_the_local_model_counts_as_it_reads(
    serve: Serve, embedder: Embedder, backend: Any, model: str | None, tokens: list[int] | None
) -> None:
    credentials = Credentials.generate()
    graph = StateGraph(MessagesState).add_node("n", plainly).add_edge(START, "n").add_edge("n", END).compile()
    with serve(create_workspace(backend, {}, embedder=embedder, credentials=credentials)) as url:
        environ = {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": credentials.token}
        app = create_app(Settings(tracing="off", store="memory", model=model), {"a": graph}, environ=environ)
        async with AgentClient(app) as client:
            bodies = [{"input": "How long is this?"}, {"input": "How long is this?", "instructions": "Be brief."}]
            answers = [await client.post("/v1/responses/input_tokens", json=one) for one in bodies]
    counted = [one.json()["input_tokens"] for one in answers]
    assert [WARNINGS in one.headers for one in answers] == [tokens is None] * 2
    assert counted == tokens or (tokens is None and all(count > 5 for count in counted))
