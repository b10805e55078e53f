"""The `content` of a chat completion: a string, or a list of parts as Databricks endpoints send it.

Claude, GPT-OSS and Gemini answer with `[{"type": "reasoning", "summary": [...]}, {"type": "text", ...}]`. This module
converts that to LangChain's blocks, and back to the parts that an endpoint accepts: it refuses unknown fields.

Source: https://docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Block = str | dict[str, Any]

TEXT = ("text", "output_text")
THOUGHTS = ("reasoning", "thinking", "redacted_thinking")


class ContentReader:
    """Reads the content of one answer piece by piece.

    Each part of the reasoning gets its own `index`, by which LangChain merges the pieces of a block.
    """

    def __init__(self) -> None:
        self._index = -1
        self._open: str | None = None
        """The type of the block that the next piece may continue."""

    def read(self, content: Any) -> list[Block]:
        """The blocks of this piece: text as strings, reasoning and everything else as objects."""
        if isinstance(content, str):
            self._open = None
            return [content] if content else []
        if content is None:
            return []
        parts = content if isinstance(content, list) else [content]
        return [block for part in parts for block in self._part(part)]

    def _part(self, part: Any) -> Iterator[Block]:
        match part:
            case None | "" | {"type": "text" | "output_text", "text": None | ""}:
                return
            case str(text) | {"type": "text" | "output_text", "text": str(text)}:
                self._open = None
                yield text
            case {"type": "refusal", "refusal": str(text)}:
                yield {"type": "refusal", "refusal": text, "index": self._index_of("refusal")}
            case {"type": str(kind)} if kind in THOUGHTS:
                for number, (text, extras) in enumerate(_thoughts(part)):
                    yield self._thought(text, extras, new=number > 0)
            case {"type": str()}:
                self._open = None
                yield dict(part)
            case _:
                # A number, or an object of unknown form: shown as it is, as dropping it could lose part of the answer.
                self._open = None
                yield json.dumps(part, ensure_ascii=False)

    def _thought(self, text: str, extras: Mapping[str, str], *, new: bool) -> Block:
        if new:
            self._open = None
        block: dict[str, Any] = {"type": "reasoning", "reasoning": text, "index": self._index_of("reasoning")}
        if extras:
            # A signature covers the whole thought, so nothing may be added to its block.
            self._open = None
            block["extras"] = dict(extras)
        return block

    def _index_of(self, kind: str) -> int:
        if self._open != kind:
            self._open = kind
            self._index += 1
        return self._index


def joined(blocks: Sequence[Block]) -> str | list[Block]:
    """The content of a whole message: a string if it is all text, as most code that reads messages expects."""
    merged: list[Block] = []
    for block in blocks:
        if isinstance(block, dict):
            # An index is for merging chunks only.
            merged.append({key: value for key, value in block.items() if key != "index"})
        elif merged and isinstance(merged[-1], str):
            merged[-1] += block
        else:
            merged.append(block)
    if all(isinstance(block, str) for block in merged):
        return "".join(map(str, merged))
    return merged


def content_to_resend(content: str | Sequence[Any], *, signed: bool) -> str | list[dict[str, Any]]:
    """An assistant's content in the form that an endpoint accepts: text, and unchanged the thoughts it `signed` itself.

    The endpoint would refuse an unsigned thought, a thought of another model, and annotations of a text.
    """
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for block in content:
        match block:
            case str(text) | {"type": "text" | "output_text", "text": str(text)} | {"refusal": str(text)}:
                if text:
                    parts.append({"type": "text", "text": text})
            case {"type": "reasoning", "extras": {"signature": str(signature)}} if signed:
                summary = {"type": "summary_text", "text": block.get("reasoning", ""), "signature": signature}
                parts.append({"type": "reasoning", "summary": [summary]})
            case {"type": "reasoning", "extras": {"encrypted": str(data)}} if signed:
                summary = {"type": "summary_encrypted_text", "data": data}
                parts.append({"type": "reasoning", "summary": [summary]})
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _thoughts(part: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each thought of a part, and its signature from the endpoint."""
    summary = part.get("summary", part.get("content"))
    if not isinstance(summary, list):
        summary = [{**part, "text": next((part[key] for key in _TEXTS if isinstance(part.get(key), str)), "")}]
    for one in summary:
        if isinstance(one, str):
            yield one, {}
        elif isinstance(one, Mapping):
            text, signature, data = one.get("text"), one.get("signature", part.get("signature")), one.get("data")
            extras = {"signature": signature, "encrypted": data}
            kept = {name: value for name, value in extras.items() if isinstance(value, str) and value}
            if kept or isinstance(text, str):
                yield text if isinstance(text, str) else "", kept


_TEXTS = ("thinking", "reasoning", "text", "summary", "content")
