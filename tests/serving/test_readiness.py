"""`/ready` asks what the service depends on, once for all probes, and `/health` asks nothing."""

import asyncio
import logging
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from graph_agent import Settings, create_app
from graph_agent.databricks import clients
from graph_agent.errors import StoreUnavailable
from graph_agent.serving import dependencies
from graph_agent.serving.dependencies import Dependencies
from graph_agent.stores.sql_runs import SqlRuns
from graph_agent.testing import AgentClient

pytestmark = pytest.mark.anyio

SECRET = "hunter2-in-the-message"


class Asked:
    """A dependency that counts its questions, and answers when it may."""

    def __init__(self) -> None:
        self.count = 0
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.count += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error


def an_app() -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Yes.")]}

    graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
    return create_app(Settings(tracing="off", store="memory"), {"one": graph}, environ={})


async def test_many_probes_ask_once_and_the_answer_is_kept() -> None:
    asked = Asked()
    of_app = Dependencies({"the store": asked})
    probes = [asyncio.create_task(of_app.problem()) for _ in range(100)]
    await asyncio.sleep(0)
    asked.may_answer.set()
    assert await asyncio.gather(*probes) == [None] * 100
    assert await of_app.problem() is None
    assert asked.count == 1


async def test_a_dependency_that_hangs_has_one_question_open_and_its_answer_counts_later() -> None:
    asked = Asked()
    of_app = Dependencies({"the store": asked}, wait_seconds=0.01)
    for _ in range(3):
        assert await of_app.problem() == "the store has not answered for 0.01 s"
    assert asked.count == 1
    asked.may_answer.set()
    assert [one for _ in range(100) if (one := await of_app.problem()) is None]
    assert asked.count == 1
    await of_app.aclose()


async def test_an_old_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(dependencies, "FRESH_SECONDS", 0.0)
    asked = Asked()
    asked.may_answer.set()
    of_app = Dependencies({"the store": asked})
    with caplog.at_level(logging.INFO):
        asked.error = StoreUnavailable("the database is down")
        for _ in range(2):
            assert await of_app.problem() == "the database is down"
        asked.error = None
        assert await of_app.problem() is None
    assert [one.message for one in caplog.records] == [
        "not ready: the database is down",
        "the store answers again",
    ]


async def test_a_store_that_fails_later_makes_the_service_not_ready_and_its_words_stay_inside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dependencies, "FRESH_SECONDS", 0.0)

    async def broken(self: Any) -> bool:
        raise RuntimeError(SECRET)

    async with AgentClient(an_app()) as client:
        await client.http.get("/agent/info")
        assert (await client.http.get("/ready")).json() == {"status": "ready"}
        monkeypatch.setattr(SqlRuns, "has_open", broken)
        down = await client.http.get("/ready")
        healthy = await client.http.get("/health")
    assert (down.status_code, down.json()["error"]["code"]) == (503, "not_ready")
    assert down.json()["error"]["message"].startswith("the store does not answer")
    assert healthy.json() == {"status": "healthy"}
    assert SECRET not in caplog.text + down.text


async def test_credentials_that_the_workspace_refuses_make_the_service_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependencies, "FRESH_SECONDS", 0.0)

    class Client:
        """Its token has expired, and the workspace gives it no other."""

        class config:
            @staticmethod
            def authenticate() -> dict[str, str]:
                raise ValueError(SECRET)

    class Made:
        """The value that a run has made."""

        ready = False

        def __call__(self) -> Client:
            return Client()

    made = Made()
    monkeypatch.setattr(clients, "_OF_APP", made)
    async with AgentClient(an_app()) as client:
        await client.http.get("/agent/info")
        # Nothing has used the workspace, so it is not asked.
        assert (await client.http.get("/ready")).status_code == 200
        made.ready = True
        down = await client.http.get("/ready")
    assert (down.status_code, down.json()["error"]["code"]) == (503, "not_ready")
    assert down.json()["error"]["message"].startswith("the Databricks workspace cannot")
    assert SECRET not in down.text
