"""Bad days of the index: for each a typed error or a recovery, for the app and for a user, and a loop that runs on."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from databricks.ai_search.async_utils import aclose_all_clients
from tests.databricks.conftest import USERS
from tests.standin.server import INDEX, StandIn, dead_host, stand_in
from tests.standin.stalls import stalls
from tests.standin.vectors import SELF_MANAGED, vector_routes

from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.errors import RetrievalFailed, RunError, Unauthenticated, WorkspaceUnavailable
from graph_agent.identity.user_token import UserToken, with_user_token

pytestmark = pytest.mark.anyio

APP_AND_USER = pytest.mark.parametrize("acting_as", ["app", "user"])
QUERY = "/query$"
SECRET = "dapi-planted-in-a-body"
NAMES = {"app": "the app's service principal", "user": "the calling user"}


@pytest.fixture(autouse=True)
async def closed_connections() -> AsyncIterator[None]:
    """The index client keeps its connections by event loop, and a test's loop ends with it."""
    yield
    await aclose_all_clients()


@pytest.fixture
def workspace() -> Iterator[ExitStack]:
    """What runs the stand-in; closing it early makes it a host that has died."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workspace: ExitStack) -> StandIn:
    running = workspace.enter_context(stand_in(tmp_path / "workspace", users=USERS, more=vector_routes()))
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    return running


async def tried(search: DocumentSearch) -> Any:
    """What one search gives, or the error it ends with. The loop is watched, and the time shown in the report."""
    started = time.monotonic()
    async with stalls() as found:
        with with_user_token(UserToken("user-user00")):
            try:
                outcome: Any = await search.search("what is the timeout")
            except (RunError, Unauthenticated) as error:
                outcome = error
    told = outcome.message if isinstance(outcome, RunError | Unauthenticated) else "recovered"
    print(f"{search.acting_as}: {time.monotonic() - started:.2f} s, stall {found.worst:.3f} s: {told}")  # noqa: T201
    assert found.worst < 0.1
    assert SECRET not in told
    return outcome


async def warmed(acting_as: Any, **more: Any) -> DocumentSearch:
    """A search whose first call is behind it."""
    search = DocumentSearch(**{"index": INDEX, "acting_as": acting_as, **more})
    assert not isinstance(await tried(search), RunError)
    return search


def limit(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """The time limit of what comes now."""
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", str(seconds))


def body(status: int) -> Any:
    return {"error_code": "X", "message": f"{status} with {SECRET}"}


@APP_AND_USER
@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_index_is_asked_again(standing: StandIn, acting_as: Any, status: int) -> None:
    search = await warmed(acting_as)
    standing.fail(QUERY, status, headers={"retry-after": "1"})
    assert not isinstance(await tried(search), RetrievalFailed)


@APP_AND_USER
@pytest.mark.parametrize("status", [429, 503])
async def test_an_index_that_stays_busy_says_so(standing: StandIn, acting_as: Any, status: int) -> None:
    search = await warmed(acting_as)
    # Without a wait the client doubles its own: 1, 2 and 4 s.
    headers = {"retry-after": "1"} if status == 503 else None
    standing.fail(QUERY, status, times=9, body=body(status), headers=headers)
    failed = await tried(search)
    said = status if acting_as == "user" else "429 or 503"
    assert failed.message == (
        f"the index {INDEX} is overloaded or not running, also after retries: try again later ({said})"
    )
    assert len(standing.calls(QUERY)) == 1 + 4


@APP_AND_USER
async def test_a_long_wait_the_index_asks_for_ends_with_the_time_limit(
    standing: StandIn, acting_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = await warmed(acting_as)
    limit(monkeypatch, 1)
    standing.fail(QUERY, 429, times=9, headers={"retry-after": "3600"})
    assert (await tried(search)).message == f"the index {INDEX} did not answer within 1 s"


@APP_AND_USER
@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "the index {index} refused the query: check the columns, filters and query type of the search (400)"),
        (
            403,
            {
                "app": "{who} may not use the index {index}: grant it SELECT on it, with USE CATALOG and USE SCHEMA "
                "above it (403)",
                "user": "{who} may not use the index {index}: grant them SELECT on it, with USE CATALOG and USE SCHEMA "
                "above it, and give the app the user scope for it (403)",
            },
        ),
        (404, "the index {index} does not exist, or {who} may not see it: check its name (404)"),
        (500, "the index {index} failed: look at its state in the workspace (500)"),
        (
            401,
            {
                "app": "the index {index} did not accept the app's credentials: check DATABRICKS_CLIENT_ID and its "
                "secret (401)",
                "user": "the index {index} did not accept the user's token: sign in again and repeat the request",
            },
        ),
    ],
)
async def test_a_refusal_says_who_must_change_what(standing: StandIn, acting_as: Any, status: int, told: Any) -> None:
    search = await warmed(acting_as)
    standing.fail(QUERY, status, body=body(status))
    failed = await tried(search)
    sentence = told if isinstance(told, str) else told[acting_as]
    assert failed.message == sentence.format(index=INDEX, who=NAMES[acting_as])
    assert isinstance(failed, Unauthenticated if (status, acting_as) == (401, "user") else RetrievalFailed)
    assert len(standing.calls(QUERY)) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_an_index_the_app_may_not_read_is_told_so_and_read_again_later(standing: StandIn, status: int) -> None:
    search = DocumentSearch(index=INDEX, acting_as="app")
    standing.fail("/vector-search/indexes/", status, body=body(status))
    failed = await tried(search)
    assert (f"({status})" in failed.message, INDEX in failed.message) == (True, True)
    assert not isinstance(await tried(search), RetrievalFailed)


async def test_an_answer_broken_off_is_asked_for_again_for_a_user(standing: StandIn) -> None:
    search = await warmed("user")
    standing.hang_up(QUERY, after=0)
    assert not isinstance(await tried(search), RetrievalFailed)


async def test_an_answer_broken_off_is_told_so_for_the_app(standing: StandIn) -> None:
    search = await warmed("app")
    standing.hang_up(QUERY, after=0)
    assert (await tried(search)).message.startswith(f"the index {INDEX} ended its answer early: try again")


@APP_AND_USER
async def test_a_slow_index_costs_the_time_limit_and_no_more(
    standing: StandIn, acting_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = await warmed(acting_as)
    limit(monkeypatch, 1)
    standing.slow(QUERY, 20)
    assert (await tried(search)).message == f"the index {INDEX} did not answer within 1 s"
    assert not isinstance(await tried(search), RetrievalFailed)


@APP_AND_USER
async def test_a_host_that_dies_is_told_so(standing: StandIn, workspace: ExitStack, acting_as: Any) -> None:
    search = await warmed(acting_as)
    workspace.close()
    failed = await tried(search)
    assert failed.message.startswith(f"the index {INDEX} cannot be reached: check DATABRICKS_HOST and the network")


async def test_a_host_that_was_never_there_is_told_so(standing: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    with dead_host() as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        assert isinstance(await tried(DocumentSearch(index=INDEX, acting_as="app")), WorkspaceUnavailable)


@APP_AND_USER
async def test_the_first_searchs_set_up_counts_against_the_time_limit(
    standing: StandIn, acting_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 1)
    with dead_host() as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        failed = await tried(DocumentSearch(index=INDEX, acting_as=acting_as))
    assert failed.message == f"the index {INDEX} did not answer within 1 s"


@APP_AND_USER
@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_embedding_endpoint_that_refuses_is_named(standing: StandIn, acting_as: Any, status: int) -> None:
    columns: dict[str, Any] = {"text_column": "body", "chunk_id": "id", "doc_uri": "url", "title": "heading"}
    search = await warmed(acting_as, index=SELF_MANAGED, embedding="local-minilm", **columns)
    standing.fail("/invocations$", status, body=body(status))
    failed = await tried(search)
    assert "the embedding endpoint local-minilm" in failed.message
    assert f"({status})" in failed.message
