"""From the graph's task to the reader's: nothing lost, nothing unbounded."""

import asyncio
from collections.abc import Iterator

import anyio
import pytest

from graph_agent.protocol.events import Event
from graph_agent.runs.relay import CAPACITY, Relay

pytestmark = pytest.mark.anyio


def numbered(first: int, count: int) -> Iterator[Event]:
    return ({"n": number} for number in range(first, first + count))


async def test_what_waits_is_handed_over_at_once_and_in_order() -> None:
    relay = Relay()
    await relay.put(numbered(0, 3))
    await relay.put(numbered(3, 2))
    relay.end()
    assert [batch async for batch in relay.batches(quiet_seconds=5)] == [list(numbered(0, 5))]


async def test_silence_is_an_empty_batch_and_not_the_end() -> None:
    relay = Relay()
    batches = relay.batches(quiet_seconds=0.01)
    with anyio.fail_after(5):
        assert await anext(batches) == []
        await relay.put(numbered(0, 1))
        relay.end()
        assert [batch async for batch in batches if batch] == [[{"n": 0}]]


async def test_a_writer_far_ahead_waits_for_its_reader() -> None:
    relay = Relay()
    ahead = asyncio.Event()

    async def write() -> None:
        for number in range(3 * CAPACITY):
            if number == CAPACITY - 1:
                ahead.set()
            await relay.put(numbered(number, 1))
        relay.end()

    writer = asyncio.create_task(write())
    with anyio.fail_after(5):
        await ahead.wait()
        await anyio.wait_all_tasks_blocked()
        assert not writer.done()
        batches = [batch async for batch in relay.batches(quiet_seconds=5)]
        await writer
    assert [event for batch in batches for event in batch] == list(numbered(0, 3 * CAPACITY))
    assert max(map(len, batches)) <= CAPACITY


async def test_an_ending_is_left_even_with_a_reader_who_is_behind() -> None:
    relay = Relay()
    relay.leave(numbered(0, CAPACITY + 10))
    relay.leave(numbered(CAPACITY + 10, 1))
    relay.end()
    events = [event async for batch in relay.batches(quiet_seconds=5) for event in batch]
    assert events == list(numbered(0, CAPACITY + 11))
