"""Runs in the background on every store: taken, put back, taken over, and ended once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.runs.background import NODES, Nodes, Process, check_log, events_of, record_when_ended
from tests.stores.conftest import (  # noqa: F401
    StoreOf,
    clock,
    postgres_store_of,
    running_postgres,
    sqlite_store_of,
    store_of,
)

from graph_agent.runs import stored_requests

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_of: StoreOf) -> AsyncIterator[Any]:  # noqa: F811
    made = store_of()
    await made.open()
    yield made
    await made.aclose()


def texts(record: Any) -> list[str]:
    return [part["text"] for item in record.response["output"] for part in item["content"]]


async def test_a_queued_run_is_run_once_by_one_of_two_processes(store: Any) -> None:
    nodes = Nodes()
    first, second = Process(store, nodes.graph()), Process(store, nodes.graph()).begin()
    run = await first.submit("Go.")
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    check_log(await events_of(store, run), record)
    await first.aclose()
    await second.aclose()


async def test_a_run_that_is_writing_its_end_is_not_taken_for_one_that_was_taken_over(
    store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written, renewed, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    finish, renew = store.responses.finish, store.runs.renew

    async def finishing(*given: Any) -> None:
        await finish(*given)
        written.set()
        await go_on.wait()

    async def renewing(*given: Any, **named: Any) -> Any:
        had_ended = written.is_set()
        found = await renew(*given, **named)
        if renewed_before:
            renewed.set()
        if had_ended:
            renewed_before.append(found)
        return found

    renewed_before: list[Any] = []
    monkeypatch.setattr(store.responses, "finish", finishing)
    monkeypatch.setattr(store.runs, "renew", renewing)
    process = Process(store, Nodes().graph()).begin()
    with anyio.fail_after(20):
        run = await process.submit("Go.")
        await renewed.wait()
        go_on.set()
        assert (await record_when_ended(store, run)).status == "completed"
        await process.aclose()
    assert run in renewed_before[0].lost
    assert "taken over" not in caplog.text


@pytest.mark.parametrize("held", NODES)
@pytest.mark.parametrize("how", ["kill", "aclose"])
async def test_another_process_goes_on_where_one_stopped(store: Any, held: str, how: str) -> None:
    nodes = Nodes()
    nodes.hold(held)
    first = Process(store, nodes.graph()).begin()
    run = await first.submit("Go.")
    async with asyncio.timeout(20):
        await nodes.at[held].wait()
    if how == "kill":
        await first.kill()
    else:
        await first.aclose()
    nodes.open()
    second = Process(store, nodes.graph()).begin()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    check_log(await events_of(store, run), record)
    assert texts(record) == [f"This is {name}." for name in NODES]
    await second.aclose()


class StoppingStore:
    """A store whose savers stop when a node has ended and what it wrote is committed, before the step's checkpoint."""

    def __init__(self, store: Any, *, node: str) -> None:
        self._store = store
        self._step = NODES.index(node) + 1
        self.stopped = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def checkpointer(self, right: Any = None) -> Any:
        saver = self._store.checkpointer(right)
        aput = saver.aput

        async def stopping(config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            if metadata["step"] == self._step:
                self.stopped.set()
                await asyncio.Event().wait()
            return await aput(config, checkpoint, metadata, new_versions)

        saver.aput = stopping
        return saver


@pytest.mark.parametrize("node", NODES)
async def test_a_node_that_ended_just_before_its_process_was_killed_is_not_the_end_of_the_run(
    store: Any, node: str
) -> None:
    nodes, stopping = Nodes(), StoppingStore(store, node=node)
    first = Process(stopping, nodes.graph()).begin()
    run = await first.submit("Go.")
    async with asyncio.timeout(20):
        await stopping.stopped.wait()
        # What was told is committed a little later.
        while f"This is {node}." not in str(await events_of(store, run)):  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.01)
    await first.kill()
    assert nodes.done[-1] == node
    second = Process(store, nodes.graph()).begin()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("completed", list(NODES))
    check_log(await events_of(store, run), record)
    assert texts(record) == [f"This is {name}." for name in NODES]
    await second.aclose()


async def test_a_request_of_a_newer_version_ends_with_what_to_run(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes()
    newer, older = Process(store, nodes.graph()), Process(store, nodes.graph())
    with monkeypatch.context() as version:
        version.setattr(stored_requests, "VERSION", stored_requests.VERSION + 1)
        run = await newer.submit("Go.")
    older.begin()
    record = await record_when_ended(store, run)
    assert (record.status, nodes.done) == ("failed", [])
    assert record.response["error"]["code"] == "request_unreadable"
    assert "newer version of graph-agent" in record.response["error"]["message"]
    events = await events_of(store, run)
    assert [one["type"] for one in events] == ["response.created", "response.queued", "error", "response.failed"]
    assert [one["sequence_number"] for one in events] == list(range(4))
    await newer.aclose()
    await older.aclose()
