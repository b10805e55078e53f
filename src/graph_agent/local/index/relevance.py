"""Scores how well a passage answers a query, from 0 to 1.

The score of a hybrid query is the mean of two halves:

- the cosine of query and passage, with 0 for negative values;
- the share of the query's words that the passage contains, weighted by their inverse document frequency. A word that
  occurs only as a part of a longer word counts half.

The embedding model knows English only, so the cosine counts little for a query that is not in Latin letters.

The passages beside it in the document then count a little: where two in a row fit a query, the text is about it. Else a
single passage that shares a few words with the query by chance comes before the page on the subject. On 96 questions
for tuning about two sets of documents, each asked in full and in three words, the flagship's first five passages had
all documents in 166 of 192 searches without it and in 177 with it (MRR .68 and .72); of 30 in other words than the
documents', in 17 and 21. Twice as much, a larger neighborhood, the mean of the document's best passages, a larger
weight of the cosine, and a query that is mixed with its first results found no more.

Passages are ranked by their score, so a threshold means the same in every query. On 43 questions (18 of them
paraphrases) about 273 passages of technical notes this ranked better than reciprocal rank fusion with k = 60:

    ranking                       R@1   R@5   MRR
    vectors (ANN)                 .51   .79   .64
    words (FULL_TEXT)             .70   .84   .76
    BM25 of FTS5                  .67   .79   .74
    reciprocal rank fusion        .65   .86   .74
    this mean (HYBRID)            .74   .88   .82

One question is worth .02. The best score of a query separated these questions from 12 about other subjects with an
area under the ROC curve of .95. It was .30 or more for 38 of the 43 and 2 of the 12, and .25 or more for 40 and 4.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph_agent.local.index.words import is_grammar

Scores = NDArray[np.float32]
Positions = NDArray[np.integer[Any]]

NEAR = 0.5
"""Weight of a passage that contains a word only as a part of another."""


GRAMMAR = 0.1
"""Weight of a pair of hiragana in a query. A Japanese question in full sentences has more of them than of the letters
that say what it is about. A query of hiragana only is not changed by it."""

BESIDE = 0.25
"""How much the passages beside a passage raise or lower its score."""

USUAL = 2 / 3
"""Share of a passage's score that the better of the passages beside it usually has."""


def coverage(holders: Mapping[str, Positions], total: int, *, near: Mapping[str, Positions] | None = None) -> Scores:
    """The weighted share of the query's words that each of `total` passages contains.

    `holders` has the positions of the passages that contain each word. `near` has those that contain it as a part of a
    longer word, or that contain one of its parts. A word that no passage contains has the largest weight, because a
    query full of such words is about another subject.
    """
    covered, weights = np.zeros(total, dtype=np.float32), 0.0
    for word, found in holders.items():
        parts = (near or {}).get(word)
        if parts is None:
            weight = weight_of(word) * rarity(len(found), total)
            covered[found] += np.float32(weight)
        else:
            share = np.zeros(total, dtype=np.float32)
            share[parts] = NEAR
            share[found] = 1.0
            weight = weight_of(word) * rarity(np.count_nonzero(share), total)
            covered += weight * share
        weights += weight
    return covered / np.float32(weights) if weights else covered


def weight_of(word: str) -> float:
    """How much a word of a query counts beside others that are as rare."""
    return GRAMMAR if is_grammar(word) else 1.0


def rarity(holders: int, total: int) -> float:
    """Inverse document frequency of a word, as in BM25 with 1 added, so that it is never negative."""
    return float(np.log1p((total - holders + 0.5) / (holders + 0.5)))


def cosines(vectors: Any, query: Any) -> Scores:
    """The cosine of each unit row with the unit query, with 0 for negative values."""
    # Not `vectors @ query`: memory is what this waits for, and the threads of BLAS take half as much again to wait.
    scores: Scores = np.clip(np.einsum("ij,j->i", vectors, query), 0.0, 1.0)
    return scores


def mixed(by_meaning: Scores, by_words: Scores, *, meaning: float) -> Scores:
    """The weighted mean of the two scores. `meaning` is the weight of the first, from 0 to 1."""
    scores: Scores = np.float32(meaning) * by_meaning + np.float32(1 - meaning) * by_words
    return scores


def with_neighbors(scores: Scores, first: NDArray[np.bool_]) -> Scores:
    """The scores, raised where the better of the passages beside a passage fits more than usual, and else lowered.

    The passages are in the order of their documents, and `first` marks the first one of each document. A document of
    one passage keeps its score.
    """
    before, after = np.zeros_like(scores), np.zeros_like(scores)
    before[1:] = np.where(first[1:], 0.0, scores[:-1])
    after[:-1] = np.where(first[1:], 0.0, scores[1:])
    usual = np.float32(USUAL) * scores
    alone = first & np.append(first[1:], True)
    beside = np.where(alone, usual, np.maximum(before, after))
    raised: Scores = np.clip(scores + np.float32(BESIDE) * (beside - usual), 0.0, 1.0)
    return raised


def best(scores: Scores, allowed: NDArray[np.bool_], count: int) -> Positions:
    """The positions of the best `count` allowed scores above 0, best first. Equal scores keep the passages' order."""
    candidates = np.flatnonzero(allowed & (scores > 0))
    found = scores[candidates]
    if len(candidates) > count:
        # Sorting all of 100,000 takes ten times as long. All that equal the last one stay, to keep the passages' order.
        last = np.partition(found, len(found) - count)[len(found) - count]
        candidates, found = candidates[found >= last], found[found >= last]
    return candidates[np.argsort(-found, kind="stable")][:count]
