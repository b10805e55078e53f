"""The logs of stored runs that have ended: how long they are kept, and how many."""

import asyncio
from typing import Any

import anyio
import pytest
from tests.graphs.scripted import says
from tests.runs.registered import ANN, BOB, answer, rest, some_runs
from tests.runs.running import chain, speaking
from tests.runs.stored import Chat

from graph_agent.errors import RunNotFound
from graph_agent.identity.owner import Owner
from graph_agent.runs.kept_logs import KeptLogs

pytestmark = pytest.mark.anyio


async def talk(store: Any, *, turns: int, kept: KeptLogs | None = None, **options: Any) -> tuple[Any, list[str]]:
    """The runs of a conversation, and their ids."""
    runs = some_runs(**options)
    if kept is not None:
        runs.kept = kept
    chat, ids = Chat(chain(answer), store, runs=runs), []
    for _ in range(turns):
        await chat.say("Hi")
        ids.append(chat.last or "")
    return runs, ids


def known(runs: Any, ids: list[str]) -> list[bool]:
    """Which of the runs can still be joined."""
    found = []
    for one in ids:
        try:
            runs.events_of(ANN, one)
        except RunNotFound:
            found.append(False)
        else:
            found.append(True)
    return found


async def test_a_stored_run_can_be_joined_after_its_end_by_its_owner_alone(store: Any) -> None:
    with anyio.fail_after(20):
        runs, [one, two] = await talk(store, turns=2)
        first = await rest(runs.join(ANN, one))
        assert first == [*runs.events_of(ANN, one)]
        assert (first[-1].is_last, [entry.number for entry in first]) == (True, [*range(len(first))])
        assert await rest(runs.join(ANN, two, after=1)) == [*runs.events_of(ANN, two)][2:]
        with pytest.raises(RunNotFound):
            runs.join(BOB, one)
        # Nothing of the run itself is held for it.
        assert not runs._known


async def test_the_logs_of_most_runs_are_kept_and_the_oldest_are_forgotten(store: Any) -> None:
    with anyio.fail_after(20):
        runs, ids = await talk(store, turns=5, kept=KeptLogs(seconds=60, most=3))
    assert known(runs, ids) == [False, False, True, True, True]


async def test_all_logs_together_need_no_more_than_so_much_memory(store: Any) -> None:
    with anyio.fail_after(20):
        runs, _ = await talk(store, turns=1)
        size = runs.kept.size
        runs, ids = await talk(store, turns=5, kept=KeptLogs(seconds=60, most_bytes=int(size * 2.5)))
        assert known(runs, ids) == [False, False, False, True, True]
        assert runs.kept.size <= size * 2.5
        # One that is larger than all of it pushes out the others, and is not kept itself.
        chat = Chat(chain(speaking(says(["word "] * 500))), store, runs=runs)
        await chat.say("Go on.")
        assert known(runs, [*ids, chat.last or ""]) == [False] * 6
        assert (len(runs.kept), runs.kept.size) == (0, 0)


async def test_logs_expire_one_after_the_other(store: Any) -> None:
    with anyio.fail_after(20):
        runs, [one] = await talk(store, turns=1, event_log_seconds=0.3)
        assert known(runs, [one]) == [True]
        await asyncio.sleep(0.5)
        assert (known(runs, [one]), runs.kept.size) == ([False], 0)


async def test_no_log_is_kept_where_none_shall_be(store: Any) -> None:
    runs, [one] = await talk(store, turns=1, event_log_seconds=0)
    assert known(runs, [one]) == [False]


async def test_logs_are_forgotten_with_what_they_belong_to(store: Any) -> None:
    with anyio.fail_after(20):
        runs, ids = await talk(store, turns=3)
        ann = Owner.of(ANN)
        runs.kept.forget(Owner.of(BOB))
        runs.kept.forget(ann, response="resp_of_nobody")
        assert known(runs, ids) == [True, True, True]
        runs.kept.forget(ann, response=ids[0])
        assert known(runs, ids) == [False, True, True]
        conversation = (await store.responses.get(ann, ids[1])).conversation
        runs.kept.forget(ann, conversation=conversation)
        assert known(runs, ids) == [False, False, False]
        assert runs.kept.size == 0


async def test_the_end_of_the_service_forgets_them_all(store: Any) -> None:
    runs, ids = await talk(store, turns=2)
    await runs.end(within_seconds=1)
    assert known(runs, ids) == [False, False]
