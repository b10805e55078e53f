"""Processes that share a store serve each other's runs: their streams, their output so far, and their cancellation."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.conftest import Service, Upstream, serving, upstream_server
from tests.serving.joining import Joined, begun, joined
from tests.serving.test_requests import check_error
from tests.stores.accepted import Accepted
from tests.stores.postgres_server import PostgresServer, postgres_server
from tests.stores.turns import Clock

from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol import events, item_events
from graph_agent.protocol.events import Event, ResponseHead
from graph_agent.stores.postgres_sign_in import UrlSignIn
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.run_records import EventBatch
from graph_agent.stores.sqlite_store import SqliteStore
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

OWNER = Owner.of(Caller("local"))

SEEN = "response.output_text.delta"


class Place:
    """One store, which several processes use."""

    def __init__(self, kind: str, folder: Path, postgres: PostgresServer | None) -> None:
        self.kind = kind
        self._path = folder / "store.sqlite"
        self._postgres = postgres
        self._schema = f"joining_{secrets.token_hex(4)}"

    @property
    def settings(self) -> dict[str, Any]:
        if self._postgres is not None:
            return {"store": self._postgres.url, "store_schema": self._schema}
        return {"store": f"sqlite:{self._path}", "shares_store": True}

    def opened_by_test(self) -> Store:
        """The store for the test itself, which has no process and so no lease."""
        if self._postgres is None:
            return SqliteStore(self._path)
        url = self._postgres.url
        return PostgresStore(lambda: UrlSignIn(url, {}), schema=self._schema)


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    postgres = request.getfixturevalue("running_postgres") if request.param == "postgres" else None
    return Place(request.param, tmp_path_factory.mktemp("store"), postgres)


@pytest.fixture(scope="module")
def two(place: Place) -> Iterator[tuple[Service, Service]]:
    """Two services with one store."""
    with ExitStack() as stack:
        yield stack.enter_context(serving(**place.settings)), stack.enter_context(serving(**place.settings))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with upstream_server() as running:
        yield running


@pytest.fixture
async def store(place: Place, two: tuple[Service, Service]) -> AsyncIterator[Store]:
    """The same store, as the test writes to it."""
    store = place.opened_by_test()
    await store.open()
    yield store
    await store.aclose()


# -- streams ----------------------------------------------------------------------------------------------------------


async def test_a_client_that_comes_back_to_another_process_each_time_misses_nothing(
    two: tuple[Service, Service], upstream: Upstream
) -> None:
    here, there = two
    async with here.client() as one, there.client() as other:
        with anyio.fail_after(30):
            id_ = await begun(here, upstream)
            address = f"/responses/{id_}?stream=true"
            steady = asyncio.create_task(joined(one, address))
            away = asyncio.create_task(joined(other, address))

            async def speak() -> None:
                for number in range(40):
                    upstream.say(f"word{number} ")
                    await asyncio.sleep(0.02)
                upstream.end()

            speaking = asyncio.create_task(speak())
            dropping, clients = Joined(), 0
            while not dropping.done:
                clients += 1
                after = dropping.numbers[-1] if dropping.numbers else -1
                query = f"{address}&starting_after={after}" if after >= 0 else address
                await joined((one, other)[clients % 2], query, dropping, most=4)
            await speaking
            whole = await steady
            assert (await away).frames == whole.frames
            assert (await joined(other, address)).frames == whole.frames
            assert (await other.get(f"/responses/{id_}")).json() == whole.events[-1]["response"]
    assert dropping.frames == whole.frames
    assert whole.numbers == [*range(len(whole.frames))]
    assert whole.text.count("word") == 40


async def test_an_event_reaches_a_reader_at_another_process_at_once(
    two: tuple[Service, Service], upstream: Upstream
) -> None:
    here, there = two
    async with there.client() as other:
        with anyio.fail_after(20):
            id_ = await begun(here, upstream)
            delays = []
            async with other.stream("GET", f"/responses/{id_}?stream=true") as stream:
                lines = stream.aiter_lines()
                for number in range(12):
                    said = time.monotonic()
                    upstream.say(f"now{number}")
                    while f'"delta":"now{number}"' not in await anext(lines):
                        pass
                    delays.append(time.monotonic() - said)
                upstream.end()
    # The first one waits until the reader listens. A busy machine delays some of the others.
    assert min(delays[1:]) < 0.4, delays


async def test_the_output_so_far_is_read_at_another_process(two: tuple[Service, Service], upstream: Upstream) -> None:
    here, there = two
    async with there.client() as other:
        with anyio.fail_after(20):
            id_ = await begun(here, upstream, address="/v1/responses")
            upstream.say("Half of it.")
            await joined(other, f"/v1/responses/{id_}?stream=true", most=5)
            half = (await other.get(f"/v1/responses/{id_}")).json()
            upstream.end()
    assert half["status"] == "in_progress"
    assert half["output"][0]["content"][0]["text"] == "Half of it."


# -- cancellation -----------------------------------------------------------------------------------------------------


async def test_a_run_is_cancelled_at_another_process_down_to_its_model_call(
    two: tuple[Service, Service], upstream: Upstream
) -> None:
    here, there = two
    async with here.client() as one, there.client() as other:
        with anyio.fail_after(20):
            id_ = await begun(here, upstream)
            reading = asyncio.create_task(joined(other, f"/responses/{id_}?stream=true"))
            upstream.say("Half of it.")
            await joined(one, f"/responses/{id_}?stream=true", most=5)
            answer = await other.post(f"/responses/{id_}/cancel", json={})
            # It would never end by itself.
            await upstream.left.wait()
            read = await reading
            assert (await one.get(f"/responses/{id_}")).json() == answer.json()
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["output"][0]["content"][0]["text"] == "Half of it."
    assert [event["type"] for event in read.events[-2:]] == ["error", "response.failed"]


# -- a process that is gone -------------------------------------------------------------------------------------------


def half_told(id_: str) -> list[Event]:
    """A log that stops in the middle of a text, while a tool is called."""
    head = ResponseHead(model="assistant", id=id_)
    message, call = f"msg_{id_}", f"fc_{id_}"
    return [
        events.lifecycle("response.created", head.response("in_progress")),
        events.lifecycle("response.in_progress", head.response("in_progress")),
        item_events.item_added(0, item_events.message_item(message, "in_progress")),
        item_events.part_added(message, 0, 0, item_events.text_part("")),
        item_events.text_delta(message, 0, 0, "Half "),
        item_events.text_delta(message, 0, 0, "of it."),
        item_events.item_added(1, item_events.function_call_item(call, "call_1", "search", "", "in_progress")),
        item_events.item_done(1, item_events.function_call_item(call, "call_1", "search", "{}", "completed")),
    ]


def as_lines(told: list[Event]) -> tuple[bytes, ...]:
    return tuple(json.dumps(event | {"sequence_number": number}).encode() for number, event in enumerate(told))


async def test_the_stream_of_a_process_that_is_gone_ends_and_its_numbers_follow(
    two: tuple[Service, Service], store: Store
) -> None:
    id_ = f"resp_{secrets.token_hex(12)}"
    # Its clock shows another time, so that its lease has expired.
    told = half_told(id_)
    right = await Accepted(store, Clock()).start(id_, owner=OWNER, events=as_lines(told))
    here, there = two
    async with here.client() as one, there.client() as other:
        with anyio.fail_after(20):
            address = f"/v1/responses/{id_}?stream=true"
            read, half = await joined(one, address), Joined()
            await joined(other, f"{address}&starting_after=3", half)
            missed = await joined(other, f"{address}&starting_after={len(told) - 1}")
            # It was read at its own process, which showed three events more than it could commit.
            more = await joined(other, f"{address}&starting_after={len(told) + 2}")
            response = (await one.get(f"/v1/responses/{id_}")).json()
    # Whoever was only frozen learns it as well.
    assert await store.runs.append([EventBatch(right=right, first=len(told), events=(b"{}",))]) == {id_}
    assert more.numbers == [*range(len(told) + 3, len(told) + 3 + len(missed.frames))]
    assert more.events[-1]["response"]["error"]["code"] == "process_lost"
    assert read.numbers == [*range(len(read.frames))]
    assert half.numbers == read.numbers[4:]
    assert missed.numbers == read.numbers[len(told) :]
    assert [event["type"] for event in read.events[-2:]] == ["error", "response.failed"]
    last = read.events[-1]["response"]
    assert (last["status"], last["error"]["code"]) == ("failed", "process_lost")
    assert last["output"][0]["content"][0]["text"] == "Half of it."
    assert [item["type"] for item in last["output"]] == ["message", "function_call", "function_call_output"]
    closed = [event["item"]["id"] for event in read.events if event["type"] == "response.output_item.done"]
    assert sorted(closed) == sorted(item["id"] for item in last["output"])
    assert (response["status"], response["error"]["code"]) == ("failed", "process_lost")
    assert response["output"][0] == last["output"][0]


async def test_readers_of_a_run_that_waits_in_the_queue_wait_with_it(
    two: tuple[Service, Service], store: Store
) -> None:
    id_ = f"resp_{secrets.token_hex(12)}"
    runs, told = Accepted(store, Clock()), half_told(id_)
    told[0] = events.lifecycle("response.created", ResponseHead(model="assistant", id=id_).response("queued"))
    # Only the process of this test has the token of its user.
    await runs.queue(id_, owner=OWNER, events=as_lines(told[:1]), needs_token=True)
    async with two[0].client() as client:
        with anyio.fail_after(20):
            reading = asyncio.create_task(joined(client, f"/v1/responses/{id_}?stream=true"))
            assert (await client.get(f"/v1/responses/{id_}")).json()["status"] == "queued"
            [claimed] = await runs.claim()
            right = claimed.right
            await store.runs.append([EventBatch(right=right, first=1, events=as_lines(told)[1:])])
            begun_ = await joined(client, f"/v1/responses/{id_}?stream=true", most=len(told))
            in_progress = (await client.get(f"/v1/responses/{id_}")).json()
            end = b'{"type":"response.completed","sequence_number":8}'
            await runs.finish(right, last=EventBatch(right=right, first=len(told), events=(end,)))
            read = await reading
    assert read.numbers == [*range(len(told) + 1)]
    assert begun_.frames == read.frames[:-1]
    assert (in_progress["status"], [item["status"] for item in in_progress["output"]]) == (
        "in_progress",
        ["in_progress", "completed"],
    )


async def test_a_log_that_was_deleted_is_410(two: tuple[Service, Service], store: Store) -> None:
    id_ = f"resp_{secrets.token_hex(12)}"
    runs = Accepted(store, Clock())
    right = await runs.start(id_, owner=OWNER, events=as_lines(half_told(id_)))
    last = EventBatch(right=right, first=8, events=(b'{"type":"response.completed","sequence_number":8}',))
    await runs.finish(right, last=last)
    async with two[0].client() as client:
        address = f"/v1/responses/{id_}"
        assert len((await joined(client, f"{address}?stream=true")).frames) == 9
        await asyncio.sleep(0.01)
        await store.runs.expire_events(older_seconds=0)
        check_error(await client.get(f"{address}?stream=true"), 410, "event_log_expired")
        assert (await client.get(address)).status_code == 200


async def test_another_owner_finds_neither_run_nor_events(two: tuple[Service, Service], store: Store) -> None:
    id_ = f"resp_{secrets.token_hex(12)}"
    await Accepted(store, Clock()).start(id_, owner=Owner("local:ann"), events=as_lines(half_told(id_)))
    async with two[0].client() as client:
        answers: list[httpx.Response] = [
            await client.get(f"/v1/responses/{id_}"),
            await client.get(f"/v1/responses/{id_}?stream=true"),
            await client.post(f"/v1/responses/{id_}/cancel", json={}),
        ]
    for answer in answers:
        check_error(answer, 404, "response_not_found")
    run = await store.runs.get(Owner("local:ann"), id_)
    assert run is not None
    assert not run.cancelled


async def test_a_reader_outlasts_a_restart_of_its_database(upstream: Upstream) -> None:
    with postgres_server() as server:
        settings = {"store": server.url, "store_schema": "restarted", "keepalive_seconds": 0.2}
        with serving(**settings) as here, serving(**settings) as there:
            async with here.client() as one, there.client() as other:
                with anyio.fail_after(60):
                    body = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}}
                    queued = (await one.post("/responses", json=body | {"background": True})).json()
                    address = f"/responses/{queued['id']}?stream=true"
                    readers = [asyncio.create_task(joined(client, address)) for client in (one, other)]
                    await upstream.asked.wait()
                    upstream.say("Before, ")
                    await joined(other, address, most=6)
                    await asyncio.to_thread(server.stop)
                    upstream.say("meanwhile, ")
                    await asyncio.sleep(1)
                    await asyncio.to_thread(server.start)
                    upstream.say("and after.")
                    upstream.end()
                    first, second = [await reader for reader in readers]
                    late = await joined(other, address)
    assert first.text == "Before, meanwhile, and after."
    assert first.frames == second.frames == late.frames
    assert first.numbers == [*range(len(first.frames))]
    assert first.events[-1]["type"] == "response.completed"
