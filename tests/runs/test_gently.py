"""Large histories are read in a thread, and others have their turn meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.runs.conversing import ANN, conversing, invocation_of, says, user

from graph_agent.protocol.fingerprints import NO_TEXTS, STEP
from graph_agent.protocol.item_ids import with_own_ids
from graph_agent.protocol.json_decoding import Pulse
from graph_agent.protocol.reconcile import end_of_history, prefixes_of, texts_with, told_by_others
from graph_agent.runs.gently import is_small, run_gently

pytestmark = pytest.mark.anyio

ITEMS = [one for number in range(2_000) for one in (user(f"question {number}"), says(f"answer {number}"))]
LONG = [user("word " * STEP), says("word " * STEP), user("word")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("items", "small"),
    [
        ([user("hi")], True),
        ([user("hi"), says("Hello!"), user("Well?")], True),
        ([user("x" * 5_000)], False),
        ([user([{"type": "input_image", "image_url": "x" * 5_000}])], False),
        ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "x" * 5_000}], False),
        ([user("hi")] * 1_000, False),
    ],
)
async def test_only_small_work_is_done_on_the_event_loop(items: list[Any], small: bool) -> None:
    here = await run_gently(lambda pulse: threading.get_ident(), items)

    assert is_small(items) is small
    assert (here == threading.get_ident()) is small


async def test_work_that_nobody_waits_for_stops() -> None:
    began, ended = threading.Event(), threading.Event()

    def endless(pulse: Pulse) -> None:
        try:
            while True:
                began.set()
                pulse()
        finally:
            ended.set()

    work = asyncio.ensure_future(run_gently(endless, ITEMS))
    assert await asyncio.to_thread(began.wait, 5)
    work.cancel()

    assert await asyncio.to_thread(ended.wait, 5)


READING: list[Callable[[list[Any], Pulse], Any]] = [
    lambda items, pulse: prefixes_of(items, pulse=pulse),
    lambda items, pulse: texts_with(NO_TEXTS, items, pulse=pulse),
    lambda items, pulse: with_own_ids(items, pulse=pulse),
    lambda items, pulse: told_by_others(enumerate(items), pulse=pulse),
    lambda items, pulse: end_of_history(items, 0, items, pulse=pulse),
]


@pytest.mark.parametrize("read", READING)
def test_all_reading_lets_others_have_their_turn(read: Callable[[list[Any], Pulse], Any]) -> None:
    turns = [0]

    def pulse() -> None:
        turns[0] += 1

    read([item for item in ITEMS if item["role"] == "assistant"] + ITEMS, pulse)
    assert turns[0] >= len(ITEMS) // 2


@pytest.mark.parametrize("read", READING[:2])
def test_a_long_text_is_read_in_steps(read: Callable[[list[Any], Pulse], Any]) -> None:
    turns = [0]

    def pulse() -> None:
        turns[0] += 1

    read(LONG, pulse)
    assert turns[0] >= 2 * 5


async def test_the_event_loop_goes_on_while_a_long_history_is_planned() -> None:
    async with conversing() as server:
        await server.ask(ITEMS[:1], ITEMS[1:2])
        planning = asyncio.ensure_future(server.continuing.plan(ANN, invocation_of([*ITEMS, user("x")]), graph="g"))
        turns = 0
        while not planning.done():
            await asyncio.sleep(0)
            turns += 1

        assert len((await planning)[1].items) == len(ITEMS) - 1
        assert turns > 100
