"""The registry of runs: many readers of one run, slots, grace, owners, and the end of the process."""

import asyncio
from typing import Any

import anyio
import pytest
from langgraph.graph import MessagesState
from tests.graphs.scripted import says
from tests.runs.registered import ANN, BOB, OneGraph, a_request, answer, rest, some_runs, until
from tests.runs.running import chain, speaking

from graph_agent.errors import GraphNotLoaded, RunNotFound, ServiceStopping, TooManyRuns
from graph_agent.runs.registry import MOST_KEPT
from graph_agent.runs.request import Scope

pytestmark = pytest.mark.anyio

DELTA = "response.output_text.delta"


class Waiting:
    """A graph that says something, and then waits until it may go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

        async def wait(state: MessagesState) -> None:
            await self.go_on.wait()

        self.graphs = OneGraph(chain(speaking(says(["Half ", "of it. "]), "first"), wait, speaking(says("The rest."))))


# -- readers ------------------------------------------------------------------------------------------------------


async def test_readers_that_come_late_or_leave_and_come_back_get_the_same_bytes() -> None:
    runs, waiting = some_runs(grace_seconds=30), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        whole = asyncio.create_task(rest(runs.read(run)))
        leaving = runs.read(run)
        first_part = await until(aiter(leaving), DELTA)
        await leaving.leave()
        waiting.go_on.set()
        back = await rest(runs.join(ANN, run.id, after=first_part[-1].number))
        late = await rest(runs.join(ANN, run.id))
        seen = await whole
    assert [entry.number for entry in seen] == [*range(len(seen))]
    assert seen[-1].type == "response.completed"
    assert b"".join(entry.data for entry in late) == b"".join(entry.data for entry in seen)
    assert [*first_part, *back] == seen


async def test_a_run_is_cancelled_when_its_last_reader_leaves_and_not_before() -> None:
    runs, waiting = some_runs(most=1), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        one, other = runs.read(run), runs.join(ANN, run.id)
        await until(aiter(one), DELTA)
        await one.leave()
        await one.leave()
        assert not run.over
        await other.leave()
        assert run.over
        assert run.status == "cancelled"
        with pytest.raises(RunNotFound):
            runs.join(ANN, run.id)


async def test_a_run_nobody_has_read_yet_goes_on() -> None:
    runs = some_runs()
    run = await runs.start(a_request(), Scope(), graphs=OneGraph(chain(answer)))
    with anyio.fail_after(20):
        await run.ended()
    assert run.status == "completed"


# -- grace --------------------------------------------------------------------------------------------------------


async def test_a_run_without_readers_lives_for_the_time_of_grace_and_holds_its_slot() -> None:
    runs, waiting = some_runs(most=1, grace_seconds=0.3), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        began = asyncio.get_running_loop().time()
        await runs.read(run).leave()
        assert not run.over
        with pytest.raises(TooManyRuns):
            runs.slot()
        await run.ended()
    assert run.status == "cancelled"
    assert asyncio.get_running_loop().time() - began > 0.25
    runs.slot()


async def test_a_reader_that_comes_back_in_time_keeps_the_run_alive() -> None:
    runs, waiting = some_runs(grace_seconds=0.2), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        await runs.read(run).leave()
        back = runs.join(ANN, run.id)
        await asyncio.sleep(0.4)
        waiting.go_on.set()
        seen = await rest(back)
    assert seen[-1].type == "response.completed"
    assert run.status == "completed"


async def test_a_run_whose_answer_comes_whole_has_no_grace() -> None:
    runs, waiting = some_runs(grace_seconds=30), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(mode="reply"), Scope(), graphs=waiting.graphs)
        await runs.read(run).leave()
    assert run.status == "cancelled"


async def test_the_end_of_a_run_can_be_read_within_the_time_of_grace_and_few_are_kept_for_it() -> None:
    runs, ids = some_runs(grace_seconds=30), []
    with anyio.fail_after(60):
        for _ in range(MOST_KEPT + 2):
            run = await runs.start(a_request(), Scope(), graphs=OneGraph(chain(answer)))
            reader = runs.read(run)
            await reader.leave()
            await run.ended()
            ids.append(run.id)
        await asyncio.sleep(0)
        for gone in ids[:2]:
            with pytest.raises(RunNotFound):
                runs.join(ANN, gone)
        for kept in ids[2:]:
            assert (await rest(runs.join(ANN, kept)))[-1].type == "response.completed"


# -- owners -------------------------------------------------------------------------------------------------------


async def test_only_its_owner_finds_a_run() -> None:
    runs, waiting = some_runs(), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(ANN), Scope(), graphs=waiting.graphs)
        with pytest.raises(RunNotFound) as foreign:
            runs.join(BOB, run.id)
        with pytest.raises(RunNotFound) as absent:
            runs.join(BOB, "resp_of_nobody")
        with pytest.raises(RunNotFound):
            await runs.cancel(BOB, run.id)
        assert foreign.value.body() == absent.value.body()
        assert not run.over
        await runs.cancel(ANN, run.id)
    assert run.status == "cancelled"


# -- slots --------------------------------------------------------------------------------------------------------


async def test_a_slot_is_free_again_when_its_run_has_ended() -> None:
    runs, waiting = some_runs(most=1), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        with pytest.raises(TooManyRuns):
            await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        waiting.go_on.set()
        await run.ended()
        again = await runs.start(a_request(), Scope(), graphs=OneGraph(chain(answer)))
        await again.ended()


async def test_a_run_that_cannot_start_gives_its_slot_back() -> None:
    class NoGraph:
        default = "agent"

        async def get(self, name: str) -> Any:
            raise GraphNotLoaded("no graph")

    runs = some_runs(most=1)
    for _ in range(3):
        with pytest.raises(GraphNotLoaded):
            await runs.start(a_request(), Scope(), graphs=NoGraph())
    with pytest.raises(GraphNotLoaded), runs.slot() as slot:
        await runs.start(a_request(), Scope(), graphs=NoGraph(), slot=slot)
    runs.require_free_slot()


# -- the end of the process ---------------------------------------------------------------------------------------


async def test_draining_waits_for_runs_also_for_those_without_readers_then_ends_the_rest() -> None:
    runs, quick, slow = some_runs(grace_seconds=60), Waiting(), Waiting()
    with anyio.fail_after(20):
        finishing = await runs.start(a_request(), Scope(), graphs=quick.graphs)
        await runs.read(finishing).leave()
        stuck = await runs.start(a_request(), Scope(), graphs=slow.graphs)
        reading = asyncio.create_task(rest(runs.read(stuck)))
        draining = asyncio.create_task(runs.drain(within_seconds=0.5))
        await asyncio.sleep(0)
        assert runs.draining
        with pytest.raises(ServiceStopping):
            runs.slot()
        quick.go_on.set()
        await draining
        seen = await reading
    assert finishing.status == "completed"
    assert seen[-1].event["response"]["error"]["code"] == "service_stopping"


async def test_a_second_wish_to_stop_is_heeded() -> None:
    runs, waiting = some_runs(), Waiting()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), Scope(), graphs=waiting.graphs)
        await runs.drain(within_seconds=60, is_forced=lambda: True)
        await run.ended()
    assert run.status == "failed"
