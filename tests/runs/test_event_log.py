"""A run's events: numbered once, never changed, and read by anyone from any place."""

import asyncio
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_agent.protocol import item_events
from graph_agent.protocol.events import Event
from graph_agent.protocol.json_encoding import encode
from graph_agent.runs.event_log import GATHER_SECONDS, MOST_AT_ONCE, PACKED, Entry, EventLog, Outlet

pytestmark = pytest.mark.anyio


def counted(first: int, count: int) -> Iterator[Event]:
    return ({"n": number} for number in range(first, first + count))


async def numbers(log: EventLog, **options: Any) -> list[int]:
    """What a reader gets, to the end; an entry's number and its event agree."""
    entries = [entry async for batch in log.read(quiet_seconds=5, **options) for entry in batch]
    assert [entry.event["sequence_number"] for entry in entries] == [entry.number for entry in entries]
    assert [entry.event["n"] for entry in entries] == [entry.number for entry in entries]
    return [entry.number for entry in entries]


async def test_what_waits_is_handed_over_at_once_and_in_order() -> None:
    log = EventLog()
    log.append(counted(0, 3))
    log.append(counted(3, 2))
    log.end()
    batches = [batch async for batch in log.read(quiet_seconds=5)]
    assert [[entry.number for entry in batch] for batch in batches] == [[0, 1, 2, 3, 4]]


async def test_silence_is_an_empty_batch_and_not_the_end() -> None:
    log = EventLog()
    batches = log.read(quiet_seconds=0.01)
    with anyio.fail_after(20):
        assert not await anext(batches)
        log.append(counted(0, 1))
        log.end()
        assert [[entry.number for entry in batch] async for batch in batches if batch] == [[0]]


async def test_many_readers_each_get_every_event_wherever_they_begin_and_however_slow_they_are() -> None:
    log = EventLog()

    async def slow() -> list[int]:
        seen = []
        async for batch in log.read(quiet_seconds=5):
            seen += [entry.number for entry in batch]
            await asyncio.sleep(0.001)
        return seen

    with anyio.fail_after(20):
        readers = [asyncio.create_task(one) for one in (slow(), numbers(log), numbers(log, after=700), slow())]
        for first in range(0, 2000, 10):
            log.append(counted(first, 10))
            await asyncio.sleep(0)
        late = asyncio.create_task(numbers(log, after=1990))
        await asyncio.sleep(0)
        log.end()
        every = [*range(2000)]
        assert [await one for one in readers] == [every, every, every[701:], every]
        assert await late == every[1991:]
        assert await numbers(log) == every
        assert await numbers(log, after=1999) == []


async def test_a_reader_far_behind_is_not_handed_all_of_it_at_once() -> None:
    log = EventLog()
    log.append(counted(0, 3 * MOST_AT_ONCE + 1))
    log.end()
    assert [len(batch) async for batch in log.read(quiet_seconds=5)] == [*[MOST_AT_ONCE] * 3, 1]


async def test_an_event_is_kept_as_it_was_when_it_was_appended() -> None:
    log, item = EventLog(), {"status": "in_progress"}
    log.append([{"item": item}])
    item["status"] = "completed"
    log.append([{"item": item}])
    log.end()
    (batch,) = [batch async for batch in log.read(quiet_seconds=5)]
    assert [entry.event["item"]["status"] for entry in batch] == ["in_progress", "completed"]
    assert log.size == sum(len(entry.data) for entry in batch)


async def test_a_reader_that_leaves_is_forgotten() -> None:
    log = EventLog()
    reading = asyncio.create_task(numbers(log))
    await asyncio.sleep(0)
    assert log._readers
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert not log._readers
    log.append(counted(0, 1))
    log.end()
    assert await numbers(log) == [0]


