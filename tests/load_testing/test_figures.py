"""What a load test counts stays small and right, however long it runs."""

import random

import pytest

from graph_agent.load_testing.figures import MOST_KINDS, MOST_SLICES, OTHER, Figures, Timeline
from graph_agent.load_testing.histogram import Histogram


@pytest.mark.parametrize("percent", [50, 90, 95, 99, 100])
def test_a_percentile_is_that_of_the_sorted_durations_within_one_percent(percent: int) -> None:
    chance = random.Random(7)
    durations = sorted(chance.lognormvariate(-1, 1.5) for _ in range(5_000))
    found = Histogram()
    for one in durations:
        found.add(one)
    exact = durations[-(-len(durations) * percent // 100) - 1]
    assert found.percentile(percent) == pytest.approx(exact, rel=0.01)
    assert found.mean() == pytest.approx(sum(durations) / len(durations))


def test_two_histograms_together_are_that_of_all_durations() -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for number in range(1, 200):
        duration = number / 50
        (one if number % 3 else other).add(duration)
        both.add(duration)
    one.merge(other)
    assert list(one.buckets()) == list(both.buckets())
    assert (one.count, one.least, one.most) == (both.count, both.least, both.most)


def test_durations_of_any_length_take_a_bounded_number_of_buckets() -> None:
    found = Histogram()
    for power in range(-400, 400):
        found.add(1.09**power)
    found.add(-1.0)
    found.add(float("inf"))
    assert len(list(found.buckets())) <= 1_100
    assert (found.percentile(0.01), found.percentile(100)) == (0.0, 86_400.0)


def test_a_long_test_has_wider_slices_and_loses_no_answer() -> None:
    timeline = Timeline()
    for second in range(10_000):
        timeline.at(second + 0.5).answered += 1
    assert len(timeline.slices) <= MOST_SLICES
    assert timeline.width * len(timeline.slices) >= 10_000
    assert sum(one.answered for one in timeline.slices) == 10_000


def test_a_service_that_makes_up_codes_does_not_fill_the_memory() -> None:
    figures = Figures()
    for number in range(1_000):
        figures.fail(f"error {number}")
    assert len(figures.errors) == MOST_KINDS + 1
    assert figures.errors[OTHER] == 1_000 - MOST_KINDS
