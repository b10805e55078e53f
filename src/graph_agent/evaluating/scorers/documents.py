"""Compares the retrieved and the cited documents with the expected ones, and with each other."""

import math
import re
from collections.abc import Mapping, Sequence

from graph_agent.evaluating.records import Record, Turn
from graph_agent.evaluating.rows import Group, Row
from graph_agent.evaluating.scorers.answers import is_answered
from graph_agent.evaluating.scorers.pairing import best_pairs

BEST = 5
"""How many passages count, starting with the first."""

_MARKER = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_DIGITS = re.compile(r"\d+")
_LISTED = re.compile(r"^\[(\d{1,3})\] ", re.MULTILINE)


def retrieval(row: Row, record: Record) -> Mapping[str, float | None]:
    """`recall_at_5`, `mrr` and `ndcg_at_5` of the expected documents among the retrieved passages, in rank order.

    A passage belongs to a document if its address without the anchor is one of the document's alternatives. For nDCG,
    the first passage of each document has a gain of 1, and the other passages of that document have none.
    """
    wanted = row.expectations.documents
    if wanted is None:
        return {"recall_at_5": None, "mrr": None, "ndcg_at_5": None}
    turn = record.last if is_answered(row, record) else Turn(question="")
    ranks = _first_ranks(wanted, [file_of(str(source["doc_uri"])) for source in turn.retrieved])
    gained = sum(gain(rank) for rank in ranks if rank <= BEST)
    ideal = sum(gain(rank) for rank in range(1, min(len(wanted), BEST) + 1))
    return {
        "recall_at_5": sum(rank <= BEST for rank in ranks) / len(wanted),
        "mrr": 1 / min(ranks) if ranks else 0.0,
        "ndcg_at_5": min(gained / ideal, 1.0),
    }


def citations(row: Row, record: Record) -> Mapping[str, float | None]:
    """`citations_valid`: the share of citations that name a retrieved passage; 1 if there are no citations.

    `citation_recall`: the share of the expected documents that the answer cites.
    """
    wanted = row.expectations.documents
    cited = [file_of(url) for url in record.last.cited] if is_answered(row, record) else []
    recall = None if wanted is None else sum(any(one in cited for one in group) for group in wanted) / len(wanted)
    return {"citations_valid": _validity(record), "citation_recall": recall}


def _validity(record: Record) -> float:
    known: set[str] = set()
    numbers: set[str] = set()
    right = total = 0
    for turn in record.turns:
        # Accumulated over the turns, because an answer may cite what an earlier turn found.
        known |= {str(source["doc_uri"]) for source in turn.retrieved}
        # The numbers of passages are only in the text of the search results, which the model saw.
        numbers |= {number for call in turn.calls for number in _LISTED.findall(str(call["output"]))}
        written = [number for group in _MARKER.findall(turn.answer) for number in _DIGITS.findall(group)]
        right += sum(url in known for url in turn.cited) + sum(number in numbers for number in written)
        total += len(turn.cited) + len(written)
    return right / total if total else 1.0


def _first_ranks(wanted: Sequence[Group], files: Sequence[str]) -> list[int]:
    """Return the first rank of each document that was found, from 1. No rank counts for two documents."""
    table = [[gain(rank) if file in group else 0.0 for rank, file in enumerate(files, 1)] for group in wanted]
    return [place + 1 for _, place in best_pairs(table)]


def gain(rank: int) -> float:
    """Return the discounted gain of a document at this rank, as in nDCG."""
    return 1 / math.log2(rank + 1)


def file_of(address: str) -> str:
    """Return the address without the section."""
    return address.split("#")[0]
