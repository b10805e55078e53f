"""The block of fields that site generators read at the top of a Markdown file."""

import tomllib
from collections.abc import Mapping
from typing import Any

import yaml

MOST_CHARACTERS = 20_000
KNOWN_FIELDS = frozenset({"title", "author", "date", "tags", "description", "layout", "id", "name", "summary"})


def split_front_matter(source: str) -> tuple[str, str]:
    """The title it gives, or none, and the document without it.

    A rule at the top of a text is no front matter, nor is a text between two rules.
    """
    lines = source.split("\n")
    mark = lines[0].rstrip()
    if mark not in ("---", "+++") or len(lines) < 3:
        return "", source
    ends = ("---", "...") if mark == "---" else ("+++",)
    size = 0
    for at, line in enumerate(lines[1:], start=1):
        if line.rstrip() in ends:
            fields = fields_of("\n".join(lines[1:at]), mark)
            return (title_of(fields), "\n".join(lines[at + 1 :])) if fields is not None else ("", source)
        size += len(line) + 1
        if size > MOST_CHARACTERS:
            break
    return "", source


def fields_of(block: str, mark: str) -> Mapping[str, Any] | None:
    """The fields, where it is a block of fields."""
    if not block.strip() or block[0] in "\n ":
        return None
    try:
        # Every value as text: dates and numbers need not be any.
        fields = tomllib.loads(block) if mark == "+++" else yaml.load(block, Loader=yaml.BaseLoader)
    # Whatever a text that is none leads the parsers into, up to RecursionError.
    except Exception:
        return None
    return fields if isinstance(fields, dict) and all(map(is_field_name, fields)) else None


def is_field_name(name: Any) -> bool:
    """`Note: mind the gap` begins a sentence, `draft: true` and `Title: Gaps` are fields."""
    return isinstance(name, str) and " " not in name and (name[:1].islower() or name.lower() in KNOWN_FIELDS)


def title_of(fields: Mapping[str, Any]) -> str:
    title = next((value for name, value in fields.items() if name.lower() == "title"), "")
    return " ".join(title.split()) if isinstance(title, str) else ""
