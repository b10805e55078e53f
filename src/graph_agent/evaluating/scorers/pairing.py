"""Finds the best pairs of expected and actual values."""

from collections.abc import Sequence
from functools import cache

Pairs = tuple[tuple[int, int], ...]


def best_pairs(worth: Sequence[Sequence[float]]) -> Pairs:
    """Return the pairs (i, j) with the largest sum of `worth[i][j]`.

    No i or j is in two pairs, and every pair is worth more than 0. The search is exhaustive: rows expect few values.
    """

    @cache
    def best(i: int, taken: frozenset[int]) -> tuple[float, Pairs]:
        if i == len(worth):
            return 0.0, ()
        found = best(i + 1, taken)
        for j, value in enumerate(worth[i]):
            if value > 0 and j not in taken:
                rest, pairs = best(i + 1, taken | {j})
                if value + rest > found[0]:
                    found = value + rest, ((i, j), *pairs)
        return found

    return best(0, frozenset())[1]
