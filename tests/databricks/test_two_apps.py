"""Two apps in one process: each uses its own model, index, workspace and permissions, whatever else is shared."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.databricks import shared
from tests.databricks.service import forwarded, service_here, text_of
from tests.standin.server import StandIn, stand_in

from graph_agent import chat_model
from graph_agent.app_context import AppContext, current_settings
from graph_agent.errors import WorkspaceUnavailable
from graph_agent.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]

# Apart from the other graphs: it imports modules of the tests, which only this process finds.
GRAPHS = Path(__file__).parent / "graphs" / "two_apps" / "langgraph.json"
ASK = {"model": "meeting", "input": "What colour?"}
MODEL = "/serving-endpoints/chat/completions"


async def say_its_name(request: Request) -> Response:
    """A chat endpoint of any name, which answers with that name."""
    name = (await request.json())["model"]
    return JSONResponse({"choices": [{"message": {"content": name}, "finish_reason": "stop"}]})


@pytest.fixture
def red(tmp_path: Path) -> Iterator[StandIn]:
    routes = [Route(MODEL, say_its_name, methods=["POST"])]
    with stand_in(tmp_path / "red", index_name="main.docs.red", more=routes) as running:
        yield running


@pytest.fixture
def blue(tmp_path: Path) -> Iterator[StandIn]:
    routes = [Route(MODEL, say_its_name, methods=["POST"])]
    with stand_in(tmp_path / "blue", index_name="main.docs.blue", more=routes, users=["ann"]) as running:
        yield running


@pytest.fixture
async def apps(red: StandIn, blue: StandIn) -> Any:
    """A client of each: one acts as its app in a workspace of its own, the other as the user in another."""
    on_apps = {"DATABRICKS_APP_NAME": "blue"}
    async with AsyncExitStack() as running:
        of_red = await running.enter_async_context(
            service_here(red.environment(), model="databricks:red", index="main.docs.red", config=GRAPHS)
        )
        of_blue = await running.enter_async_context(
            service_here(
                blue.environment() | on_apps,
                model="databricks:blue",
                index="main.docs.blue",
                authorization="user",
                config=GRAPHS,
            )
        )
        yield of_red, of_blue, running
    shared.CLIENTS.clear()


async def ask(client: httpx.AsyncClient) -> httpx.Response:
    # Only the app that acts for users, behind the proxy of Databricks Apps, believes these headers.
    return await client.post("/invocations", json=ASK, headers=forwarded("ann"))


async def test_runs_of_two_apps_at_once_each_use_their_own_settings_and_workspace(
    apps: Any, red: StandIn, blue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "MEETINGS", [asyncio.Barrier(2)])
    answers = await asyncio.gather(ask(apps[0]), ask(apps[1]))
    assert [text_of(answer) for answer in answers] == ["red", "blue"]
    for name, answer in zip(("red", "blue"), answers, strict=True):
        told = answer.json()["custom_outputs"]
        # A synchronous node, `asyncio.to_thread` and a synchronous tool: three kinds of threads.
        assert {told["node"], told["to_thread"], told["tool"]} == {f"main.docs.{name}"}
        assert told["passages"] > 0
        assert (told["tools"] > 0, told["warnings"]) == (True, [])
    # The one acts as its app, the other as the user, and neither workspace has seen a token of the other.
    assert all(call.token != "user-ann" for call in red.calls())
    assert {call.token for call in blue.calls(f"{MODEL}|/query$")} == {"user-ann"}
    assert {call.path for call in red.calls("/query$")} == {"/api/2.0/vector-search/indexes/main.docs.red/query"}
    assert {call.path for call in blue.calls("/query$")} == {"/api/2.0/vector-search/indexes/main.docs.blue/query"}


async def test_what_an_app_used_is_gone_when_it_is_closed(apps: Any) -> None:
    first, second, running = apps
    # Other tests of this process may have left searches of no app behind.
    before = set(threading.enumerate())
    assert text_of(await ask(first)) == "red"
    assert text_of(await ask(second)) == "blue"
    assert all(client() is not None for client in shared.CLIENTS)
    await running.aclose()
    gc.collect()
    assert [client for client in shared.CLIENTS if client() is not None] == []
    # An idle thread is told to end, and ends when the machine lets it.
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("search-search_docs"):
            thread.join(30)
            assert not thread.is_alive()


async def test_outside_of_any_app_the_environment_is_read_whenever_it_is_needed(
    red: StandIn, blue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As LangGraph Studio and notebooks use it.
    model = chat_model()
    for name, standing in (("first", red), ("second", blue)):
        monkeypatch.setenv("GRAPH_AGENT_MODEL", f"databricks:{name}")
        for variable, value in standing.environment().items():
            monkeypatch.setenv(variable, value)
        assert (await model.ainvoke("What colour?")).text == name


async def test_an_app_that_is_given_an_environment_takes_no_credentials_of_the_process(
    red: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in red.environment().items():
        monkeypatch.setenv(variable, value)
    bare = AppContext(Settings(model="databricks:red"), {"DATABRICKS_HOST": red.url})
    with bare.entered(), pytest.raises(WorkspaceUnavailable):
        await chat_model().ainvoke("What colour?")
    assert red.calls(MODEL) == []


async def test_settings_are_those_of_the_app_that_was_entered_last_and_then_of_the_one_before() -> None:
    outer, inner = AppContext(Settings(index="a.b.outer")), AppContext(Settings(index="a.b.inner"))
    with outer.entered():
        with inner.entered():
            assert current_settings() is inner.settings
        assert current_settings() is outer.settings
    assert current_settings().index == "main.docs.project"
