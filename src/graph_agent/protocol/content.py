"""What a LangChain message says: its visible text, its reasoning, its citations, its tool's output.

Chat models disagree on the shape of `content`: a string, or blocks of LangChain's, OpenAI's, Anthropic's or
Databricks' making. Everything that reads content goes through here, once per streamed token for plain strings.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage

__all__ = ["annotations_of", "output_text", "reasoning_of", "text_of"]

TEXT_TYPES = ("text", "output_text")

Content = str | list[str | dict[Any, Any]]
"""`content` of a LangChain message."""


def text_of(content: Content) -> str:
    """The text meant for the reader: strings and text blocks, never reasoning or tool calls."""
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
    """What the model thought, where its endpoint shows it: blocks first, else `reasoning_content`."""
    if not isinstance(message.content, str) and (thought := "".join(map(_thought, message.content))):
        return thought
    spoken = message.additional_kwargs.get("reasoning_content") if message.additional_kwargs else None
    return spoken if isinstance(spoken, str) else ""


def _thought(block: object) -> str:
    match block:
        case {"type": "thinking", "thinking": str(text)}:
            return text
        case {"type": "reasoning", "reasoning": str(text)}:
            return text
        case {"type": "reasoning", "summary": str(text)}:
            return text
        case {"type": "reasoning", "summary": list(parts)}:
            return "".join(part["text"] for part in parts if _has_text(part))
    return ""


def _has_text(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def annotations_of(message: BaseMessage) -> list[dict[str, Any]]:
    """The citations in text blocks as Responses `url_citation`s; offsets count from the start of `text_of(content)`."""
    if isinstance(message.content, str):
        return []
    found: list[dict[str, Any]] = []
    offset = 0
    for block in message.content:
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
        "url": fields["url"],
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
