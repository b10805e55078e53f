"""Parts of a graph's stream are handed on in order, on the loop of the run, and at once if nobody else must wait."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from graph_agent.runs.parts import FAST, FAST_SECONDS, GATHER_SECONDS, MOST_GATHERED, Parts
from graph_agent.runs.stream import Part

pytestmark = pytest.mark.anyio

HIDDEN: contextvars.ContextVar[str] = contextvars.ContextVar("hidden", default="unknown")


def token(text: str) -> Part:
    return ((), "messages", text)


def update(text: str) -> Part:
    return ((), "updates", text)


class Told:
    """What was handed on. Parts named `long` take turns of the loop, and parts named `bad` cannot be told."""

    def __init__(self, **options: Any) -> None:
        self.texts: list[str] = []
        self.failures: list[BaseException] = []
        self.threads: set[int] = set()
        self.both = asyncio.Event()
        self.parts = Parts(at_once=self._at_once, slowly=self._slowly, failed=self.failures.append, **options)

    def _at_once(self, part: Part) -> bool:
        if part[2] == "bad":
            raise ValueError
        if part[2] == "long":
            return False
        self.threads.add(threading.get_ident())
        self.texts.append(part[2])
        if len(self.texts) == 2:
            self.both.set()
        return True

    async def _slowly(self, part: Part) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        self.texts.append(part[2])


async def test_a_token_that_comes_alone_is_handed_on_in_the_call_that_brings_it() -> None:
    told = Told()
    told.parts.put(token("a"))
    assert told.texts == ["a"]


async def test_tokens_that_follow_fast_are_handed_on_together_and_before_any_other_part() -> None:
    told = Told()
    for one in (token("a"), token("b"), token("c")):
        told.parts.put(one)
    assert told.texts == ["a"]
    told.parts.put(update("returned"))
    assert told.texts == ["a", "b", "c", "returned"]


async def test_gathered_tokens_do_not_wait_for_another_part() -> None:
    told = Told()
    told.parts.put(token("a"))
    told.parts.put(token("b"))
    async with asyncio.timeout(10):
        await told.both.wait()
    assert told.texts == ["a", "b"]


async def test_a_model_that_never_pauses_has_its_tokens_handed_on_in_portions() -> None:
    told = Told()
    for number in range(1 + 2 * MOST_GATHERED):
        told.parts.put(token(str(number)))
    assert len(told.texts) > MOST_GATHERED
    told.parts.flush()
    assert told.texts == [str(number) for number in range(1 + 2 * MOST_GATHERED)]


@pytest.mark.parametrize("pace", ["slow", "fast"])
async def test_only_the_tokens_of_a_fast_stream_are_gathered_for_longer(
    pace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, now = asyncio.get_running_loop(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    told = Told()

    async def after(seconds: float) -> int:
        """How many tokens are handed on by then."""
        now[0] += seconds
        for _ in range(3):
            await asyncio.sleep(0)
        return len(told.texts)

    told.parts.put(token("first"))
    for number in range(int(FAST * GATHER_SECONDS) if pace == "fast" else 1):
        told.parts.put(token(str(number)))
    before = await after(GATHER_SECONDS)
    assert before > 1
    told.parts.put(token("later"))
    assert await after(GATHER_SECONDS) == before + (pace == "slow")
    assert await after(FAST_SECONDS - GATHER_SECONDS) == before + 1


async def test_without_gathering_each_token_is_handed_on_at_once() -> None:
    told = Told(gathers=False)
    told.parts.put(token("a"))
    told.parts.put(token("b"))
    assert told.texts == ["a", "b"]


async def test_what_comes_behind_a_part_that_takes_long_waits_for_it() -> None:
    told = Told()
    for one in (token("a"), update("long"), token("b"), update("c")):
        told.parts.put(one)
    assert told.texts == ["a"]
    await told.parts.caught_up()
    assert told.texts == ["a", "long", "b", "c"]


async def test_parts_of_a_nodes_thread_are_handed_on_by_the_loop_in_their_order() -> None:
    told = Told()
    sent = [f"t{number}" for number in range(20)]

    def node() -> None:
        for one in sent:
            told.parts.put(token(one))

    await asyncio.to_thread(node)
    await told.parts.caught_up()
    assert told.texts == sent
    assert told.threads == {threading.get_ident()}


async def test_a_part_is_handed_on_with_the_variables_of_the_run_wherever_it_arises() -> None:
    HIDDEN.set("of the run")
    seen: list[str] = []

    def at_once(part: Part) -> bool:
        seen.append(HIDDEN.get())
        return True

    async def slowly(part: Part) -> None:
        """Nothing takes long here."""

    parts = Parts(at_once=at_once, slowly=slowly, failed=lambda error: None)
    for one in (token("a"), token("b"), update("c")):
        contextvars.Context().run(parts.put, one)
    assert seen == ["of the run"] * 3


@pytest.mark.parametrize("kind", [token, update])
async def test_a_part_that_cannot_be_told_ends_the_stream_and_not_the_node(kind: Any) -> None:
    told = Told()
    told.parts.put(kind("bad"))
    told.parts.put(token("more"))
    await told.parts.caught_up()
    assert [type(one) for one in told.failures] == [ValueError]
    assert told.texts == []


async def test_nothing_is_handed_on_after_the_end() -> None:
    told = Told()
    for one in (token("a"), token("b"), update("long"), token("c")):
        told.parts.put(one)
    told.parts.close()
    told.parts.put(token("d"))
    await told.parts.caught_up()
    assert told.texts == ["a", "b"]
