"""The real Databricks clients against the local workspace, over a real socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import NotFound, Unauthenticated
from databricks_langchain import ChatDatabricks, DatabricksEmbeddings, VectorSearchRetrieverTool
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from openai import APIError, BadRequestError
from starlette.types import ASGIApp

from graph_agent.app_context import AppContext
from graph_agent.errors import LocalModelFailed, PromptTooLong
from graph_agent.identity.owner import Owner
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.settings import Settings
from graph_agent.stores.memory_records import MEMORIES, MemoryChange, MemorySearch
from graph_agent.stores.opening import open_store

pytestmark = pytest.mark.anyio

Serve = Callable[[ASGIApp], AbstractContextManager[str]]
ServeHere = Callable[[ASGIApp], AbstractAsyncContextManager[str]]
Chunk = dict[str, Any]

INDEX = "main.docs.project"
DOCUMENT = "# Settings\n\n## Timeouts\n\nThe timeout is thirty seconds.\n\n## Colours\n\nDark mode is blue.\n"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def delta(finish_reason: str | None = None, **content: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": content, "finish_reason": finish_reason}]}


def call_piece(**piece: Any) -> Chunk:
    return delta(tool_calls=[{"index": 0, **piece}])


ANSWER = (
    delta(role="assistant", content=""),
    delta(content="It is "),
    delta(content="blue."),
    {**delta("stop"), "usage": USAGE},
)
CALL = (
    call_piece(id="call_1", type="function", function={"name": "add", "arguments": ""}),
    call_piece(function={"arguments": '{"a": 2, '}),
    call_piece(function={"arguments": '"b": 3}'}),
    {**delta("tool_calls"), "usage": USAGE},
)


@dataclass
class ScriptedBackend:
    """Says its script; an exception in it is raised, an event in it is set and then waited on for ever."""

    script: tuple[Chunk | Exception | asyncio.Event, ...] = ANSWER
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        self.bodies.append(body)
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    step.set()
                    await asyncio.Event().wait()
                else:
                    yield step
        finally:
            self.stopped.set()


@dataclass(frozen=True)
class Running:
    url: str
    credentials: Credentials
    backend: ScriptedBackend

    def config(self, **kind: Any) -> Config:
        return Config(host=self.url, http_timeout_seconds=5, retry_timeout_seconds=5, **kind)

    def by_token(self) -> WorkspaceClient:
        return WorkspaceClient(config=self.config(token=self.credentials.token))

    def as_principal(self) -> WorkspaceClient:
        secret = self.credentials.client_secret
        return WorkspaceClient(config=self.config(client_id=self.credentials.client_id, client_secret=secret))

    def http(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.credentials.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=5)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No account or profile of this machine takes part, and traces stay in the test's folder."""
    for name in ("HOST", "TOKEN", "CLIENT_ID", "CLIENT_SECRET", "CONFIG_PROFILE"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "no-profiles"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'traces.db'}")


@pytest.fixture
def index(tmp_path: Path, embedder: Embedder) -> Iterator[Index]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "settings.md").write_text(DOCUMENT)
    with Index.open(tmp_path / "index.db", embedder) as opened:
        opened.sync([tmp_path / "docs"])
        yield opened


@pytest.fixture
def running(serve: Serve, index: Index, embedder: Embedder) -> Iterator[Running]:
    backend, credentials = ScriptedBackend(), Credentials.generate()
    app = create_workspace(backend, {INDEX: index}, embedder=embedder, credentials=credentials)
    with serve(app) as url:
        yield Running(url, credentials, backend)


@pytest.fixture(params=["by_token", "as_principal"])
def client(request: pytest.FixtureRequest, running: Running) -> WorkspaceClient:
    made: WorkspaceClient = getattr(running, request.param)()
    return made


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def retriever(client: WorkspaceClient, **options: Any) -> VectorSearchRetrieverTool:
    return VectorSearchRetrieverTool(
        index_name=INDEX,
        workspace_client=client,
        doc_uri="doc_uri",
        primary_key="chunk_id",
        include_score=True,
        disable_notice=True,
        **options,
    )


