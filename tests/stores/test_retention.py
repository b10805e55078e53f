"""Conversations that nobody continues are deleted after the days that the settings say."""

import asyncio
from types import SimpleNamespace

import anyio
import pytest
from tests.stores.accepted import Accepted, batch
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, Clock, Turns, ids

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.records import Page
from graph_agent.stores.retention import DAY, ExpiringStore

pytestmark = pytest.mark.anyio


async def test_a_conversation_that_was_idle_for_too_long_is_gone_after_a_start(store_of: StoreOf, clock: Clock) -> None:
    before = store_of()
    await before.open()
    await Turns(before, clock, "old").turn("resp_1")
    clock.now += 29 * DAY
    await Turns(before, clock, "recent").turn("resp_2")
    clock.now += 2 * DAY
    await before.aclose()
    store = ExpiringStore(store_of(), days=30, clock=clock)
    await store.open()
    with anyio.fail_after(20):
        while await store.responses.find_conversation(ANN, "old"):  # noqa: ASYNC110 - the store itself is asked
            await asyncio.sleep(0)
    found, _ = await store.responses.conversations(ANN, Page())
    await store.aclose()
    assert ids(found) == ["recent"]


async def test_a_store_that_does_not_answer_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph_agent.stores.retention.INTERVAL_SECONDS", 0)
    asked, answered = [], asyncio.Event()

    async def expire(*, idle_since: float) -> int:
        asked.append(idle_since)
        if len(asked) < 3:
            raise StoreUnavailable("the database does not answer")
        answered.set()
        return 0

    async def nothing() -> None:
        pass

    silent = SimpleNamespace(responses=SimpleNamespace(expire=expire), open=nothing, aclose=nothing)
    store = ExpiringStore(silent, days=1, clock=lambda: 2 * DAY)  # type: ignore[arg-type]
    await store.open()
    with anyio.fail_after(20):
        await answered.wait()
    await store.aclose()
    count = len(asked)
    await asyncio.sleep(0)
    assert len(asked) == count
    assert set(asked) == {DAY}


async def test_events_of_a_run_that_ended_long_ago_are_deleted_while_the_store_is_open(
    store_of: StoreOf, clock: Clock
) -> None:
    store = ExpiringStore(store_of(), event_seconds=0.05, clock=clock)
    await store.open()
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    await runs.finish(right, last=batch(right, 0, 3))
    with anyio.fail_after(20):
        while await store.runs.events(ANN, "resp_1", after=-1, most=10):  # noqa: ASYNC110 - the store itself is asked
            await asyncio.sleep(0.01)
    assert await store.responses.find_conversation(ANN, "conv_resp_1")
    await store.aclose()
