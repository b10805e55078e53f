"""Stored items as lists and lookups show them: with the fields that typed clients require."""

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]


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
