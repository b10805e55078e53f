"""Converts content parts of a Responses message to content blocks of a LangChain message, and back."""

from collections.abc import Iterable, Mapping
from typing import Any

from graph_agent.protocol.content import Content

Block = dict[str, Any]


def content_of(parts: str | list[Block]) -> Content:
    """The content of a user's, a system's or a tool's message: a plain string if it is only one text."""
    if isinstance(parts, str):
        return parts
    match blocks := [block for part in parts if (block := _block(part))]:
        case []:
            return ""
        case [{"type": "text", "text": str(text)}]:
            return text
    return list(blocks)


def assistant_text(parts: str | list[Block]) -> str:
    """The text of an assistant's message. Endpoints accept images and files only from users."""
    if isinstance(parts, str):
        return parts
    return "".join(block["text"] for part in parts if (block := _block(part)) and block["type"] == "text")


def _block(part: Mapping[str, Any]) -> Block | None:
    """The block that chat models accept for a part, or `None` for a part that is not for models."""
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": text} | {"type": "refusal", "refusal": text}:
            return {"type": "text", "text": text}
        case {"type": "image_url", "image_url": dict(image)}:
            return {"type": "image_url", "image_url": image}
        case {"type": "input_image" | "image_url", "image_url": str(url)}:
            detail = {"detail": part["detail"]} if part.get("detail") else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case {"type": "input_file", "file_data": str(data)}:
            return {"type": "file", "file": {"filename": part.get("filename") or "file", "file_data": data}}
        case {"type": "input_audio", "input_audio": dict(audio)}:
            return {"type": "input_audio", "input_audio": audio}
    return None


def parts_of(content: Content) -> str | list[Block]:
    """The parts that express `content`, for a user's or a system's message."""
    return content if isinstance(content, str) else list(_parts(content))


def _parts(blocks: Iterable[str | Block]) -> Iterable[Block]:
    for block in blocks:
        match block:
            case str():
                yield {"type": "input_text", "text": block}
            case {"type": "text", "text": str(text)}:
                yield {"type": "input_text", "text": text}
            case {"type": "image_url", "image_url": {"url": str(url), "detail": str(detail)}}:
                yield {"type": "input_image", "image_url": url, "detail": detail}
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield {"type": "input_image", "image_url": url}
            case {"type": "image_url", "image_url": str(url)}:
                yield {"type": "input_image", "image_url": url}
            case {"type": "file", "file": dict(file)}:
                yield {"type": "input_file", **file}
            case {"type": "input_audio", "input_audio": dict(audio)}:
                yield {"type": "input_audio", "input_audio": audio}
