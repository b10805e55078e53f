"""A run tells its graph where the parts of the stream arise as it would at the end of LangGraph's own queue."""

import pytest
from tests.runs.equality import differing

pytestmark = pytest.mark.anyio

GRAPHS, AT_ONCE = 200, 50


@pytest.mark.parametrize("first", range(0, GRAPHS, AT_ONCE))
async def test_random_graphs_are_told_as_langgraph_streams_them(first: int) -> None:
    assert await differing(range(first, first + AT_ONCE)) is None
