"""The traps of the Vector Search clients, each shown on the library as it is and then on `DocumentSearch`."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from databricks.ai_search import async_utils
from databricks.ai_search.async_index import AsyncAISearchIndex
from databricks.ai_search.async_utils import aclose_all_clients
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.credentials_provider import CredentialsStrategy
from databricks_langchain import VectorSearchRetrieverTool
from langchain_core.messages import AIMessage
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.databricks.conftest import USERS
from tests.standin.server import INDEX, StandIn, stand_in
from tests.standin.vectors import SELF_MANAGED, SILENT, Silence, vector_routes

from graph_agent import make_retriever
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.errors import RetrievalFailed
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.testing import on_loopback
from graph_agent.tracing import RunRecorder
from graph_agent.tracing.values import to_json

pytestmark = pytest.mark.anyio

INDEXES = "/api/2.0/vector-search/indexes"


@pytest.fixture(autouse=True)
async def closed_connections() -> AsyncIterator[None]:
    """The index client keeps its connections by event loop, and a test's loop ends with it."""
    yield
    await aclose_all_clients()


@pytest.fixture
def silence() -> Silence:
    return Silence()


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silence: Silence) -> Iterator[StandIn]:
    with stand_in(tmp_path / "workspace", users=USERS, more=vector_routes(silence)) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def tool(client: WorkspaceClient | None, **more: Any) -> VectorSearchRetrieverTool:
    """The library's tool, as a graph author would write it."""
    return VectorSearchRetrieverTool(index_name=INDEX, workspace_client=client, **more)


def answer_of(built: VectorSearchRetrieverTool) -> str:
    """What the tool tells a model; without the trace it makes of each call, in a database where the tests run."""
    answer: str = VectorSearchRetrieverTool._run.__wrapped__(built, "what is the timeout")
    return answer


