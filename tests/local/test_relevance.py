import numpy as np
import pytest

from graph_agent.local.index.relevance import best, coverage, with_neighbors
from graph_agent.local.index.words import query_words

COMMON, RARE, UNKNOWN = np.array([0, 1, 2, 3, 4, 5, 6, 7]), np.array([8]), np.array([], dtype=np.int64)


def test_a_query_is_read_as_its_meaningful_words_each_once() -> None:
    assert query_words("What does the GRAPH_AGENT_TRACING setting of the agent do, agent?") == [
        "graph_agent_tracing",
        "setting",
        "agent",
    ]


def test_a_rare_word_outweighs_common_ones() -> None:
    scores = coverage({"page": COMMON, "request": COMMON, "lakebase": RARE}, 9)
    assert scores[8] > scores[0] > 0.0
    assert scores[0] + scores[8] == pytest.approx(1.0)


def test_an_ending_in_hiragana_counts_less_than_what_a_question_is_about_and_alone_counts_in_full() -> None:
    scores = coverage({"とき": RARE, "りた": RARE, "一覧": np.array([7])}, 9)
    assert scores[7] > scores[8] > 0.0
    assert coverage({"りん": RARE, "んご": RARE}, 9)[8] == pytest.approx(1.0)


def test_a_word_nobody_holds_lowers_every_score() -> None:
    known, with_unknown = coverage({"lakebase": RARE}, 9), coverage({"lakebase": RARE, "mongolia": UNKNOWN}, 9)
    assert known[8] == pytest.approx(1.0)
    assert with_unknown[8] < 0.5


def test_the_best_leave_out_what_is_not_allowed_and_what_scores_nothing() -> None:
    scores = np.array([0.2, 0.9, 0.0, 0.2, 0.5], dtype=np.float32)
    allowed = np.array([True, False, True, True, True])
    assert best(scores, allowed, 3).tolist() == [4, 0, 3]
    assert best(scores, allowed, 2).tolist() == [4, 0]


def test_a_passage_beside_one_that_fits_is_raised_and_one_beside_nothing_is_lowered() -> None:
    scores = np.array([0.4, 0.5, 0.0, 0.5, 0.1], dtype=np.float32)
    first = np.array([True, False, False, True, False])
    raised = with_neighbors(scores, first)
    assert raised[0] > 0.4
    assert raised[1] > raised[3]
    assert raised[3] < 0.5


def test_a_passage_of_another_document_is_not_beside_it_and_a_document_of_one_passage_keeps_its_score() -> None:
    scores = np.array([0.9, 0.3, 1.0, 1.0], dtype=np.float32)
    first = np.array([True, True, True, False])
    assert with_neighbors(scores, first).tolist() == pytest.approx([0.9, 0.3, 1.0, 1.0])
    assert with_neighbors(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool)).tolist() == []
