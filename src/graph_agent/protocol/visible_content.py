"""What a model says to the reader, piece by piece: text, refusals, and names for what is not text.

A message may have several parts. Newer OpenAI models mark blocks with a `phase`, and a refusal is a part of its own. A
Responses message cannot contain images or audio, so the text names them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import BaseMessage

from graph_agent.protocol.content import Content
from graph_agent.protocol.events import Phase
from graph_agent.protocol.surrogates import join_surrogates

Kind = Literal["text", "refusal"]

_MEDIA = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "output_image": "image",
    "image_generation_call": "image",
    "audio": "audio",
    "input_audio": "audio",
    "output_audio": "audio",
    "video": "video",
    "video_url": "video",
    "file": "file",
    "document": "file",
    "media": "file",
    "inline_data": "file",
}

_NOT_SAID = frozenset(
    (
        "text",
        "output_text",
        "refusal",
        "reasoning",
        "thinking",
        "redacted_thinking",
        "reasoning_content",
        "tool_use",
        "tool_call_chunk",
        "input_json_delta",
        "server_tool_use",
        "server_tool_call_chunk",
        "cache_point",
    )
)
"""Types of blocks that other code reads, or that are only for the model's provider."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of what is said."""

    text: str
    kind: Kind = "text"
    phase: Phase | None = None
    """The phase that the provider declares."""
    block: Any = None
    """The block of the message it belongs to, if the provider says."""
    names: bool = False
    """It names something that is not text: once for each block."""


@dataclass(frozen=True, slots=True)
class VisibleContent:
    """A whole message as the reader gets it."""

    aside: str
    """What the provider declares to be commentary."""
    text: str
    refusal: str

    @property
    def whole(self) -> str:
        """Everything except commentary."""
        return self.text + self.refusal


def visible_content_of(message: BaseMessage) -> VisibleContent:
    """What a whole message says."""
    if isinstance(message.content, str) and not message.additional_kwargs:
        return VisibleContent("", join_surrogates(message.content), "")
    pieces = list(pieces_of(message))
    aside, text, refusal = (
        join_surrogates("".join(piece.text for piece in pieces if part == _part(piece)))
        for part in ("aside", "text", "refusal")
    )
    # Only here and not while streaming: an unknown block next to text needs no name.
    if not (aside or text or refusal) and not isinstance(message.content, str):
        text = " ".join(_unknown(block) for block in message.content if isinstance(block, dict)).strip()
    return VisibleContent(aside, text, refusal)


def _part(piece: Piece) -> str:
    return piece.kind if piece.kind == "refusal" else "aside" if piece.phase == "commentary" else "text"


def pieces_of(message: BaseMessage) -> Iterator[Piece]:
    """What a message or a chunk of one says, in order."""
    if isinstance(message.content, str):
        if message.content:
            yield Piece(message.content)
    else:
        yield from visible_blocks(message.content)
    if message.additional_kwargs:
        match message.additional_kwargs:
            case {"refusal": str(refusal)} if refusal:
                yield Piece(refusal, "refusal")
            # OpenAI's audio models put what they say here, and leave the content empty.
            case {"audio": {"transcript": str(transcript)}} if transcript and not message.content:
                yield Piece(transcript)


def visible_blocks(content: Content) -> Iterator[Piece]:
    """What the blocks of a content say."""
    for block in content:
        match block:
            case str():
                yield Piece(block)
            case {"type": "text" | "output_text", "text": str(text)}:
                phase = block.get("phase")
                known = phase if phase in ("commentary", "final_answer") else None
                yield Piece(text, phase=known, block=block.get("index"))
            case {"type": "refusal", "refusal": str(refusal)}:
                yield Piece(refusal, "refusal", block=block.get("index"))
            case {"type": "non_standard", "value": {"type": "refusal", "refusal": str(refusal)}}:
                yield Piece(refusal, "refusal", block=block.get("index"))
            case {"type": str(kind)} if kind in _MEDIA:
                yield Piece(_name(_MEDIA[kind], block), block=block.get("index"), names=True)


def _name(kind: str, block: Mapping[str, Any]) -> str:
    """An image with an address becomes a link. One that is only bytes is named by type: no client shows it in text."""
    address = _address(block)
    if address.startswith(("https://", "http://")) and not any(sign in address for sign in " ()<>\n"):
        return f"![image]({address})" if kind == "image" else f"[{kind}]({address})"
    embedded = address.removeprefix("data:").partition(";")[0] if address.startswith("data:") else ""
    given = block.get("mime_type") or block.get("media_type") or _inner(block, "media_type") or embedded
    mime = given if isinstance(given, str) and len(given) < 80 and "/" in given else ""
    return f"[{mime or kind}]"


def _address(block: Mapping[str, Any]) -> str:
    for key in ("url", "image_url", "video_url", "file_url"):
        value = block.get(key)
        value = value.get("url") if isinstance(value, Mapping) else value
        if isinstance(value, str):
            return value
    return str(_inner(block, "url") or "")


def _inner(block: Mapping[str, Any], key: str) -> Any:
    source = block.get("source")
    return source.get(key) if isinstance(source, Mapping) else None


def _unknown(block: Mapping[str, Any]) -> str:
    """The name of an unknown block, for a message that says nothing else: better than an empty answer."""
    kind = block.get("type")
    if not isinstance(kind, str) or kind in _NOT_SAID or kind.endswith(("_call", "_result", "_output", "_delta")):
        return ""
    return f"[{kind}]" if kind.isidentifier() and len(kind) <= 40 else ""