def limit(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The time limit of what comes now."""
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", str(seconds))


async def as_user(search: DocumentSearch, name: str = "user03") -> Any:
    with with_user_token(UserToken(f"user-{name}")):
        return await search.search("what is the timeout")


ONE_SEARCH = """
import asyncio, atexit, sys
from graph_agent.databricks.vector_search import DocumentSearch

# Whatever is registered later runs earlier.
atexit.register(lambda: print(hasattr(sys.modules["databricks_langchain"], "VectorSearchRetrieverTool")))
print(len(asyncio.run(DocumentSearch(index=sys.argv[1]).search("what is the timeout"))) > 0)
"""


async def test_a_program_with_one_search_ends_after_the_imports_that_it_began(standing: StandIn) -> None:
    command = [sys.executable, "-c", ONE_SEARCH, INDEX]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr


# -- 5.1: calls of the constructor ----------------------------------------------------------------------------------


async def test_the_tool_is_built_with_four_calls_and_without_the_catalog(standing: StandIn) -> None:
    await asyncio.to_thread(tool, WorkspaceClient())
    theirs = [call.line for call in standing.calls()]
    standing.forget()
    await DocumentSearch(index=INDEX).warm()
    ours = [call.line for call in standing.calls()]
    assert len(theirs) == 6
    assert f"GET /api/2.1/unity-catalog/tables/{INDEX}" in theirs
    assert sorted(ours) == ["GET /api/2.0/serving-endpoints/local-minilm", *[f"GET {INDEXES}/{INDEX}"] * 3]


async def test_filters_of_the_model_need_no_catalog(standing: StandIn) -> None:
    standing.fail("/unity-catalog/", 403, times=9)
    with pytest.raises(ValueError, match="Failed to retrieve table metadata"):
        await asyncio.to_thread(tool, WorkspaceClient(), dynamic_filter=True)
    search = DocumentSearch(index=INDEX, filterable={"position": int}, filters={"title": "Settings > Timeouts"})
    [(document, _)] = await search.search("timeout", [{"key": "position >=", "value": 0}])
    assert "thirty seconds" in document.page_content


async def test_a_search_that_describes_the_index_wrongly_says_what_it_takes(standing: StandIn) -> None:
    for wrong in (
        DocumentSearch(index=INDEX, embedding="local-minilm"),
        DocumentSearch(index=SELF_MANAGED, text_column="body"),
    ):
        with pytest.raises(
            RetrievalFailed, match="`embedding` and `text_column` are for an index with self-managed vectors"
        ):
            await wrong.search("pump")


# -- 5.2 and 5.4: what is asked and what comes back -----------------------------------------------------------------


async def test_documents_and_not_a_repr_reach_the_state_and_the_span(standing: StandIn) -> None:
    text = await asyncio.to_thread(answer_of, tool(WorkspaceClient()))
    assert text.startswith("[Document(")
    recorder = RunRecorder(graph="test", inputs={})
    called = AIMessage("", tool_calls=[{"id": "c", "name": "search_docs", "args": {"query": "what is the timeout"}}])
    state: Any = {"messages": [called]}
    update = await make_retriever(DocumentSearch(index=INDEX, results=1))(state, {"callbacks": [recorder]})
    [source] = update["sources"]
    assert (source.doc_uri, source.title) == ("documents/settings.md#timeouts", "Settings > Timeouts")
    assert update["messages"][0].content == f"[1] {source.text}"
    [span] = [span for span in recorder.spans if span.kind == "RETRIEVER"]
    assert (span.name, span.inputs) == ("search_docs", {"query": "what is the timeout"})
    [document] = span.outputs
    assert (document.page_content, document.metadata["chunk_id"]) == (source.text, source.chunk_id)
    assert to_json(span.outputs).startswith('[{"page_content":"')


@pytest.mark.parametrize("acting_as", ["app", "user"])
async def test_nothing_is_printed(standing: StandIn, capfd: pytest.CaptureFixture[str], acting_as: Any) -> None:
    index = AsyncAISearchIndex(standing.url, "", INDEX, "", personal_access_token="user-user00")
    await index.similarity_search(columns=["text"], query_text="timeout")
    assert "[NOTICE]" in capfd.readouterr().out
    await aclose_all_clients()
    await as_user(DocumentSearch(index=INDEX, acting_as=acting_as))
    assert capfd.readouterr().out == ""


async def test_an_index_that_never_answers_costs_a_set_time_and_closes_a_users_request(
    standing: StandIn, silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = AsyncAISearchIndex(standing.url, "", SILENT, "", personal_access_token="user-user00")
    with anyio.move_on_after(1.0) as given_up:
        await theirs.similarity_search(columns=["text"], query_text="timeout", disable_notice=True)
    assert given_up.cancelled_caught
    await aclose_all_clients()
    ours = DocumentSearch(index=SILENT, acting_as="user")
    await ours.warm()
    assert await asyncio.to_thread(silence.left.wait, 30)
    silence.left.clear()
    limit(monkeypatch, 0.5)
    with anyio.fail_after(30), pytest.raises(RetrievalFailed, match=r"did not answer within 0\.5 s"):
        await as_user(ours)
    assert await asyncio.to_thread(silence.left.wait, 30)


async def test_leaving_a_search_closes_a_users_request(standing: StandIn, silence: Silence) -> None:
    leaving = asyncio.create_task(as_user(DocumentSearch(index=SILENT, acting_as="user")))
    assert await asyncio.to_thread(silence.asked.wait, 30)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await asyncio.to_thread(silence.left.wait, 30)


async def test_threads_an_index_holds_are_few_and_come_back(standing: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 2.0)
    search = DocumentSearch(index=SILENT, name="held", acting_as="app")
    await asyncio.to_thread(workspace_client)
    await search.warm()

    async def failure() -> str:
        with pytest.raises(RetrievalFailed) as failed:
            await search.search("timeout")
        return failed.value.message

    # More than threads: those that wait for one are given up without having begun.
    assert set(await asyncio.gather(*(failure() for _ in range(12)))) == {
        f"the index {SILENT} did not answer within 2 s"
    }
    # Said at once: a search that waits would be told of the limit.
    assert (await failure()).startswith("8 earlier searches of held are still waiting for an index")
    assert sum(thread.name.startswith("search-held-") for thread in threading.enumerate()) == 8
    with anyio.fail_after(30):
        while "earlier searches" in await failure():  # noqa: ASYNC110
            await asyncio.sleep(0.5)


# -- 5.5: whose credentials -----------------------------------------------------------------------------------------


async def test_the_service_principals_variables_are_enough(standing: StandIn) -> None:
    with pytest.raises(Exception, match="personal access token or service principal"):
        await asyncio.to_thread(tool, None)
    assert await DocumentSearch(index=INDEX).search("what is the timeout")


class OfUser(CredentialsStrategy):
    """A user's token in a client, as one would hand it to the tool."""

    def auth_type(self) -> str:
        return "of-user"

    def __call__(self, config: Config) -> Any:
        return lambda: {"Authorization": "Bearer user-user03"}


async def test_a_users_credentials_are_never_replaced_by_the_apps(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = standing.credentials.token
    monkeypatch.setenv("DATABRICKS_TOKEN", app)
    monkeypatch.delenv("DATABRICKS_CLIENT_ID")
    monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
    of_user = WorkspaceClient(config=Config(host=standing.url, credentials_strategy=OfUser()))
    standing.forget()
    await asyncio.to_thread(answer_of, tool(of_user))
    # The confused deputy: the client was the user's.
    assert {call.token for call in standing.calls(INDEXES)} == {app}
    standing.forget()
    await as_user(DocumentSearch(index=INDEX, acting_as="user"))
    assert [(call.line, call.token) for call in standing.calls()] == [(f"GET {INDEXES}/{INDEX}/query", "user-user03")]


async def test_inside_model_serving_a_users_token_is_not_replaced_either(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IS_IN_DB_MODEL_SERVING_ENV", "true")
    await as_user(DocumentSearch(index=INDEX, acting_as="user", rerank=()))
    assert {call.token for call in standing.calls()} == {"user-user03"}


async def test_credentials_the_tool_does_not_know_are_the_apps_all_the_same(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def token(_: Request) -> JSONResponse:
        ends = int(time.time()) + 3600
        return JSONResponse({"access_token": "user-user19", "expires_on": ends, "token_type": "Bearer"})

    with on_loopback(Starlette(routes=[Route("/token", token)])) as service:
        monkeypatch.delenv("DATABRICKS_CLIENT_ID")
        monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
        monkeypatch.setenv("DATABRICKS_METADATA_SERVICE_URL", f"{service}/token")
        assert await DocumentSearch(index=INDEX).search("what is the timeout")
    assert [(call.line, call.token) for call in standing.calls()] == [(f"GET {INDEXES}/{INDEX}/query", "user-user19")]


# -- 5.6: the asynchronous client -----------------------------------------------------------------------------------


async def test_connections_of_a_loop_that_ended_are_not_taken_over(standing: StandIn) -> None:
    # The client files them by the loop's `id`, which a later loop may get.
    key = id(asyncio.get_running_loop())
    async with httpx.AsyncClient() as of_another:
        async_utils._clients[key] = of_another
        assert await as_user(DocumentSearch(index=INDEX, acting_as="user"))
        assert async_utils._clients[key] is not of_another


async def test_a_users_first_search_reads_nothing_of_the_index(standing: StandIn) -> None:
    search = DocumentSearch(index=INDEX, acting_as="user", rerank=["title"])
    standing.fail("/query$", 404)
    with pytest.raises(RetrievalFailed):
        await as_user(search)
    # The query is all that was asked; before it, the app's client read where the workspace is.
    assert [call.line for call in standing.calls()] == [f"GET {INDEXES}/{INDEX}/query"]
    assert {call.token for call in standing.calls(sign_in=True)} == {"", "user-user03"}