@asynccontextmanager
async def chat(client: WorkspaceClient) -> AsyncIterator[ChatDatabricks]:
    model = ChatDatabricks(model="local-model", workspace_client=client, timeout=5, max_retries=0)
    yield model
    await model.async_client.close()


def test_the_sdk_knows_its_user_and_the_endpoints(client: WorkspaceClient) -> None:
    assert client.current_user.me().user_name == "me@localhost"
    assert {endpoint.name: endpoint.task for endpoint in client.serving_endpoints.list()} == {
        "local-model": "llm/v1/chat",
        "local-minilm": "llm/v1/embeddings",
    }
    assert client.serving_endpoints.get("local-model").name == "local-model"
    with pytest.raises(NotFound, match="Serving endpoint 'gpt' does not exist"):
        client.serving_endpoints.get("gpt")


def test_the_sdk_queries_an_index(client: WorkspaceClient, running: Running) -> None:
    described = client.vector_search_indexes.get_index(INDEX)
    assert described.status is not None
    assert described.status.index_url == f"{running.url}/api/2.0/vector-search/indexes/{INDEX}"
    assert described.status.indexed_row_count == 2
    page = client.vector_search_indexes.query_index(
        INDEX, columns=["doc_uri", "position"], query_text="dark blue", num_results=1, query_type="FULL_TEXT"
    )
    assert page.as_dict() == {
        "manifest": {
            "column_count": 3,
            "columns": [{"name": "doc_uri"}, {"name": "position"}, {"name": "score"}],
        },
        "next_page_token": "",
        "result": {"data_array": [["docs/settings.md#colours", 1, 1.0]], "row_count": 1},
    }


def test_the_retriever_tool_describes_itself_from_the_index(client: WorkspaceClient) -> None:
    made = retriever(client)
    assert made.name == "main__docs__project"
    assert "main.docs.project_passages" in made.description
    assert "doc_uri (STRING): The document's path and the section in it, as path#anchor" in made.description
    assert [resource.name for resource in made.resources or []] == [INDEX, "local-minilm"]


@pytest.mark.parametrize("query_type", ["ANN", "HYBRID"])
def test_the_retriever_tool_finds_documents(client: WorkspaceClient, query_type: str) -> None:
    found = retriever(client, query_type=query_type, num_results=1, columns=["title"]).invoke("what is the timeout?")
    assert "'title': 'Settings > Timeouts'" in found
    assert "'doc_uri': 'docs/settings.md#timeouts'" in found
    assert "The timeout is thirty seconds." in found
    assert "Dark mode" not in found


def test_the_retriever_tool_passes_filters_of_its_own_and_of_the_model(client: WorkspaceClient) -> None:
    fixed = retriever(client, filters={"title LIKE": "Colours"}).invoke("timeout dark")
    dynamic = retriever(client, dynamic_filter=True).invoke(
        {"query": "timeout dark", "filters": [{"key": "position NOT", "value": [0]}]}
    )
    for found in (fixed, dynamic):
        assert "Dark mode is blue." in found
        assert "thirty seconds" not in found


def test_the_retriever_tool_leaves_out_what_scores_below_its_threshold(client: WorkspaceClient) -> None:
    assert retriever(client, query_type="HYBRID", score_threshold=0.9).invoke("penguins in the timeout") == "[]"


def test_a_large_result_comes_in_pages(serve: Serve, tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "many.md").write_text("".join(f"# Part {number}\n\nblue\n\n" for number in range(230)))
    credentials = Credentials.generate()
    with Index.open(tmp_path / "index.db", embedder) as index:
        index.sync([tmp_path / "many.md"])
        app = create_workspace(ScriptedBackend(), {INDEX: index}, embedder=embedder, credentials=credentials)
        with serve(app) as url:
            made = retriever(Running(url, credentials, ScriptedBackend()).by_token(), num_results=220)
            found = made._vector_store.similarity_search("blue", k=220)
    assert len({document.metadata["chunk_id"] for document in found}) == 220


def test_embeddings_are_those_of_the_index(
    running: Running, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", running.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", running.credentials.token)
    given = DatabricksEmbeddings(endpoint="local-minilm").embed_documents(["blue", "thirty seconds"])
    assert given == embedder.embed(["blue", "thirty seconds"]).tolist()


