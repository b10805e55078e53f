"""The whole service on a PostgreSQL store: restarts, outages, and several processes."""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import serving
from tests.serving.test_process import address, graph_agent, ready
from tests.standin.lakebase import ENDPOINT, LakebaseApi
from tests.standin.server import stand_in
from tests.stores.postgres_server import PostgresServer, postgres_server

pytestmark = pytest.mark.anyio

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"

LEASE_SECONDS = 10

SHARED = {"context": {"conversation_id": "shared", "user_id": "u"}, "store": True}
"""The conversation that both processes are asked for."""


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the tests of this file may stop."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def schema() -> str:
    return f"service_{secrets.token_hex(4)}"


@pytest.fixture(params=["url", "lakebase"])
def database(
    request: pytest.FixtureRequest, running_postgres: PostgresServer, tmp_path: Path
) -> Iterator[tuple[str, dict[str, str]]]:
    """A store's name, and the environment of the app that uses it."""
    if request.param == "url":
        yield running_postgres.url, {}
        return
    api = LakebaseApi(running_postgres)
    with stand_in(tmp_path, more=api.routes()) as workspace:
        api.create_role(workspace.credentials.client_id)
        yield (
            ENDPOINT,
            {
                **workspace.environment(),
                # What the platform sets for an app with a `postgres` resource.
                "PGHOST": "127.0.0.1",
                "PGPORT": str(running_postgres.port),
                "PGDATABASE": "databricks_postgres",
                "PGUSER": api.role,
                "PGSSLMODE": "require" if running_postgres.tls else "disable",
            },
        )


def text_of(response: Any) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content", ()))


async def test_a_conversation_goes_on_after_a_restart(
    database: tuple[str, dict[str, str]], running_postgres: PostgresServer, schema: str
) -> None:
    store, environ = database
    last = None
    for asked, recalled in (("one", "one"), ("two", "one | two"), ("three", "one | two | three")):
        with serving(environ, store=store, store_schema=schema, config=GRAPHS) as service:
            async with service.client() as client:
                answer = await client.post("/v1/responses", json={"input": asked, "previous_response_id": last})
                assert answer.status_code == 200, answer.text
                assert text_of(answer.json()) == recalled
                last = answer.json()["id"]
                # As after a night without a request, in which the database scaled to zero.
                await asyncio.to_thread(running_postgres.drop_connections)
                stored = await client.get(f"/v1/responses/{last}")
                assert stored.json()["output"] == answer.json()["output"]


class Talker:
    """A client that takes turn after turn in one conversation, and counts how they ended."""

    def __init__(self, client: httpx.AsyncClient, number: int) -> None:
        self._client = client
        self.conversation = f"talk-{number}"
        self.ends: Counter[str] = Counter()
        self.told: list[str] = []
        self.failed = asyncio.Event()

    async def turn(self) -> bool:
        """Take one turn. Returns whether it was completed."""
        asked = f"{self.conversation}-{sum(self.ends.values())}"
        body = {"input": asked, "context": {"conversation_id": self.conversation, "user_id": "u"}, "store": True}
        answer = await self._client.post("/responses", json=body)
        said = answer.json()
        error = said.get("error") or {}
        how = " ".join(filter(None, (str(answer.status_code), said.get("status"), error.get("code"))))
        self.ends[how] += 1
        if how == "200 completed":
            # Everything that was completed before is still there.
            recalled = text_of(said).split(" | ")
            assert [one for one in recalled if one in self.told] == self.told
            assert recalled[-1] == asked
            self.told.append(asked)
            return True
        self.failed.set()
        # As the answer tells clients to.
        await asyncio.sleep(0.2)
        return False

    async def turns(self, *, until: asyncio.Event, more: int) -> None:
        """Take turns, at least until the event, and then until `more` were completed."""
        while not until.is_set():
            await self.turn()
        while more:
            more -= await self.turn()


