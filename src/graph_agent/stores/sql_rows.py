"""Between rows of the tables and the records of a store."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from graph_agent.errors import LeaseLost
from graph_agent.protocol.json_encoding import encode
from graph_agent.stores.database import Connection
from graph_agent.stores.packing import pack, unpack
from graph_agent.stores.records import (
    Conversation,
    Fingerprints,
    GivenFeedback,
    Item,
    StoredApproval,
    StoredResponse,
    Waiting,
)

Row = tuple[Any, ...]

INPUT, OUTPUT = "input", "output"

WITHOUT_RESPONSE = (
    "r.id, r.conversation, c.thread, r.parent, r.checkpoint, r.kind, r.graph, r.family, r.status, r.created_at, "
    "r.whole, r.answers, r.messages, c.running, c.busy_until, r.waiting, r.trace, r.feedback, "
    "r.steers"
)
WITH_RESPONSE = f"{WITHOUT_RESPONSE}, r.response, r.packed"
"""The columns that `stored_response` reads, from `RESPONSES`."""

RESPONSES = "responses r JOIN conversations c ON c.owner = r.owner AND c.id = r.conversation"

CONVERSATION = "id, thread, title, metadata, created_at, updated_at, head"
"""The columns that `stored_conversation` reads."""

ITEMS = "INSERT INTO items (owner, response, side, place, id, body)"
"""What `insert` inserts the rows of `item_rows` with."""

ROWS_AT_ONCE = 50
"""The most rows that one statement inserts."""

UNDER_WAY = ("queued", "in_progress")
"""The states of a response that has not ended."""

LOST = "the process of this run stopped before the run had ended: send the request again"


def as_json(value: Any) -> str:
    """The value as JSON text."""
    return encode(value).decode()


def as_title(text: str | None) -> str | None:
    """The text without what a database cannot keep: NUL, and half of a surrogate pair."""
    return text and text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_sought(text: str | None) -> str | None:
    """The text as searches compare it: without upper and lower case, in all scripts."""
    if text is None:
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return as_title(folded)


def is_pinned(metadata: Mapping[str, str]) -> int:
    """1 if the metadata pins its conversation, otherwise 0."""
    return int(metadata.get("pinned") == "true")


def item_rows(owner: str, response: str, side: str, items: Iterable[Item]) -> list[Row]:
    """The rows of the table `items`."""
    return [(owner, response, side, place, item.get("id") or "", as_json(item)) for place, item in enumerate(items)]


async def insert(connection: Connection, into: str, rows: Sequence[Row]) -> None:
    """Insert rows, many with one statement.

    A database does not notice that a process was stopped while it sent several statements at once, and keeps its locks.
    """
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        marks = f"({', '.join('?' * len(some[0]))})"
        await connection.run(
            f"{into} VALUES {', '.join([marks] * len(some))}", [value for row in some for value in row]
        )


def packed_response(response: Mapping[str, Any]) -> bytes:
    """The response object without its output, whose items have rows of their own."""
    return pack(encode({**response, "output": []}))


def lost_response(response: str, graph: str, created_at: float) -> dict[str, Any]:
    """The response object of a run whose process is gone."""
    return {
        "id": response,
        "object": "response",
        "created_at": int(created_at),
        "status": "failed",
        "model": graph,
        "output": [],
        "error": {"code": LeaseLost.code, "message": LOST},
    }


def stored_response(row: Row, items: Sequence[tuple[str, str]], *, now: float) -> StoredResponse:
    """A response from a row of `RESPONSES` and the pairs (side, item) of its items, in order."""
    id_, conversation, thread, parent, checkpoint, kind, graph, family, status, created_at = row[:10]
    whole, answers, messages, running, busy_until, waiting, trace, feedback, steers = row[10:19]
    text, packed = row[19:21] if len(row) > 19 else (None, None)
    body = text if packed is None else unpack(packed)
    response: dict[str, Any] | None = None
    if body is not None:
        response = orjson.loads(body)
        response["output"] = [orjson.loads(item) for side, item in items if side == OUTPUT]
    elif status in UNDER_WAY and not (running == id_ and busy_until > now):
        status, response = "failed", lost_response(id_, graph, created_at)
    return StoredResponse(
        id=id_,
        conversation=conversation,
        thread=thread,
        parent=parent,
        checkpoint=checkpoint,
        kind=kind,
        graph=graph,
        family=family,
        status=status,
        created_at=created_at,
        input=[orjson.loads(item) for side, item in items if side == INPUT],
        response=response,
        fingerprints=Fingerprints(whole=whole, answers=answers) if whole else None,
        messages=orjson.loads(messages) if messages else {},
        waiting=Waiting(**orjson.loads(waiting)) if waiting else None,
        trace=trace,
        feedback={name: GivenFeedback(**one) for name, one in orjson.loads(feedback or "{}").items()},
        steers=steers,
    )


def feedback_json(feedback: Mapping[str, GivenFeedback]) -> str:
    """What `stored_response` reads."""
    return as_json({name: {"value": one.value, "assessment": one.assessment} for name, one in feedback.items()})


def waiting_json(waiting: Waiting | None) -> str | None:
    """What `stored_response` reads."""
    if waiting is None:
        return None
    return as_json({"approvals": list(waiting.approvals), "unread": waiting.unread})


APPROVAL = "a.id, a.conversation, a.response, a.body, a.decision, a.used_by, r.status, c.running, c.busy_until"
APPROVALS = (
    "approvals a JOIN conversations c ON c.owner = a.owner AND c.id = a.conversation "
    "LEFT JOIN responses r ON r.owner = a.owner AND r.id = a.used_by"
)


def stored_approval(row: Row, *, now: float) -> StoredApproval:
    """An approval from a row of `APPROVALS`. A run whose process is gone has not used it."""
    id_, conversation, response, body, decision, used_by, status, running, busy_until = row
    if status in UNDER_WAY and not (running == used_by and busy_until > now):
        used_by = None
    return StoredApproval(
        id=id_,
        conversation=conversation,
        response=response,
        approval=orjson.loads(body),
        decision=orjson.loads(decision) if decision else None,
        used_by=used_by,
    )


def stored_conversation(row: Row) -> Conversation:
    """A conversation from a row of `CONVERSATION`."""
    id_, thread, title, metadata, created_at, updated_at, head = row
    return Conversation(
        id=id_,
        thread=thread,
        title=title,
        metadata=orjson.loads(metadata),
        created_at=created_at,
        updated_at=updated_at,
        head=head,
    )
