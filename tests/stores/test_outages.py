"""Background runs whose graphs need the store while its database is away."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from psycopg.sql import SQL, Identifier
from tests.serving.test_memories import served
from tests.stores.postgres_server import PostgresServer, postgres_server

from graph_agent import AgentState


class Recalling:
    """A graph that asks for a memory in its second node, when the test lets it. Another one asks in its router."""

    def __init__(self) -> None:
        self.began: Counter[str] = Counter()
        self.may_ask = False

    def graph(self) -> Any:
        async def prepare(state: AgentState) -> dict[str, Any]:
            self.began["prepare"] += 1
            return {"messages": [AIMessage("Prepared.")]}

        async def recall(state: AgentState, runtime: Runtime) -> dict[str, Any]:
            self.began["recall"] += 1
            while not self.may_ask:  # noqa: ASYNC110 - the test is another thread
                await asyncio.sleep(0.01)
            assert runtime.store is not None
            found = await runtime.store.aget(("notes",), "one")
            return {"messages": [AIMessage(f"Found {found}.")]}

        builder = StateGraph(AgentState).add_sequence([("prepare", prepare), ("recall", recall)])
        return builder.set_entry_point("prepare").compile()

    def routed(self) -> Any:
        """The router after the first node asks, so that node is part of what it begins again."""

        async def prepare(state: AgentState) -> dict[str, Any]:
            self.began["prepare"] += 1
            return {"messages": [AIMessage("Prepared.")]}

        async def route(state: AgentState, runtime: Runtime) -> str:
            self.began["recall"] += 1
            while not self.may_ask:  # noqa: ASYNC110 - the test is another thread
                await asyncio.sleep(0.01)
            assert runtime.store is not None
            return "known" if await runtime.store.aget(("notes",), "one") else "unknown"

        async def known(state: AgentState) -> dict[str, Any]:
            return {"messages": [AIMessage("Known.")]}

        async def unknown(state: AgentState) -> dict[str, Any]:
            return {"messages": [AIMessage("Unknown.")]}

        builder = StateGraph(AgentState).add_node("prepare", prepare)
        builder.add_node("known", known).add_node("unknown", unknown).set_entry_point("prepare")
        return builder.add_conditional_edges("prepare", route, ["known", "unknown"]).compile()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def begun(client: httpx.Client, recalling: Recalling) -> str:
    """A background run whose graph is in its second node."""
    started = client.post("/responses", json={"input": "Hi", "background": True}).raise_for_status().json()
    until(lambda: recalling.began["recall"] == 1)
    return f"/responses/{started['id']}"


def until(holds: Any) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def ended(client: httpx.Client, address: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(client.get(address).json())
        return found.get("status") in ("completed", "failed")

    until(over)
    return found


def test_a_background_run_outlasts_an_outage_in_which_its_graph_asks_the_store(
    own_postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recalling = Recalling()
    database = {"store": own_postgres.url, "store_schema": "outlasts"}
    with served(tmp_path, recalling.graph(), **database) as client:
        address = begun(client, recalling)
        own_postgres.stop()
        recalling.may_ask = True
        until(lambda: "waits for the store" in caplog.text)
        own_postgres.start()
        done = ended(client, address)
    assert done["status"] == "completed", done["error"]
    assert [item["content"][0]["text"] for item in done["output"]] == ["Found None."]
    assert recalling.began == {"prepare": 1, "recall": 2}


def test_a_background_run_outlasts_an_outage_in_which_a_router_asks_the_store(
    own_postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recalling = Recalling()
    database = {"store": own_postgres.url, "store_schema": "routes"}
    with served(tmp_path, recalling.routed(), **database) as client:
        address = begun(client, recalling)
        own_postgres.stop()
        recalling.may_ask = True
        until(lambda: "waits for the store" in caplog.text)
        own_postgres.start()
        done = ended(client, address)
    assert done["status"] == "completed", done["error"]
    assert [item["content"][0]["text"] for item in done["output"]] == ["Unknown."]
    assert recalling.began["recall"] >= 2


def test_a_background_run_fails_whose_graph_asks_for_what_the_store_never_answers(
    running_postgres: PostgresServer, tmp_path: Path
) -> None:
    recalling, schema = Recalling(), f"never_{secrets.token_hex(4)}"
    with served(tmp_path, recalling.graph(), store=running_postgres.url, store_schema=schema) as client:
        address = begun(client, recalling)
        with psycopg.connect(running_postgres.url, autocommit=True) as connection:
            connection.execute(SQL("DROP TABLE {}.memories CASCADE").format(Identifier(schema)))
        recalling.may_ask = True
        failed = ended(client, address)
    assert failed["error"]["code"] == "store_unavailable"
    assert recalling.began == {"prepare": 1, "recall": 4}
