import pytest
from bench.thread import Conversation, Point, thread_goals, thread_report


def _conversation(*points: tuple[int, float, float, int]) -> Conversation:
    made = [
        Point(turn=turn, milliseconds=0, cpu_milliseconds=cpu, stored=stored, turns=turn, to_tenth=ratio)
        for turn, ratio, cpu, stored in points
    ]
    return Conversation("SQLite", {}, lambda: 0, points=made, empty=1_000)


def test_the_last_turn_is_compared_with_the_tenth_and_not_with_the_first() -> None:
    # The first one opens connections.
    goals = list(thread_goals([_conversation((1, 1, 90, 0), (10, 1, 10, 0), (1_000, 2, 109, 12_001_000))]))
    assert goals == [
        "pass  SQLite, stored a turn on average ≤ 20 KB: 12.00 KB",
        "pass  SQLite, CPU for each stored message ≤ 25 µs: 25.00 µs",
        "FAIL  SQLite, turn 1,000 ≤ 1.5 x the tenth, with trimming: 2.00 x",
    ]


@pytest.mark.parametrize("postgres", [True, False])
def test_a_machine_without_postgres_is_told(postgres: bool) -> None:
    assert ("skipped" in thread_report([], postgres=postgres)) != postgres
