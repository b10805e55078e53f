"""Runs that begin by the clock: once each over two processes, late, skipped, put off, and never silently lost."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.runs.background import NODES, Nodes, Process, record_when_ended
from tests.stores.conftest import (  # noqa: F401
    StoreOf,
    clock,
    postgres_store_of,
    running_postgres,
    sqlite_store_of,
    store_of,
)

from graph_agent.app_context import AppContext
from graph_agent.errors import StoreUnavailable
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.requests import parse_request
from graph_agent.scheduling.cron_lines import CronLine
from graph_agent.scheduling.schedule_file import Schedule
from graph_agent.scheduling.scheduler import Scheduler
from graph_agent.settings import Settings
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

UTC = ZoneInfo("UTC")
REPORTS = Caller("reports")
SEVEN = datetime(2026, 11, 30, 7, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> AsyncIterator[Any]:
    made = MemoryStore()
    await made.open()
    yield made
    await made.aclose()


def parse(body: bytes) -> Any:
    return parse_request(body, graphs=["agent"], stores=True, stored_by_default=True, background_served=True)


def schedule(name: str = "daily", cron: str = "0 7 * * *", *, alone: bool = True, **request: Any) -> Schedule:
    return Schedule(
        name=name,
        cron=CronLine(cron, UTC),
        owner=REPORTS,
        alone=alone,
        grace_seconds=HOUR,
        request={"input": "What happened?", **request},
        graph=None,
    )


class Machine:
    """A process with schedules and a clock that a test sets."""

    def __init__(self, store: Any, *schedules: Schedule, now: float, **limits: Any) -> None:
        async def opened() -> Any:
            await self.answers.wait()
            return store

        self.answers = asyncio.Event()
        """The store answers."""
        self.answers.set()
        self.now = now
        self.nodes = Nodes()
        self.store = store
        self.process = Process(store, self.nodes.graph(), **limits)
        self.scheduler = Scheduler(
            schedules or [schedule()],
            runs=self.process.runs,
            store=opened,
            app=AppContext(Settings(), {}),
            graphs=self.process.graphs,
            parse=parse,
            clock=lambda: self.now,
            retry_seconds=0.02,
        )

    async def look(self, now: float) -> float:
        self.now = now
        return await self.scheduler.look()

    async def aclose(self) -> None:
        await self.scheduler.aclose()
        await self.process.aclose()


async def begun(store: Store) -> list[Any]:
    """The responses of the schedules, the oldest first."""
    from graph_agent.stores.records import Page

    owner, found = Owner.of(REPORTS), []
    conversations, _ = await store.responses.conversations(owner, Page(order="asc"))
    for one in conversations:
        responses, _ = await store.responses.responses_of(owner, one.id, Page(order="asc"))
        found += responses
    return sorted(found, key=lambda one: one.created_at)


async def test_a_time_begins_one_run_over_two_processes_and_the_next_time_another_one(store_of: StoreOf) -> None:  # noqa: F811
    stores = [store_of(), store_of()]
    for one in stores:
        await one.open()
    machines = [Machine(one, now=SEVEN - HOUR) for one in stores]
    for number, day in enumerate((0, DAY, 2 * DAY), 1):
        for _ in range(3):
            await asyncio.gather(*(one.look(SEVEN + day + 0.5) for one in machines))
            # Until then the next run would be skipped.
            for response in await begun(stores[0]):
                machines[0].process.begin() if number == 1 else None
                await record_when_ended(stores[0], response.id, owner=REPORTS)
        assert len(await begun(stores[0])) == number
    for machine, one in zip(machines, stores, strict=True):
        await machine.aclose()
        await one.aclose()


async def test_a_run_has_the_request_of_the_file_the_owner_and_its_time(store: Any) -> None:
    machine = Machine(store, schedule(metadata={"team": "red"}, instructions="Be brief."), now=SEVEN - 1)
    machine.process.begin()
    assert await machine.look(SEVEN - 1) == 1
    assert await begun(store) == []
    await machine.look(SEVEN)
    [response] = await begun(store)
    record = await record_when_ended(store, response.id, owner=REPORTS)
    assert (record.status, machine.nodes.done) == ("completed", list(NODES))
    metadata = {"team": "red", "schedule": "daily", "scheduled_for": "2026-11-30T07:00:00Z"}
    assert metadata.items() <= record.response["metadata"].items()
    assert (record.response["background"], record.response["instructions"]) == (True, "Be brief.")
    assert "What happened?" in json.dumps(record.input)
    await machine.aclose()


async def test_a_new_schedule_begins_with_its_next_time(store: Any) -> None:
    machine = Machine(store, now=SEVEN + 60)
    await machine.look(SEVEN + 60)
    assert await begun(store) == []
    await machine.look(SEVEN + DAY)
    assert len(await begun(store)) == 1
    await machine.aclose()


async def test_the_latest_time_is_made_up_for_and_the_earlier_ones_are_told(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graph_agent")
    before = Machine(store, now=SEVEN - HOUR)
    await before.look(SEVEN - HOUR)
    await before.aclose()
    after = Machine(store, now=SEVEN + 3 * DAY + HOUR / 2)
    await after.look(after.now)
    assert len(await begun(store)) == 1
    assert "the run of 2026-12-03T07:00+00:00 begins as resp_" in caplog.text
    assert "3 times were missed, from 2026-11-30T07:00+00:00 to 2026-12-02T07:00+00:00" in caplog.text
    await after.aclose()


async def test_a_time_beyond_its_grace_is_missed_and_told_by_one_process(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = Machine(store, now=SEVEN - HOUR)
    await first.look(SEVEN - HOUR)
    machines = [Machine(store, now=SEVEN + 2 * HOUR) for _ in range(3)]
    await asyncio.gather(*(one.look(one.now) for one in machines))
    assert await begun(store) == []
    assert caplog.text.count("1 times were missed, from 2026-11-30T07:00+00:00") == 1
    for one in (first, *machines):
        await one.aclose()


async def test_of_very_many_missed_times_it_is_told_that_there_are_more(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(store, schedule(cron="* * * * *"), now=SEVEN)
    await machine.look(SEVEN)
    await machine.look(SEVEN + 30 * DAY)
    assert "at least 1000 times were missed" in caplog.text
    await machine.aclose()


async def test_no_run_begins_while_the_earlier_one_goes_on_unless_the_schedule_allows_it(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(store, schedule("one"), schedule("both", alone=False), now=SEVEN - 1)
    await machine.look(SEVEN - 1)
    await machine.look(SEVEN)
    assert len(await begun(store)) == 2
    await machine.look(SEVEN + DAY)
    assert len(await begun(store)) == 3
    assert "schedule one: the run of 2026-12-01T07:00+00:00 is skipped, because the run of resp_" in caplog.text
    # It is not made up for when the earlier one has ended.
    machine.process.begin()
    for response in await begun(store):
        await record_when_ended(store, response.id, owner=REPORTS)
    await machine.look(SEVEN + DAY + 60)
    assert len(await begun(store)) == 3
    await machine.look(SEVEN + 2 * DAY)
    assert len(await begun(store)) == 5
    await machine.aclose()


async def test_a_run_for_which_the_queue_has_no_place_begins_when_it_has_one(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(store, now=SEVEN - 1, queued=1)
    other = await machine.process.submit("Go.")
    await machine.look(SEVEN - 1)
    for late in range(3):
        assert await machine.look(SEVEN + late) == 0.02
    assert await begun(store) == []
    assert caplog.text.count("cannot begin yet: too_many_runs") == 1
    machine.process.begin()
    await record_when_ended(store, other)
    await machine.look(SEVEN + 5)
    assert len(await begun(store)) == 1
    await machine.aclose()


async def test_a_run_that_never_got_a_place_is_told_with_the_next_time(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(store, schedule(cron="*/10 * * * *"), now=SEVEN - 1, queued=1)
    await machine.process.submit("Go.")
    await machine.look(SEVEN - 1)
    await machine.look(SEVEN)
    assert machine.process.background is not None
    machine.process.background.limits = type(machine.process.background.limits)(
        here=8, per_owner=8, in_all=8, queued=9, seconds=60.0
    )
    await machine.look(SEVEN + 600)
    assert len(await begun(store)) == 1
    assert "1 times were missed, from 2026-11-30T07:00+00:00" in caplog.text
    await machine.aclose()


async def test_the_runs_of_one_conversation_follow_each_other(store: Any) -> None:
    machine = Machine(store, schedule(alone=False, context={"conversation_id": "daily"}), now=SEVEN - 1)
    await machine.look(SEVEN - 1)
    await machine.look(SEVEN)
    # The conversation is busy.
    assert await machine.look(SEVEN + DAY) == 0.02
    machine.process.begin()
    for response in await begun(store):
        await record_when_ended(store, response.id, owner=REPORTS)
    await machine.look(SEVEN + DAY + 10)
    first, second = await begun(store)
    assert (first.conversation, second.conversation, second.parent) == ("daily", "daily", first.id)
    await machine.aclose()


async def test_a_request_that_is_refused_is_told_and_the_next_time_comes(
    store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(store, schedule(previous_response_id="resp_gone"), now=SEVEN - 1)
    await machine.look(SEVEN - 1)
    assert await machine.look(SEVEN) > 1
    assert "the run of 2026-11-30T07:00+00:00 is refused: " in caplog.text
    await machine.look(SEVEN + DAY)
    assert "the run of 2026-12-01T07:00+00:00 is refused: " in caplog.text
    await machine.aclose()


async def test_one_schedule_does_not_stop_the_others_and_the_store_may_be_away(
    store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    last_tick = store.schedules.last_tick
    away: Callable[[], Exception] | None = None

    async def faulty(owner: Any, name: str, **options: Any) -> Any:
        if name == "a" and away is not None:
            raise away()
        return await last_tick(owner, name, **options)

    monkeypatch.setattr(store.schedules, "last_tick", faulty)
    machine = Machine(store, schedule("a"), schedule("b"), now=SEVEN - 1)
    await machine.look(SEVEN - 1)
    away = lambda: RuntimeError("hunter2")  # noqa: E731
    await machine.look(SEVEN)
    away = lambda: StoreUnavailable("the database does not answer")  # noqa: E731
    await machine.look(SEVEN)
    away = None
    assert len(await begun(store)) == 1
    await machine.look(SEVEN + 5)
    assert len(await begun(store)) == 2
    assert "schedule a could not be looked at: RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text
    await machine.aclose()


async def test_a_process_that_drains_begins_nothing_and_another_one_does(store: Any) -> None:
    draining, other = Machine(store, now=SEVEN - 1), Machine(store, now=SEVEN - 1)
    await draining.look(SEVEN - 1)
    await other.look(SEVEN - 1)
    await draining.process.runs.drain(within_seconds=0)
    await draining.look(SEVEN)
    assert await begun(store) == []
    await other.look(SEVEN)
    assert len(await begun(store)) == 1
    await draining.aclose()
    await other.aclose()


async def test_it_looks_by_itself_until_it_is_closed(store: Any) -> None:
    machine = Machine(store, schedule(cron="* * * * *"), now=SEVEN - 0.05)
    machine.scheduler.begin()
    await asyncio.sleep(0.01)
    machine.now = SEVEN
    async with asyncio.timeout(20):
        while not await begun(store):  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.01)
    await machine.aclose()
    machine.now = SEVEN + 60
    await asyncio.sleep(0.1)
    assert len(await begun(store)) == 1


async def test_a_time_that_comes_while_the_store_is_asked_is_not_left_to_the_next_look(store: Any) -> None:
    machine = Machine(store, now=SEVEN - 1)
    machine.answers.clear()
    looking = asyncio.create_task(machine.look(SEVEN - 1))
    await asyncio.sleep(0.01)
    machine.now = SEVEN
    machine.answers.set()
    assert await looking == 0
    await machine.look(SEVEN)
    assert len(await begun(store)) == 1
    await machine.aclose()


async def test_the_data_of_the_owner_can_be_deleted_and_the_schedule_goes_on(store: Any) -> None:
    machine = Machine(store, now=SEVEN - 1)
    machine.process.begin()
    await machine.look(SEVEN - 1)
    await machine.look(SEVEN)
    [response] = await begun(store)
    await record_when_ended(store, response.id, owner=REPORTS)
    await store.forget(Owner.of(REPORTS))
    await machine.look(SEVEN + 1)
    assert await begun(store) == []
    await machine.look(SEVEN + DAY)
    assert len(await begun(store)) == 1
    await machine.aclose()
