"""Reads the content of a LangChain message: its visible text, reasoning, citations, and a tool's output.

Chat models disagree on the shape of `content`: a string, or blocks as LangChain, OpenAI, Anthropic or Databricks define
them. All content is read here. Plain strings come first, because this runs once for each streamed token.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage

from graph_agent.links import safe_link

__all__ = ["annotations_of", "output_text", "reasoning_of", "reasoning_parts", "text_of"]

TEXT_TYPES = ("text", "output_text")

PARAGRAPH = "\n\n"
"""Joins two parts of reasoning. Databricks reads only the first part of a summary, so they become one text."""

Content = str | list[str | dict[Any, Any]]
"""`content` of a LangChain message."""


def text_of(content: Content) -> str:
    """The text for the reader: strings and text blocks, never reasoning or tool calls."""
    if isinstance(content, str):
        return content
    return "".join(map(_visible, content))


def _visible(block: object) -> str:
    match block:
        case str():
            return block
        case {"type": "text" | "output_text", "text": str(text)}:
            return text
    return ""


def reasoning_of(message: BaseMessage) -> str:
    """The model's reasoning, its parts joined by `PARAGRAPH`: from blocks, else from `reasoning_content`."""
    parts: dict[Any, str] = {}
    for key, text in reasoning_parts(message):
        parts[key] = parts.get(key, "") + text
    return PARAGRAPH.join(parts.values())


def reasoning_parts(message: BaseMessage) -> Iterator[tuple[Any, str]]:
    """Pieces of reasoning, each with the key of its part: pieces of the same part have equal keys."""
    if not isinstance(message.content, str):
        found = False
        for place, block in enumerate(message.content):
            if isinstance(block, dict):
                for part, text in _thoughts(block):
                    found = True
                    yield (block.get("index", place), part), text
        if found:
            return
    if message.additional_kwargs:
        for name in ("reasoning_content", "reasoning"):
            spoken = message.additional_kwargs.get(name)
            if isinstance(spoken, str) and spoken:
                yield name, spoken
                return
            if isinstance(spoken, dict):
                for part, text in _thoughts({"type": "reasoning", **spoken}):
                    yield (name, part), text
                return


def _thoughts(block: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    match block:
        case {"type": "thinking", "thinking": str(text)}:
            yield 0, text
        case {"type": "reasoning", "reasoning": str(text)}:
            yield 0, text
        case {"type": "reasoning", "summary": str(text)}:
            yield 0, text
        case {"type": "reasoning_content", "reasoning_content": {"text": str(text)}}:
            yield 0, text
        case {"type": "reasoning", "summary": list(parts)} if parts:
            yield from _texts(parts)
        case {"type": "reasoning", "content": list(parts)}:
            yield from _texts(parts)


def _texts(parts: list[Any]) -> Iterator[tuple[Any, str]]:
    for place, part in enumerate(parts):
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part.get("index", place), part["text"]


def annotations_of(message: BaseMessage) -> list[dict[str, Any]]:
    """The citations in text blocks as Responses `url_citation`s.

    Offsets count from the start of `text_of(content)`, without blocks that their provider declares to be commentary.
    """
    if isinstance(message.content, str):
        return []
    found: list[dict[str, Any]] = []
    offset = 0
    for block in message.content:
        if isinstance(block, dict) and block.get("phase") == "commentary":
            # Commentary is a separate item on the wire.
            continue
        length = len(_visible(block))
        if isinstance(block, dict) and block.get("type") in TEXT_TYPES:
            found += _citations(block.get("annotations") or (), offset, length)
        offset += length
    return found


def _citations(annotations: Iterable[Any], offset: int, length: int) -> Iterable[dict[str, Any]]:
    for annotation in annotations:
        match annotation:
            # Chat completions nest the fields, Responses and LangChain do not.
            case {"type": "url_citation", "url_citation": {"url": str()} as fields}:
                yield _url_citation(fields, offset, length)
            case {"type": "url_citation" | "citation", "url": str()}:
                yield _url_citation(annotation, offset, length)


def _url_citation(fields: Mapping[str, Any], offset: int, length: int) -> dict[str, Any]:
    start, end = fields.get("start_index"), fields.get("end_index")
    title = fields.get("title")
    return {
        "type": "url_citation",
        "url": safe_link(fields["url"], names=True),
        "title": title if isinstance(title, str) else fields["url"],
        "start_index": offset + (start if isinstance(start, int) else 0),
        "end_index": offset + (end if isinstance(end, int) else length),
    }


def output_text(message: ToolMessage) -> str:
    """A tool's result as the string of a `function_call_output`: one line per block, compact JSON where not text."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(map(_written, message.content))


def _written(block: object) -> str:
    match block:
        case str():
            return block
        case {"type": "text" | "output_text" | "input_text", "text": str(text)}:
            return text
    return json.dumps(block, ensure_ascii=False, separators=(",", ":"), skipkeys=True, default=_unwritable)


def _unwritable(value: object) -> str:
    return f"({type(value).__name__})"
