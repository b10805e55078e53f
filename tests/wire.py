"""Normalizes what clients receive, so that two runs compare equal: ids by order of appearance, and no times."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

ID = re.compile(r"^(resp|msg|fc|fco|mcp|rs|call|req)_[0-9a-f]{24,32}$")


FRAME = re.compile(r"(?:id: \d+\n)?(?:event: (.*)\n)?data: (.*)")

TIMES = ("created_at", "completed_at")


class Ids:
    """Renames ids to `msg-1`, `msg-2` and so on, in the order in which they appear."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def told(self, value: Any) -> Any:
        """Return the value with every id renamed and all times set to 0."""
        match value:
            case str() if match := ID.match(value):
                return self._name(value, match[1])
            case dict():
                return {key: 0 if key in TIMES and inner else self.told(inner) for key, inner in value.items()}
            case list():
                return [self.told(inner) for inner in value]
        return value

    def _name(self, value: str, prefix: str) -> str:
        if value not in self._names:
            self._counts[prefix] = self._counts.get(prefix, 0) + 1
            self._names[value] = f"{prefix}-{self._counts[prefix]}"
        return self._names[value]


def told(value: Any) -> Any:
    """Return a value, or the events of one run, with normalized ids and times."""
    return Ids().told(value)


def frames(body: str) -> list[Any]:
    """Return the `data:` frames of an SSE body in order. `[DONE]` is a string, and comments are left out."""
    return [data for _, data in named_frames(body)]


def named_frames(body: str) -> list[tuple[str | None, Any]]:
    """Return the frames with the names in their `event:` lines."""
    parts = [FRAME.fullmatch(part) for part in body.split("\n\n") if part and not part.startswith(":")]
    assert all(parts), body
    return [(part[1], part[2] if part[2] == "[DONE]" else json.loads(part[2])) for part in parts if part]


def gist(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Summarize a stream: which items opened, the text of each item, and how each item closed."""
    return [line for line in map(_line, events) if line]


def _line(event: Mapping[str, Any]) -> str:
    index = event.get("output_index")
    match event["type"].removeprefix("response."):
        case "output_item.added":
            return f"{index}+ {event['item']['type']}"
        case "output_text.delta" | "reasoning_summary_text.delta":
            return f"{index}: {event['delta']}"
        case "output_item.done":
            return f"{index}- {_closed(event['item'])}"
        case "output_text.annotation.added":
            return f"{index}@ {event['annotation']['url']}"
        case "completed" | "incomplete" | "failed" as end:
            return end
        case "error":
            return f"error {event['code']}"
    return ""


def _closed(item: Mapping[str, Any]) -> str:
    match item["type"]:
        case "message":
            text = "".join(part["text"] for part in item["content"])
            return " ".join(["message", item.get("phase") or "", item["status"], repr(text)]).replace("  ", " ")
        case "function_call":
            return f"call {item['name']}({item['arguments']})"
        case "function_call_output":
            return f"output {item['output']!r}"
        case "mcp_call":
            result = item["output"] if item["error"] is None else f"error {item['error']}"
            return f"mcp {item['name']}({item['arguments']}) {item['status']} {result!r}"
        case "reasoning":
            return f"reasoning {''.join(part['text'] for part in item['summary'])!r}"
    return str(item["type"])


def phases(response: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the messages of a response, each with its phase."""
    return [
        ("".join(part["text"] for part in item["content"]), item.get("phase"))
        for item in response["output"]
        if item["type"] == "message"
    ]
