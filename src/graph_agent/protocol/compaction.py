"""Compacted histories: what a `compaction` item says, and which items of a conversation it stands for.

The item carries a summary, and the items that stay word by word behind it. All of that is sealed, so that the client
can keep it and only its owner can use it. Source: OpenAI's guide on compaction, and the Open Responses specification of
2026-04-24 (`/responses/compact`, `CompactionBody`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.events import new_id
from graph_agent.protocol.field_checks import Schema, accepts, at, kind_of, wrong
from graph_agent.protocol.item_shapes import CALL_ID, COMPACTION, RESULT_ID, Item

LEAST_THRESHOLD = 1_000
"""The least tokens at which a history is compacted, as the API of OpenAI has it."""

DEFAULT_THRESHOLD = 100_000
"""The tokens at which a history is compacted if the request does not say it."""

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a `compaction` item seals."""

    summary: str

    items: Sequence[Item] = ()
    """What stays word by word: it comes behind the summary."""

    keeps_users: bool = False
    """Whether the messages of users that stand before the item still count. Otherwise it stands for all before it."""

    def written(self) -> bytes:
        """The same as bytes."""
        # Not orjson, which knows neither long integers nor halves of surrogate pairs. A tool may return anything.
        value = {"version": VERSION, "summary": self.summary, "items": self.items, "keeps_users": self.keeps_users}
        return json.dumps(value, separators=(",", ":"), default=str).encode()

    @classmethod
    def read(cls, data: bytes) -> "Compacted":
        """What `written` has made.

        Raises:
            ValueError: a newer version of this package has made it.
        """
        saved = json.loads(data)
        if saved["version"] != VERSION:
            raise ValueError("unknown version")
        return cls(summary=saved["summary"], items=saved["items"], keeps_users=saved["keeps_users"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The items that a graph reads."""

    items: Sequence[Item]

    shift: int = 0
    """How many places the items behind the compaction have moved back."""

    summaries: Mapping[str, str]
    """The sealed text of the compaction among the items -> its summary."""


def newest_compaction(items: Sequence[Item]) -> int | None:
    """The index of the last compaction, or `None`. Those before it are covered by it."""
    return next((at for at in range(len(items) - 1, -1, -1) if items[at]["type"] == COMPACTION), None)


def window_of(items: Sequence[Item], compacted: Compacted | None) -> Window:
    """What a graph reads of a conversation. `compacted` is what its newest compaction seals, or `None` if it has none
    that could be opened. Then everything is read."""
    index = newest_compaction(items)
    if index is None or compacted is None:
        return Window(items=items, summaries={})
    item = items[index]
    users = [one for one in items[:index] if _is_of_user(one)] if compacted.keeps_users else []
    # What operators said comes first, as it did before.
    first = list(takewhile(_is_of_operator, compacted.items))
    kept = [*first, *users, item, *compacted.items[len(first) :], *items[index + 1 :]]
    return Window(
        items=kept,
        shift=len(items) - len(kept),
        summaries={item["encrypted_content"]: compacted.summary},
    )


def compaction_item(item_id: str, sealed: str) -> Item:
    """The item of a compaction, as `CompactionBody` has it."""
    return {"type": COMPACTION, "id": item_id, "encrypted_content": sealed}


def kept_beside_summary(items: Sequence[Item]) -> list[Item]:
    """The items of a history that stay word by word if the messages of its users stay outside: what operators said, and
    calls that still wait for their results."""
    answered = {one[RESULT_ID[one["type"]]] for one in items if one["type"] in RESULT_ID}
    calls = [one for one in items if one["type"] in CALL_ID and one["type"] != "mcp_call"]
    return [
        *(one for one in items if _is_of_operator(one)),
        *(one for one in calls if one[CALL_ID[one["type"]]] not in answered),
    ]


def messages_of_users(items: Sequence[Item]) -> list[Item]:
    """The messages of users, which a compacted history repeats."""
    return [one for one in items if _is_of_user(one)]


def compacted_output(users: Sequence[Item], item: Item) -> list[Item]:
    """The output of a compaction: the messages of users, and one item for all the rest. Each has all of its fields."""
    return [*map(_whole_message, users), item]


def _whole_message(item: Item) -> Item:
    content = item["content"]
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return {
        "type": "message",
        "id": item.get("id") or new_id("msg"),
        "status": "completed",
        "role": "user",
        "content": [{"detail": "auto", **one} if one["type"] == "input_image" else one for one in parts],
    }


def _is_of_operator(item: Item) -> bool:
    return bool(item["type"] == "message" and item["role"] in ("system", "developer"))


def _is_of_user(item: Item) -> bool:
    return bool(item["type"] == "message" and item["role"] == "user")


# The field of a request

_ENTRY: Schema = {
    "type": "object",
    "properties": {
        "type": {"const": COMPACTION},
        "compact_threshold": {"type": ["integer", "null"], "minimum": LEAST_THRESHOLD},
    },
    "required": ["type"],
    "additionalProperties": False,
}


@accepts({"type": "array", "items": _ENTRY, "maxItems": 1})
def a_context_management(value: Any, path: str) -> None:
    """At most one entry, of type `compaction`."""
    if not isinstance(value, list):
        raise wrong(path, "an array of at most one object", kind_of(value))
    if len(value) > 1:
        raise wrong(path, "an array of at most one object", f"{len(value)} entries")
    for index, entry in enumerate(value):
        _check_entry(entry, at(path, index))


def _check_entry(entry: Any, path: str) -> None:
    if not isinstance(entry, dict):
        raise wrong(path, "an object with `type`", kind_of(entry))
    for name in entry:
        if name not in _ENTRY["properties"]:
            raise InvalidRequest(
                f"`{at(path, name)}` is not a field of a compaction; it has type and compact_threshold.",
                param=at(path, name),
            )
    if entry.get("type") != COMPACTION:
        raise InvalidRequest(f"`{at(path, 'type')}` must be '{COMPACTION}'.", param=at(path, "type"))
    tokens, place = entry.get("compact_threshold"), at(path, "compact_threshold")
    expected = f"a whole number of tokens from {LEAST_THRESHOLD}"
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int)):
        raise wrong(place, expected, kind_of(tokens))
    if tokens is not None and tokens < LEAST_THRESHOLD:
        raise wrong(place, expected, "less")


def threshold_in(fields: Mapping[str, Any]) -> int | None:
    """The tokens from which on the history is compacted, or `None` if the request does not ask for it."""
    entries = fields.get("context_management") or []
    if not entries:
        return None
    tokens: int | None = entries[0].get("compact_threshold")
    return DEFAULT_THRESHOLD if tokens is None else tokens
