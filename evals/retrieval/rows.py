"""The questions, and the documents that answer them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graph_agent.local.index.words import query_words

HERE = Path(__file__).parent
OWN = HERE / "rows.jsonl"
DOCS = HERE.parent / "datasets" / "docs.jsonl"

PLANNERS_WORDS = 3
"""Words that are left of a question without words of a planner of its own. A small model leaves two or three."""

_COPY = re.compile(r"^copies/[^/]+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question."""

    id: str
    kind: str
    half: str
    question: str
    query: str
    """What a planner searches for: what a small model leaves of the question."""

    documents: Sequence[Sequence[str]]
    """The documents that must be found, each under one of its names."""

    earlier: Sequence[str] = ()
    """The questions before this one."""


def rows() -> list[Row]:
    """The rows of `rows.jsonl`, and the questions about single documents of `docs.jsonl`."""
    own = [Row(**json.loads(line)) for line in OWN.read_text(encoding="utf-8").splitlines()]
    return [*own, *_single()]


def _single() -> list[Row]:
    found = []
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["tags"]["kind"] != "docs" or not row["expectations"].get("documents"):
            continue
        question = row["inputs"]["input"][-1]["content"]
        found.append(
            Row(
                id=row["id"],
                kind="single",
                half=row["tags"]["half"],
                question=question,
                query=" ".join(query_words(question)[:PLANNERS_WORDS]),
                documents=row["expectations"]["documents"],
            )
        )
    return found


def document_of(uri: str) -> str:
    """The document's name, which its copies share."""
    return _COPY.sub("", uri.partition("#")[0])