async def test_memories_are_found_by_the_embeddings_of_the_workspace(running: Running, tmp_path: Path) -> None:
    settings = Settings(store="memory", cache_dir=tmp_path)
    app = AppContext(settings, {"DATABRICKS_HOST": running.url, "DATABRICKS_TOKEN": running.credentials.token})
    store, owner = open_store(settings, app), Owner("ann")
    await store.open()
    saved = [
        MemoryChange(place=(MEMORIES, str(at)), value={"text": text}, searched=text)
        for at, text in enumerate(["The car is blue.", "Mia is allergic to nuts."])
    ]
    await store.memories.write(owner, saved)
    first, second = await store.memories.search(owner, MemorySearch(query="blue car"))
    assert (first.text, second.score) == ("The car is blue.", pytest.approx(0))
    assert first.score == pytest.approx(2 / 8**0.5, abs=1e-5)
    await store.aclose()
    await app.aclose()


async def test_chat_answers_whole(client: WorkspaceClient, running: Running) -> None:
    async with chat(client) as model:
        answer = await model.ainvoke([HumanMessage("Which colour?")])
    assert (answer.content, answer.usage_metadata) == (
        "It is blue.",
        {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18},
    )
    assert answer.response_metadata["finish_reason"] == "stop"
    assert running.backend.bodies[0]["messages"] == [{"role": "user", "content": "Which colour?"}]


async def test_chat_answers_in_a_stream(client: WorkspaceClient) -> None:
    async with chat(client) as model:
        pieces = [chunk.content async for chunk in model.astream("Which colour?")]
    assert [piece for piece in pieces if piece] == ["It is ", "blue."]


async def test_chat_calls_tools_whole_and_streamed_and_takes_their_results(running: Running) -> None:
    running.backend.script = CALL
    streamed = None
    async with chat(running.by_token()) as plain:
        model = plain.bind_tools([add])
        whole = await model.ainvoke("2 + 3?")
        async for chunk in model.astream("2 + 3?"):
            streamed = chunk if streamed is None else streamed + chunk
        running.backend.script = ANSWER
        await model.ainvoke([HumanMessage("2 + 3?"), whole, ToolMessage("5", tool_call_id="call_1")])
    expected = [{"name": "add", "args": {"a": 2, "b": 3}, "id": "call_1", "type": "tool_call"}]
    assert isinstance(whole, AIMessage)
    assert whole.tool_calls == expected
    assert isinstance(streamed, AIMessage)
    assert streamed.tool_calls == expected
    assert [message["role"] for message in running.backend.bodies[-1]["messages"]] == ["user", "assistant", "tool"]


async def test_a_failure_before_the_first_token_is_a_status(running: Running) -> None:
    running.backend.script = (PromptTooLong("The prompt is too long."),)
    async with chat(running.by_token()) as model:
        for answer in (model.ainvoke("hi"), anext(model.astream("hi"))):
            with pytest.raises(BadRequestError, match=r"The prompt is too long\."):
                await answer


async def test_a_failure_after_the_first_token_ends_the_stream_with_an_error(running: Running) -> None:
    running.backend.script = (delta(content="It "), LocalModelFailed("The model stopped."))
    async with chat(running.by_token()) as model:
        with pytest.raises(APIError, match=r"The model stopped\."):
            async for _ in model.astream("hi"):
                pass


