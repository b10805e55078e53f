"""Stored items as lists and lookups show them: with the fields that typed clients require."""

from collections.abc import Iterable, Mapping
from typing import Any

Item = dict[str, Any]


def listed_items(items: Iterable[Mapping[str, Any]]) -> list[Item]:
    """The items of a list in their full form, each id once, where it occurs first.

    A question to a person keeps its id when it is asked again. A reader who continues after an id would read the list
    from there again, without end. The first place is taken, because a list that a client has read must only grow.
    """
    first: dict[str, Mapping[str, Any]] = {}
    for item in items:
        first.setdefault(item["id"], item)
    return [listed_item(item) for item in first.values()]


def listed_item(item: Mapping[str, Any]) -> Item:
    """A stored item in its full form. Clients may send a message's text as a string; here it is a list of parts."""
    shown = {"status": "completed", **item}
    if item["type"] != "message":
        return shown
    content = item["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return shown | {"content": [_part(part, item["role"]) for part in content]}


def _part(part: Mapping[str, Any], role: str) -> Item:
    if part["type"] not in ("text", "input_text", "output_text"):
        return dict(part)
    if role == "assistant":
        return {"annotations": [], **part, "type": "output_text"}
    return {**part, "type": "input_text"}
