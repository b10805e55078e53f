"""Confidence bounds for a mean over few rows, by bootstrap. The same values always give the same bounds."""

import random
from collections.abc import Sequence

RESAMPLES = 4000
CONFIDENCE = 0.95


def lower_bound(drops: Sequence[float]) -> float:
    """Return the one-sided lower bound of the mean drop.

    One row without a drop is added first. Without it, a drop in a single row would look certain.
    """
    return _means([*drops, 0.0])[int((1 - CONFIDENCE) * RESAMPLES)]


def upper_bound(values: Sequence[float]) -> float:
    """Return the one-sided upper bound of the mean of values from 0 to 1. One row with the value 1 is added first."""
    return _means([*values, 1.0])[int(CONFIDENCE * RESAMPLES)]


def _means(values: Sequence[float]) -> list[float]:
    # Seeded, so that the same records always give the same verdict.
    draw = random.Random(2611)
    count = len(values)
    return sorted(sum(draw.choices(values, k=count)) / count for _ in range(RESAMPLES))


def share_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% confidence interval of the mean of values from 0 to 1 by Wilson's score. Used for charts.

    It needs no random numbers. For values between 0 and 1 it is wider than necessary.
    """
    count, mean, z = len(values), sum(values) / len(values), 1.96
    spread = z * (mean * (1 - mean) / count + z * z / (4 * count * count)) ** 0.5
    middle, scale = mean + z * z / (2 * count), 1 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