@pytest.mark.parametrize("said", [(), (delta(content="It "),)])
async def test_a_foreign_exception_tells_nothing(
    running: Running, said: tuple[Chunk, ...], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    running.backend.script = (*said, RuntimeError("the password is hunter2"))
    body = {"model": "local-model", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with running.http() as http:
        reply = await http.post("/serving-endpoints/chat/completions", json=body)
    told = reply.text + caplog.text + "".join(capfd.readouterr())
    assert "The local workspace failed. Its log says where." in reply.text
    assert "RuntimeError" in caplog.text
    assert "hunter2" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_backend_within_a_second(
    index: Index, embedder: Embedder, serve_here: ServeHere, stream: bool
) -> None:
    waiting = asyncio.Event()
    backend, credentials = ScriptedBackend((delta(content="It "), waiting)), Credentials.generate()
    app = create_workspace(backend, {INDEX: index}, embedder=embedder, credentials=credentials)
    body = {"model": "local-model", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    async with serve_here(app) as url, anyio.create_task_group() as group:

        async def ask() -> None:
            async with Running(url, credentials, backend).http() as http:
                await http.post("/serving-endpoints/chat/completions", json=body, timeout=None)

        group.start_soon(ask)
        with anyio.fail_after(20):
            await waiting.wait()
        assert not backend.stopped.is_set()
        group.cancel_scope.cancel()
        with anyio.fail_after(1, shield=True):
            await backend.stopped.wait()


async def test_every_route_but_sign_in_demands_the_token(running: Running) -> None:
    refused = {"error_code": "UNAUTHENTICATED", "message": TOKEN_REFUSED}
    body = {"messages": [{"role": "user", "content": "hi"}], "model": "local-model"}
    async with httpx.AsyncClient(base_url=running.url) as http:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic abc"}):
            for reply in (
                await http.get("/api/2.0/preview/scim/v2/Me", headers=headers),
                await http.get(f"/api/2.0/vector-search/indexes/{INDEX}", headers=headers),
                await http.post("/serving-endpoints/chat/completions", json=body, headers=headers),
                await http.get("/nowhere", headers=headers),
            ):
                assert (reply.status_code, reply.json()) == (401, refused)
        assert (await http.get("/.well-known/databricks-config")).status_code == 200
    assert running.backend.bodies == []


TOKEN_REFUSED = "The token is missing, expired, or not one of the local workspace. Sign in again."


def test_wrong_credentials_are_refused(running: Running) -> None:
    with pytest.raises(Unauthenticated):
        WorkspaceClient(config=running.config(token="wrong")).current_user.me()
    principal = running.config(client_id=running.credentials.client_id, client_secret="wrong")
    with pytest.raises(ValueError, match="invalid_client"):
        WorkspaceClient(config=principal).current_user.me()


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/2.0/jobs/list"), ("PUT", "/api/2.0/serving-endpoints")])
async def test_an_unknown_route_is_said_to_be_no_api(running: Running, method: str, path: str) -> None:
    async with running.http() as http:
        reply = await http.request(method, path)
    assert (reply.status_code, reply.json()) == (
        404,
        {"error_code": "ENDPOINT_NOT_FOUND", "message": f"No API found for '{method} {path}'"},
    )


CHAT, QUERY = "/serving-endpoints/chat/completions", f"/api/2.0/vector-search/indexes/{INDEX}/query"
NEXT, EMBED = f"{QUERY}-next-page", "/serving-endpoints/local-minilm/invocations"
HELLO = '"messages": [{"role": "user", "content": "hi"}]'
ASK = '"columns": ["text"], "query_text": "blue"'


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (CHAT, "", "valid JSON"),
        (CHAT, "[]", "JSON object"),
        (CHAT, "[" * 5000, "valid JSON"),
        (CHAT, '{"model": "local-model"}', "messages"),
        (CHAT, '{"model": "local-model", "messages": []}', "messages"),
        (CHAT, '{"model": "local-model", "messages": ["hi"]}', "messages[0]"),
        (CHAT, '{"model": "local-model", "messages": [{"role": "king"}]}', "messages[0]"),
        (CHAT, '{"model": "local-model", "messages": [{"role": ["user"]}]}', "messages[0]"),
        (CHAT, '{"model": "local-model", "messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
        (CHAT, '{"model": "local-model", "messages": [{"role": "assistant", "tool_calls": 5}]}', "tool_calls"),
        (CHAT, f'{{"model": "local-model", {HELLO}, "stream": "yes"}}', "stream"),
        (CHAT, f'{{"model": "local-model", {HELLO}, "max_tokens": -1}}', "max_tokens"),
        (CHAT, f'{{"model": "local-model", {HELLO}, "temperature": "hot"}}', "temperature"),
        (CHAT, f'{{"model": "local-model", {HELLO}, "logprobs": "all"}}', "logprobs"),
        (CHAT, f'{{"model": "local-model", {HELLO}, "logprobs": true, "top_logprobs": 21}}', "top_logprobs"),
        (CHAT, f'{{"model": "local-model", {HELLO}, "tools": [{{"name": "x"}}]}}', "tools"),
        (CHAT, f'{{"model": 5, {HELLO}}}', "model"),
        (CHAT, f'{{"model": "local-minilm", {HELLO}}}', "local-minilm"),
        (CHAT, '{"messages": "\\ud800"}', "valid JSON"),
        (EMBED, "{}", "input"),
        (EMBED, '{"input": [1]}', "input"),
        (QUERY, "{}", "columns"),
        (QUERY, '{"columns": ["colour"], "query_text": "x"}', "colour"),
        (QUERY, '{"columns": ["text"]}', "text"),
        (QUERY, f'{{{ASK}, "num_results": 0}}', "num_results"),
        (QUERY, f'{{{ASK}, "num_results": true}}', "num_results"),
        (QUERY, f'{{{ASK}, "num_results": 1e400}}', ""),
        (QUERY, f'{{{ASK}, "query_type": "MAGIC"}}', "query_type"),
        (QUERY, f'{{{ASK}, "filters_json": "["}}', "filters_json"),
        (QUERY, f'{{{ASK}, "filters_json": {{}}}}', "filters_json"),
        (QUERY, f'{{{ASK}, "filters_json": "{{\\"colour\\": 1}}"}}', "colour"),
        (QUERY, f'{{{ASK}, "filter_string": "text = 1"}}', "filter_string"),
        (QUERY, f'{{{ASK}, "reranker": {{"model": "x"}}}}', "reranker"),
        (QUERY, f'{{{ASK}, "score_threshold": "high"}}', "score_threshold"),
        (QUERY, '{"columns": ["text"], "query_vector": [1, "a"]}', "query_vector"),
        (QUERY, '{"columns": ["text"], "query_vector": [1e300, 1]}', "query_vector"),
        (QUERY, '{"columns": ["text"], "query_vector": [1, 2]}', "numbers"),
        (NEXT, "{}", "page_token"),
        (NEXT, '{"page_token": "%%%"}', "page_token"),
        (NEXT, '{"page_token": "W10="}', "page_token"),
    ],
)
async def test_a_malformed_body_is_a_400_that_names_the_field(
    running: Running, path: str, body: str, named: str
) -> None:
    async with running.http() as http:
        reply = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error_code"]) == (400, "BAD_REQUEST")
    assert named in reply.json()["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}),
        ("/serving-endpoints/gpt/invocations", {"input": ["hi"]}),
        ("/api/2.0/vector-search/indexes/main.docs.other/query", {"columns": ["text"], "query_text": "x"}),
    ],
)
async def test_a_name_that_does_not_exist_is_a_404(running: Running, path: str, body: dict[str, Any]) -> None:
    async with running.http() as http:
        reply = await http.post(path, json=body)
    assert (reply.status_code, reply.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_no_web_page_may_use_the_workspace(running: Running) -> None:
    me, chat = "/api/2.0/preview/scim/v2/Me", "/serving-endpoints/local-minilm/invocations"
    public = ("/.well-known/databricks-config", "/oidc/.well-known/oauth-authorization-server")
    async with running.http() as http:
        for path in (me, *public):
            assert (await http.get(path)).status_code == 200
            for page in ({"origin": "https://evil.com"}, {"origin": "null"}, {"host": "evil.com"}):
                refused = await http.get(path, headers=page)
                assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
                assert "evil" not in refused.text
        form = {"grant_type": "client_credentials"}
        assert (await http.post("/oidc/v1/token", data=form, headers={"host": "evil.com"})).status_code == 403
        assert (await http.post(chat, json={"input": "a"})).status_code == 200
        plain = await http.post(chat, content='{"input": "a"}', headers={"content-type": "text/plain"})
        assert (plain.status_code, "application/json" in plain.json()["message"]) == (415, True)


async def test_signing_in_takes_a_short_form_alone(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.url) as http:
        refused = await http.post("/oidc/v1/token", content=b"x" * 20_000)
    assert (refused.status_code, refused.json()["error_code"]) == (413, "BAD_REQUEST")
