"""Front matter: the block of fields that static site generators read at the top of a Markdown file."""

import tomllib
from collections.abc import Mapping
from typing import Any

import yaml

MOST_CHARACTERS = 20_000
"""Size limit of the block. Without it, a stray rule on the first line would send the whole document to a parser."""

KNOWN_FIELDS = frozenset({"title", "author", "date", "tags", "description", "layout", "id", "name", "summary"})
"""Field names that may be capitalized. Other capitalized names look like the beginning of a sentence."""


def split_front_matter(source: str) -> tuple[str, str]:
    """Split a document into the title in its front matter, empty if there is none, and the rest.

    A horizontal rule at the top of a document is not front matter, and neither is text between two rules.
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
    """The fields of the block, or `None` if it is not a block of fields."""
    if not block.strip() or block[0] in "\n ":
        return None
    try:
        # BaseLoader keeps every value as text. It builds no objects, and an invalid date or number does not fail.
        fields = tomllib.loads(block) if mark == "+++" else yaml.load(block, Loader=yaml.BaseLoader)
    except Exception:  # noqa: BLE001 - the parsers raise anything for text that is not front matter, RecursionError too
        return None
    return fields if isinstance(fields, dict) and all(map(is_field_name, fields)) else None


def is_field_name(name: Any) -> bool:
    """Whether a YAML key looks like a field: `draft: true` and `Title: Gaps` do, `Note: mind the gap` is a sentence."""
    return isinstance(name, str) and " " not in name and (name[:1].islower() or name.lower() in KNOWN_FIELDS)


def title_of(fields: Mapping[str, Any]) -> str:
    title = next((value for name, value in fields.items() if name.lower() == "title"), "")
    return " ".join(title.split()) if isinstance(title, str) else ""
