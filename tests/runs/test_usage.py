"""Tokens are counted once, however an endpoint reports them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from tests.graphs.scripted import says
from tests.runs.running import chain, events_of, speaking

from graph_agent.models.usage import CallTokens, UsageDeltas
from graph_agent.settings import Budgets
from graph_agent.testing import Usage

pytestmark = pytest.mark.anyio

REPORTS: dict[str, tuple[list[tuple[int, int]], tuple[int, int]]] = {
    "portions": ([(100, 20), (0, 25), (0, 15)], (100, 60)),
    "cumulative": ([(100, 10), (100, 20), (100, 30)], (100, 30)),
    "repeated": ([(100, 30), (100, 30)], (100, 30)),
    "at the end": ([(0, 0), (0, 0), (100, 9)], (100, 9)),
    "input at the end": ([(0, 4), (0, 5), (100, 9)], (100, 9)),
    "input alone at the end": ([(0, 4), (0, 5), (100, 0)], (100, 9)),
    "input alone at first": ([(100, 0), (0, 7)], (100, 7)),
    "equal portions": ([(100, 5), (0, 5), (0, 5)], (100, 15)),
    "never": ([(0, 0)], (0, 0)),
}


def _reports(rows: list[tuple[int, int]]) -> list[str | Usage]:
    return [piece for sent, written in rows for piece in ("word ", Usage(sent, written))]


@pytest.mark.parametrize("kind", REPORTS)
async def test_a_runs_usage_is_what_its_endpoint_used(kind: str) -> None:
    rows, used = REPORTS[kind]
    model = says(_reports(rows))
    usage = (await events_of(chain(speaking(model))))[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == used
    assert usage["total_tokens"] == sum(used)


@pytest.mark.parametrize("kind", REPORTS)
def test_what_a_stream_reports_can_be_added_up(kind: str) -> None:
    rows, used = REPORTS[kind]
    portions, total = UsageDeltas(), AIMessageChunk("")
    for sent, written in rows:
        usage = {"input_tokens": sent, "output_tokens": written, "total_tokens": sent + written}
        chunk = portions.taken_from(ChatGenerationChunk(message=AIMessageChunk("x", usage_metadata=usage)))
        assert chunk is not None
        total += chunk.message  # type: ignore[assignment]
    added = total.usage_metadata
    assert used == (0, 0) if added is None else (added["input_tokens"], added["output_tokens"]) == used


async def test_cached_and_reasoned_tokens_are_counted_the_same_way() -> None:
    rows = ("One ", Usage(100, 20, 40, 3), "two ", Usage(0, 25, 0, 4), "three", Usage(0, 15))
    usage = (await events_of(chain(speaking(says(rows)))))[-1]["response"]["usage"]
    assert usage["input_tokens_details"] == {"cached_tokens": 40}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 7}


async def test_portions_stop_a_run_at_its_budget_and_what_was_counted_is_told() -> None:
    rows = ("One ", Usage(100, 20), "two ", Usage(0, 25), "three", Usage(0, 15))
    graph = chain(speaking(says(rows)))
    response = (await events_of(graph, budgets=Budgets(output_tokens=30, seconds=30)))[-1]["response"]
    assert response["metadata"] == {"budget": "output_tokens"}
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (100, 45)


async def test_a_run_cut_before_its_endpoint_reported_anything_tells_the_chunks_it_counted() -> None:
    graph = chain(speaking(says(("word ",) * 50)))
    response = (await events_of(graph, budgets=Budgets(output_tokens=10, seconds=30)))[-1]["response"]
    assert response["usage"]["output_tokens"] == 11


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers(1, 1000))
def test_portions_add_up_and_cumulative_figures_do_not(written: list[int], sent: int) -> None:
    portions, cumulative = CallTokens(), CallTokens()
    for place, one in enumerate(written):
        portions.add({"input_tokens": 0 if place else sent, "output_tokens": one})
        cumulative.add({"input_tokens": sent, "output_tokens": sum(written[: place + 1])})
    assert (portions.input_tokens, portions.output_tokens) == (sent, sum(written))
    assert (cumulative.input_tokens, cumulative.output_tokens) == (sent, sum(written))


@pytest.mark.parametrize("odd", [{}, {"input_tokens": None}, {"input_tokens": 1, "input_token_details": None}])
def test_a_report_with_holes_is_read_as_far_as_it_goes(odd: dict[str, Any]) -> None:
    tally = CallTokens()
    tally.add(odd)
    assert tally.output_tokens == 0
