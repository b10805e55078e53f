"""Texts of memories embedded at a serving endpoint by the real SDK, and what an endpoint does wrong."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from graph_agent.app_context import AppContext
from graph_agent.databricks import text_embedder
from graph_agent.databricks.text_embedder import EndpointEmbedder
from graph_agent.errors import AgentError, BadSetting
from graph_agent.settings import Settings
from graph_agent.stores.opening import open_store
from graph_agent.testing import FakeWorkspace
from graph_agent.testing.workspace import embedding

pytestmark = pytest.mark.anyio

PATH = "/serving-endpoints/words/invocations"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def workspace() -> Iterator[FakeWorkspace]:
    with FakeWorkspace() as running:
        yield running


@pytest.fixture
async def embedder(workspace: FakeWorkspace) -> Any:
    app = AppContext(Settings(), workspace.environment())
    yield EndpointEmbedder(app, "words")
    await app.aclose()


async def test_texts_are_embedded_in_one_request_as_the_app(
    workspace: FakeWorkspace, embedder: EndpointEmbedder
) -> None:
    texts = ["likes tea", "", "緑茶"]
    assert await embedder.embed(texts) == [embedding(text) for text in texts]
    (call,) = workspace.calls(PATH)
    assert call.json == {"input": texts}
    assert embedder.name == "databricks:words"


async def test_vectors_come_in_the_order_of_their_texts(workspace: FakeWorkspace, embedder: EndpointEmbedder) -> None:
    data = [{"object": "embedding", "index": at, "embedding": [float(at)]} for at in (1, 0)]
    body = json.dumps({"object": "list", "data": data}).encode()
    workspace.reply(PATH, body, headers={"content-type": "application/json"})
    assert await embedder.embed(["a", "b"]) == [[0.0], [1.0]]


async def test_a_refused_text_is_not_an_endpoint_that_is_down(
    workspace: FakeWorkspace, embedder: EndpointEmbedder
) -> None:
    workspace.fail(PATH, 400)
    with pytest.raises(ValueError, match="refuses a text"):
        await embedder.embed(["likes tea"])


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_endpoint_that_fails_is_explained(
    workspace: FakeWorkspace, embedder: EndpointEmbedder, status: int
) -> None:
    workspace.fail(PATH, status)
    with pytest.raises(AgentError, match="the embedding endpoint words"):
        await embedder.embed(["likes tea"])


async def test_an_endpoint_that_does_not_answer_is_not_waited_for(
    workspace: FakeWorkspace, embedder: EndpointEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await embedder.embed(["the client is made"])
    monkeypatch.setattr(text_embedder, "SECONDS", 0.2)
    workspace.stall(PATH)
    with pytest.raises(AgentError, match="did not answer within"):
        await embedder.embed(["likes tea"])


LOCAL = {"DATABRICKS_HOST": "http://127.0.0.1:8765"}
REMOTE = {"DATABRICKS_HOST": "https://example.cloud.databricks.com"}


@pytest.mark.parametrize(
    ("embeddings", "environ", "said"),
    [
        (None, LOCAL, "by their meaning, with databricks:local-minilm"),
        (None, {"DATABRICKS_HOST": "localhost:1"}, "by their meaning, with databricks:local-minilm"),
        (None, REMOTE, "by their words"),
        (None, {}, "by their words"),
        ("databricks:gte", REMOTE, "by their meaning, with databricks:gte"),
        ("databricks:gte", LOCAL, "by their meaning, with databricks:gte"),
    ],
)
def test_the_log_says_how_memories_are_found(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    embeddings: str | None,
    environ: Mapping[str, str],
    said: str,
) -> None:
    settings = Settings(embeddings=embeddings, cache_dir=tmp_path)
    with caplog.at_level(logging.INFO):
        open_store(settings, AppContext(settings, environ))
    assert said in caplog.text


@pytest.mark.parametrize("wrong", ["gte", "databricks:", "openai:text-embedding-3"])
def test_a_setting_that_names_no_endpoint_stops_the_start(tmp_path: Path, wrong: str) -> None:
    settings = Settings(embeddings=wrong, cache_dir=tmp_path)
    with pytest.raises(BadSetting, match="GRAPH_AGENT_EMBEDDINGS"):
        open_store(settings, AppContext(settings, {}))
