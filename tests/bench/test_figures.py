from bench.client import Load, Stream
from bench.figures import Result, Visit, excess, ratio, tokens, visit_of
from bench.rows import ROWS
from bench.table import goals


def _result(*rates: float) -> Result:
    visits = [
        Visit(first_event_ms=rate, first_token_ms=0, tokens_per_second=rate, frames_per_second=0, cpu_us_per_token=0)
        for rate in rates
    ]
    return Result(ROWS[0], visits=visits)


def test_rows_are_compared_round_by_round_not_by_their_medians() -> None:
    # The machine was ten times slower in the second and third rounds.
    ours, floor = _result(90, 8, 11), _result(100, 10, 10)
    assert ratio(ours, floor, tokens) == 0.9
    assert excess(ours, floor, lambda visit: visit.first_event_ms) == -2


def test_a_visit_counts_tokens_over_the_whole_time_and_cpu_per_token() -> None:
    singles = [Stream(frames=1, tokens=1, first_frame=at / 1000, first_token=(at + 1) / 1000) for at in (2, 9, 4)]
    load = Load(streams=2, frames=406, tokens=400, seconds=0.5)
    assert visit_of(singles, load, cpu_seconds=0.02) == Visit(
        first_event_ms=4.0, first_token_ms=5.0, tokens_per_second=800, frames_per_second=812, cpu_us_per_token=50
    )


def test_stored_turns_are_compared_with_the_floor_that_stores_too() -> None:
    """So a store does not look slower when turns that are not stored become faster."""
    results = {"floor": _result(100), "graph-agent": _result(900), "floor-sqlite": _result(50)}
    found = [goal for goal in goals({**results, "graph-agent-sqlite": _result(80)}) if "SQLite" in goal.says]
    assert [(goal.found, goal.met) for goal in found] == [(1.6, True)]
    found = [goal for goal in goals({**results, "graph-agent-sqlite": _result(60)}) if "SQLite" in goal.says]
    assert [(goal.found, goal.met) for goal in found] == [(1.2, False)]
