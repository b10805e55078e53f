from collections.abc import Sequence

import pytest

from graph_agent.local.model.core_choice import CoreChoice, Load

BOTH = frozenset({0, 1})


def moves(loads: Sequence[tuple[float, float, float]], *, apart: float = 1.0) -> list[frozenset[int]]:
    """Where the threads are moved, if in each period so much is used of both cores, and by the model itself."""
    now, cores, own = 0.0, {0: 0.0, 1: 0.0}, 0.0
    moved: list[frozenset[int]] = []
    choice = CoreChoice(lambda: Load(at=now, cores=dict(cores), own=own), moved.append, clock=lambda: now)
    for first, second, model in loads:
        now, own = now + apart, own + model * apart
        cores = {0: cores[0] + first * apart, 1: cores[1] + second * apart}
        choice.look()
    return moved


def test_a_model_that_is_alone_keeps_both_cores() -> None:
    assert moves([(1.0, 1.0, 1.9)] * 5) == []


def test_beside_a_busy_program_the_threads_share_the_core_that_is_used_less() -> None:
    assert moves([(1.0, 0.9, 0.9)] * 5) == [frozenset({1})]


def test_they_spread_again_when_the_other_program_has_ended() -> None:
    assert moves([(1.0, 0.9, 0.9)] * 3 + [(0.0, 0.9, 0.9)] * 5) == [frozenset({1}), BOTH]


def test_a_load_between_the_two_limits_moves_nothing_back_and_forth() -> None:
    assert moves([(1.0, 1.0, 1.6)] * 5) == []
    assert moves([(1.0, 0.9, 0.9)] * 3 + [(0.4, 0.9, 0.9)] * 5) == [frozenset({1})]


def test_a_short_task_of_another_program_moves_nothing() -> None:
    assert moves([(1.0, 1.0, 2.0), (1.0, 1.0, 1.3), (1.0, 1.0, 2.0)] * 3) == []


@pytest.mark.parametrize("apart", [0.1, 60.0])
def test_looks_that_are_too_near_or_too_far_apart_say_nothing(apart: float) -> None:
    assert moves([(1.0, 0.9, 0.9)] * 2, apart=apart) == []
