"""How sure a mean over few rows is: bounds by bootstrap, the same for the same values."""

import random
from collections.abc import Sequence

RESAMPLES = 4000
CONFIDENCE = 0.95


def lower_bound(drops: Sequence[float]) -> float:
    """What the mean drop is at least, one-sided.

    A row without a drop is added: resampling alone would be certain of a drop that a single row shows.
    """
    return _means([*drops, 0.0])[int((1 - CONFIDENCE) * RESAMPLES)]


def upper_bound(values: Sequence[float]) -> float:
    """What the mean of values from 0 to 1 is at most, one-sided; a row that is right is added."""
    return _means([*values, 1.0])[int(CONFIDENCE * RESAMPLES)]


def _means(values: Sequence[float]) -> list[float]:
    # Seeded: the same records must give the same verdict.
    draw = random.Random(2611)
    count = len(values)
    return sorted(sum(draw.choices(values, k=count)) / count for _ in range(RESAMPLES))


def share_interval(values: Sequence[float]) -> tuple[float, float]:
    """Between what the mean of values from 0 to 1 lies with 95 % confidence, by Wilson's score.

    For pictures: it asks for no draw, and is too wide rather than too narrow for shares between 0 and 1.
    """
    count, mean, z = len(values), sum(values) / len(values), 1.96
    spread = z * (mean * (1 - mean) / count + z * z / (4 * count * count)) ** 0.5
    middle, scale = mean + z * z / (2 * count), 1 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
