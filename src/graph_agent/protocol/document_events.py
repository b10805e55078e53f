"""The event that tells which documents a search has found."""

from typing import Any

from graph_agent.found_documents import MOST_DOCUMENTS, Finding, FoundDocument, score_of
from graph_agent.links import safe_link
from graph_agent.protocol.events import DOCUMENTS, Event
from graph_agent.redaction import redact

MOST_PASSAGE = 2_000
"""The most characters of a passage."""

MOST_WORDS = 1_000
"""The most characters of a query, a title, an id or an address."""

MOST_OF_RUN = 1_000_000
"""The most characters of passages in the events of one run, so that they do not use up its log. Behind them, documents
are told without their passages."""


class DocumentEvents:
    """Makes the events of one run."""

    def __init__(self) -> None:
        self._left = MOST_OF_RUN

    def event(self, found: Finding, *, node_id: str | None, call_id: str | None) -> Event:
        """The event of one search. Secrets are replaced, and texts are cut."""
        return {
            "type": DOCUMENTS,
            "node_id": node_id,
            "call_id": call_id,
            "query": short(found.query, MOST_WORDS),
            "documents": [self._fields(one) for one in found.documents[:MOST_DOCUMENTS]],
        }

    def _fields(self, one: FoundDocument) -> dict[str, Any]:
        text = short(one.text, min(MOST_PASSAGE, self._left))
        self._left -= len(text)
        return {
            "number": one.number,
            "id": short(one.id, MOST_WORDS),
            "title": short(one.title, MOST_WORDS),
            "url": None if one.url is None else short(safe_link(one.url), MOST_WORDS),
            "score": score_of(one.score),
            "text": text,
        }


def short(text: str, most: int) -> str:
    """The first `most` characters, with markers in place of secrets."""
    # Twice as much is looked through: a secret may begin before the end.
    return redact(text[: 2 * most])[:most]