async def test_tokens_are_gathered_for_a_moment_and_the_end_is_not_waited_for() -> None:
    log, batches = EventLog(), []
    token = {"type": "response.output_text.delta"}

    async def read() -> None:
        async for batch in log.read(quiet_seconds=5):
            batches.append([entry.number for entry in batch])

    with anyio.fail_after(20):
        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        log.append([dict(token)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(3):
            log.append([dict(token)])
            await asyncio.sleep(0)
        assert batches == [[0]]
        await asyncio.sleep(2 * GATHER_SECONDS)
        assert batches == [[0], [1, 2, 3]]
        log.end()
        await reading


async def test_an_outlet_gets_a_token_in_the_call_that_appends_it_and_the_task_of_its_reader_gets_the_end() -> None:
    log, outlet, taken, yielded = EventLog(), Outlet(), list[int](), list[int]()

    def take(batch: Sequence[Entry]) -> bool:
        taken.extend(entry.number for entry in batch)
        return True

    async def read() -> None:
        async for batch in log.read(quiet_seconds=5, outlet=outlet):
            yielded.extend(entry.number for entry in batch)

    with anyio.fail_after(20):
        reading = asyncio.create_task(read())
        log.append([{"type": "response.created"}])
        await asyncio.sleep(0)
        outlet.take = take
        await asyncio.sleep(0)
        log.append([{"type": "response.output_text.delta"}])
        assert taken == [1]
        log.append([{"type": "response.output_text.delta"}])
        assert taken == [1], "the next tokens are gathered"
        log.append([{"type": "response.output_text.done"}])
        assert taken == [1, 2, 3], "and nothing else waits for that"
        log.append([{"type": "response.completed"}])
        log.end()
        await reading
    assert taken == [1, 2, 3]
    assert yielded == [0, 4]


KINDS = st.sampled_from(["response.output_text.delta", "response.output_item.done", "error"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(KINDS, st.booleans(), st.sampled_from([0, 0, 1, 3, 8])), max_size=25))
def test_an_outlet_that_refuses_what_it_likes_and_its_reader_get_each_event_once_and_in_order(
    events: list[tuple[str, bool, int]],
) -> None:
    async def read() -> list[int]:
        log, outlet, seen, willing = EventLog(), Outlet(), list[int](), True

        def take(batch: Sequence[Entry]) -> bool:
            if willing:
                seen.extend(entry.number for entry in batch)
            return willing

        async def reading() -> None:
            async for batch in log.read(quiet_seconds=5, outlet=outlet):
                seen.extend(entry.number for entry in batch)

        outlet.take = take
        task = asyncio.create_task(reading())
        for kind, takes, milliseconds in events:
            willing = takes
            log.append([{"type": kind}])
            if milliseconds:
                await asyncio.sleep(milliseconds / 1e3)
        willing = True
        log.end()
        await task
        return seen

    assert asyncio.run(read()) == [*range(len(events))]


async def test_a_reader_whose_outlet_takes_the_last_tokens_learns_at_once_that_the_log_has_ended() -> None:
    """A run that is given away has no terminal event, and its last tokens may still be gathered."""
    log, outlet, taken = EventLog(), Outlet(), list[int]()

    def take(batch: Sequence[Entry]) -> bool:
        taken.extend(entry.number for entry in batch)
        return True

    async def rest() -> list[int]:
        return [entry.number async for batch in log.read(quiet_seconds=60, outlet=outlet) for entry in batch]

    outlet.take = take
    reading = asyncio.create_task(rest())
    await asyncio.sleep(0)
    log.append([item_events.text_delta("msg_1", 0, 0, "one")])
    log.append([item_events.text_delta("msg_1", 0, 0, "two")])
    log.end()
    with anyio.fail_after(5):
        assert taken + await reading == [0, 1]


@given(st.lists(st.integers(0, 7), max_size=20), st.integers(-1, 80))
def test_whatever_is_appended_a_reader_gets_what_follows_its_place(counts: list[int], after: int) -> None:
    async def read() -> list[int]:
        log = EventLog()
        reading = asyncio.create_task(numbers(log, after=after))
        for count in counts:
            log.append(counted(len(log._entries), count))
            await asyncio.sleep(0)
        log.end()
        return await reading

    assert asyncio.run(read()) == [*range(after + 1, sum(counts))]


TEXTS = st.text() | st.sampled_from(
    ['"', "\\", "\n", "\u2028", "\ud83d", '","logprobs":[],"sequence_number":3}', '"delta":"']
)
EVENTS = st.one_of(
    st.builds(item_events.text_delta, st.sampled_from(["msg_1", "msg_2"]), st.just(0), st.just(0), TEXTS),
    st.builds(item_events.reasoning_delta, st.just("rs_1"), st.just(1), TEXTS),
    st.builds(lambda text: item_events.text_delta("msg_1", 0, 0, text) | {"logprobs": [{"token": text}]}, TEXTS),
    st.builds(lambda text: item_events.text_done("msg_1", 0, 0, text), TEXTS),
)


@settings(max_examples=40)
@given(st.lists(st.lists(EVENTS, max_size=PACKED), max_size=12), st.integers(-1, 300))
async def test_tokens_that_are_kept_in_little_memory_are_read_again_byte_for_byte(
    portions: list[list[Event]], after: int
) -> None:
    log, written = EventLog(), []
    for portion in portions:
        log.append(map(dict, portion))
        for event in portion:
            written.append(encode(event | {"sequence_number": len(written)}))
        assert [one.data for one in log.entries()] == written
    log.end()
    read = [entry async for batch in log.read(quiet_seconds=5, after=after) for entry in batch]
    assert [one.data for one in read] == written[after + 1 :]
    assert [one.number for one in read] == [*range(after + 1, len(written))]
    assert log.size == sum(map(len, written))


async def test_tokens_that_were_read_take_a_fifth_of_the_memory_of_their_events() -> None:
    log, count = EventLog(), 20 * PACKED
    tracemalloc.start()
    try:
        for number in range(count):
            log.append([item_events.text_delta("msg_1", 0, 0, f"word{number} ")])
        log.end()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < log.size / 5
    assert log.memory < log.size / 5