async def test_an_outage_under_load_is_a_typed_error_and_loses_nothing(
    own_postgres: PostgresServer, schema: str
) -> None:
    with serving(store=own_postgres.url, store_schema=schema, config=GRAPHS) as service:
        async with service.client() as client:
            client.timeout = 60
            talkers = [Talker(client, number) for number in range(8)]
            for talker in talkers:
                assert await talker.turn()
            back = asyncio.Event()
            talking = [asyncio.create_task(one.turns(until=back, more=3)) for one in talkers]
            await asyncio.to_thread(own_postgres.stop)
            await asyncio.wait([asyncio.create_task(one.failed.wait()) for one in talkers])
            # Who stores nothing does not notice.
            unstored = await client.post("/responses", json={"input": "alone", "store": False})
            assert text_of(unstored.json()) == "alone"
            await asyncio.to_thread(own_postgres.start)
            back.set()
            await asyncio.gather(*talking)
            ends = sum((one.ends for one in talkers), Counter())

            for one in talkers:
                listed = await client.get(f"/conversations/{one.conversation}/items", params={"limit": 100})
                asked = [
                    part["text"] for item in listed.json()["data"] if item["role"] == "user" for part in item["content"]
                ]
                assert set(one.told) <= set(asked)

    assert set(ends) <= {
        "200 completed",
        "200 failed store_unavailable",
        "200 failed process_lost",
        "409 conversation_busy",
        "503 store_unavailable",
    }, ends
    assert ends["503 store_unavailable"] >= 1
    assert not [line for line in service.log if "127.0.0.1" in line and "psycopg" in line]


async def test_processes_that_start_at_once_on_an_empty_database_all_use_it(
    running_postgres: PostgresServer, schema: str
) -> None:
    settings = {"GRAPH_AGENT_STORE": running_postgres.url, "GRAPH_AGENT_STORE_SCHEMA": schema}
    started = [graph_agent("--config", str(GRAPHS), **settings) for _ in range(2)]
    async with started[0] as one, started[1] as other:
        processes = (one, other)
        for process in processes:
            process.url = address(await process.logged("running on http"))
            await process.logged("ready: serving")
        last = None
        for process, recalled in zip(processes, ("a", "a | a"), strict=True):
            async with process.client() as client:
                client.timeout = 30
                answer = await client.post("/v1/responses", json={"input": "a", "previous_response_id": last})
            assert answer.status_code == 200, answer.text
            assert text_of(answer.json()) == recalled
            last = answer.json()["id"]


async def test_processes_share_conversations_and_take_over_those_of_one_that_was_killed(
    running_postgres: PostgresServer, schema: str
) -> None:
    settings = {
        "GRAPH_AGENT_STORE": running_postgres.url,
        "GRAPH_AGENT_STORE_SCHEMA": schema,
        "GRAPH_AGENT_MAX_RUNS": "100",
    }
    async with (
        ready("--config", str(GRAPHS), **settings) as first,
        ready("--config", str(GRAPHS), **settings) as second,
        first.client() as one,
        second.client() as other,
    ):
        one.timeout = other.timeout = 60

        async def talk(number: int) -> str:
            """Three turns of a thread, in turn with both processes."""
            last, said = None, {}
            for turn, client in enumerate((one, other, one)):
                body = {"input": f"{number}-{turn}", "previous_response_id": last}
                answer = await client.post("/v1/responses", json=body)
                assert answer.status_code == 200, answer.text
                said = answer.json()
                last = said["id"]
            return text_of(said)

        told = await asyncio.gather(*(talk(number) for number in range(50)))
        assert told == [f"{number}-0 | {number}-1 | {number}-2" for number in range(50)]

        async with one.stream("POST", "/responses", json={"input": "wait", "stream": True, **SHARED}) as waiting:
            lines = waiting.aiter_lines()
            # The run has the conversation before its first event leaves.
            assert "response.created" in await anext(lines)
            refused = await other.post("/responses", json={"input": "too early", **SHARED})
            assert refused.status_code == 409
            first.process.kill()
            with pytest.raises(httpx.HTTPError):
                async for _ in lines:
                    pass
        async with asyncio.timeout(LEASE_SECONDS * 3):
            while (answer := await other.post("/responses", json={"input": "now", **SHARED})).status_code == 409:
                pass
        assert answer.json()["status"] == "completed"
        assert text_of(answer.json()).endswith("now")
        [running] = re.findall(r"resp_\w+", refused.json()["error"]["message"])
        lost = (await other.get(f"/responses/{running}")).json()
        assert (lost["status"], lost["error"]["code"]) == ("failed", "process_lost")
