"""`graph-agent serve` as Databricks Apps starts it, with a graph that uses all of a workspace."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.databricks.conftest import USERS
from tests.databricks.service import GRAPHS, forwarded, text_of
from tests.serving.test_process import Process, graph_agent
from tests.standin.server import ScriptedModel, StandIn, delta, results_in, says, stand_in
from tests.standin.sql import function, parameter, rows, sql_routes
from tests.standin.tracking import EXPERIMENT, Tracking, tracking

pytestmark = pytest.mark.anyio

ASK = {"model": "everything", "input": "What does the blue one cost?"}
WANTED = {
    "search_docs": {"query": "dark blue"},
    "main__tools__calculator": {"expression": "6 * 7"},
    "main__shop__price": {"product": "lamp"},
}
PER_RUN = {
    "POST /serving-endpoints/chat/completions": 2,
    "GET /api/2.0/vector-search/indexes/main.docs.project/query": 1,
    "POST /api/2.0/mcp/functions/main/tools": 1,
    "POST /api/2.0/sql/statements": 1,
}
PRICE = function("main.shop.price", parameter("product", "STRING"), returns="DOUBLE", comment="What a product costs.")


def asks_for_everything(body: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """All three tools at once, then an answer that cites the passage."""
    if results_in(body):
        found = {
            message["tool_call_id"]: message["content"] for message in body["messages"] if message["role"] == "tool"
        }
        return says(
            f"It is blue [1], {found['call_main__tools__calculator']} of them. ", found["call_main__shop__price"]
        )
    pieces = [
        {
            "index": at,
            "id": f"call_{name}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for at, (name, given) in enumerate(WANTED.items())
    ]
    return [delta(tool_calls=[piece]) for piece in pieces] + [delta("tool_calls")]


@pytest.fixture
def kept() -> Iterator[Tracking]:
    with tracking() as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, kept: Tracking) -> Iterator[StandIn]:
    more = [*kept.routes(), *sql_routes([PRICE], lambda body: rows(["price"], ["9.5"]))]
    with stand_in(tmp_path, users=USERS, more=more, model=ScriptedModel(asks_for_everything)) as running:
        yield running


@asynccontextmanager
async def on_apps(workspace: StandIn, **settings: str) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The service with the variables Apps sets, and those of app.yaml; no token."""
    platform = workspace.environment() | {"DATABRICKS_APP_NAME": "agent", "GRAPH_AGENT_TRACING": "on"}
    tracked = {"MLFLOW_TRACKING_URI": "databricks", "MLFLOW_EXPERIMENT_ID": EXPERIMENT}
    async with graph_agent(
        "--config", str(GRAPHS), "--host", "127.0.0.1", **platform, **tracked, **settings
    ) as process:
        with anyio.fail_after(90):
            url = (await process.logged("running on http")).partition("running on ")[2].split()[0].strip('",')
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                (await client.get("/agent/info", headers=forwarded(USERS[0]))).raise_for_status()
                yield process, client


async def test_with_a_service_principal_alone_everything_of_a_workspace_works(
    workspace: StandIn, kept: Tracking
) -> None:
    async with on_apps(workspace) as (process, client):
        # Ready means that what takes long is done: the index is known, and whose packages take seconds are imported.
        assert workspace.calls("/vector-search/indexes/main.docs.project$")
        workspace.forget()
        answer = (await client.post("/invocations", json=ASK, headers={"x-forwarded-user": "ann"})).raise_for_status()
        assert not workspace.calls("/vector-search/indexes/main.docs.project$")
        # The first trace needs imports that take seconds of CPU, and more time on a busy machine than Apps gives.
        with anyio.fail_after(60):
            while not kept.spans:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        (await client.post("/invocations", json=ASK, headers={"x-forwarded-user": "ann"})).raise_for_status()
        # Stopping delivers what waits.
        process.process.terminate()
        await process.ended()
    assert text_of(answer).startswith("It is blue [1], 42 of them. 9.5")
    annotated = [item for item in answer.json()["output"] if item["type"] == "message"][-1]["content"][0]
    assert annotated["annotations"][0]["url"].startswith("documents/settings.md")
    assert len(kept.spans) == 2, "".join(process.log)
    for spans in kept.spans.values():
        kinds = Counter(json.loads(span["attributes"]["mlflow.spanType"]) for span in spans)
        assert (kinds["CHAT_MODEL"], kinds["RETRIEVER"], kinds["TOOL"]) == (2, 1, 2)
    # Signed in by id and secret: nobody gave it a token, and it used none but those it was handed for them.
    assert all(len(call.token) > 30 for call in workspace.calls())


async def test_twenty_users_at_once_use_all_of_it_each_as_themselves(workspace: StandIn, kept: Tracking) -> None:
    async with on_apps(workspace, GRAPH_AGENT_AUTHORIZATION="user-required") as (_, client):

        async def ask(user: str) -> httpx.Response:
            return (await client.post("/invocations", json=ASK, headers=forwarded(user))).raise_for_status()

        await asyncio.gather(*map(ask, USERS))
        with anyio.fail_after(30):
            # The traces' own client has signed in by then, as the app.
            while not kept.spans:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        first = workspace.calls()
        workspace.forget()
        answers = await asyncio.gather(*map(ask, USERS))
    assert {text_of(answer)[:26] for answer in answers} == {"It is blue [1], 42 of them"}
    second = [call for call in workspace.requests if not call.path.startswith(("/api/2.0/mlflow", "/api/3.0/mlflow"))]
    # After a user's first request nothing is set up, looked up or signed in for any more: only the work itself.
    assert Counter((call.line, call.token) for call in second) == {
        (line, workspace.user(user)): times for line, times in PER_RUN.items() for user in USERS
    }
    # And in the first one, no call but the traces' was made with the app's token.
    as_app = {call.line for call in first if call.token and not call.token.startswith("user-")}
    assert not [line for line in as_app if "mlflow" not in line]
