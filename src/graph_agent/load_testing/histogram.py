"""Counts durations in buckets whose width grows with the duration, so that memory does not grow with the load."""

import math
from collections.abc import Iterator

GROWTH = 1.02
"""The upper end of a bucket, as a multiple of its lower end. A percentile is wrong by at most 1%."""

SMALLEST = 0.0001
"""Seconds. Everything below counts as one bucket."""

LARGEST = 86_400.0
"""Seconds. Everything above counts as this."""

_STEP = math.log(GROWTH)


class Histogram:
    """Durations in seconds. It holds at most about 1,040 numbers, however many durations were added."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        seconds = min(max(seconds, 0.0), LARGEST)
        bucket = 0 if seconds < SMALLEST else 1 + int(math.log(seconds / SMALLEST) / _STEP)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)

    def merge(self, other: "Histogram") -> None:
        """Count everything that `other` has counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent` of all durations do not exceed, by the nearest rank. `None` if there are none."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(max(_middle(bucket), self.least), self.most)
        return None

    def mean(self) -> float | None:
        """The mean, which is exact. `None` if there are no durations."""
        return self.total / self.count if self.count else None

    def buckets(self) -> Iterator[tuple[float, int]]:
        """The middle of each bucket that is not empty, in seconds, and its count, in ascending order."""
        for bucket in sorted(self._counts):
            yield _middle(bucket), self._counts[bucket]


def _middle(bucket: int) -> float:
    return SMALLEST * math.exp((bucket - 0.5) * _STEP) if bucket else 0.0
