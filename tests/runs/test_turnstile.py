"""Of many that come at the same time, one passes in each turn of the event loop."""

import asyncio
from collections.abc import Callable

import pytest

from graph_agent.runs.turnstile import SECONDS_EACH, Turnstile

pytestmark = pytest.mark.anyio


async def passing(turnstile: Turnstile, passed: Callable[[], None]) -> None:
    await turnstile.passed()
    passed()


async def test_who_comes_alone_does_not_wait() -> None:
    turnstile, passed = Turnstile(), list[str]()
    waiting = passing(turnstile, lambda: passed.append("alone"))
    with pytest.raises(StopIteration):
        waiting.send(None)
    assert passed == ["alone"]


async def test_of_many_one_passes_in_each_turn_in_the_order_in_which_they_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turnstile, passed = Turnstile(), list[str]()
    turns = 0
    # A turn may take long on a busy machine, and then more pass.
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 0.0)

    def note(number: int) -> Callable[[], None]:
        return lambda: passed.append(f"{number} in turn {turns}")

    tasks = [asyncio.create_task(passing(turnstile, note(number))) for number in range(5)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        turns += 1
    first = int(passed[1].rpartition(" ")[2])
    assert passed == ["0 in turn 0", *(f"{number} in turn {first + number - 1}" for number in range(1, 5))]


async def test_more_pass_after_a_turn_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    turnstile, passed = Turnstile(), list[int]()
    loop, now = asyncio.get_running_loop(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    tasks = [asyncio.create_task(passing(turnstile, lambda: passed.append(1))) for _ in range(13)]
    at_once: list[int] = []
    while not all(task.done() for task in tasks):
        before = len(passed)
        await asyncio.sleep(0)
        now[0] += 4.5 * SECONDS_EACH
        at_once.append(len(passed) - before)
    assert [count for count in at_once if count] == [1, 4, 4, 4]


async def test_nobody_waits_for_one_who_has_left() -> None:
    turnstile, passed = Turnstile(), list[str]()
    tasks = [asyncio.create_task(passing(turnstile, lambda: passed.append("passed"))) for _ in range(4)]
    await asyncio.sleep(0)
    for task in tasks[1:3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passed == ["passed"] * 2


def test_on_another_loop_nobody_waits_for_those_of_the_first_one() -> None:
    turnstile, passed = Turnstile(), list[str]()

    async def broken_off() -> None:
        await turnstile.passed()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(broken_off())
    loop.close()

    async def again() -> None:
        async with asyncio.timeout(10):
            await asyncio.gather(*(passing(turnstile, lambda: passed.append("passed")) for _ in range(3)))

    asyncio.run(again())
    assert passed == ["passed"] * 3
