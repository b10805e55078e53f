"""Refuses content that no model would read. The error names it, because a good answer would hide the loss."""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import UnsupportedField
from graph_agent.protocol.field_checks import Check, accepts, at, shown

CONTENT_FIELDS = (
    "content",
    "text",
    "input",
    "output",
    "outputs",
    "arguments",
    "code",
    "data",
    "result",
    "results",
    "parts",
    "refusal",
    "tool_calls",
    "function_call",
    "images",
    "audio",
    "files",
    "file_ids",
    "attachments",
    "encrypted_content",
)
"""Fields in which similar APIs put text and attachments. An unknown item that has one carries content."""

REASONING_PARTS = frozenset({"reasoning", "reasoning_text", "summary_text", "thinking", "redacted_thinking"})
"""Parts of an assistant's message that are kept but, like `reasoning` items, not sent to a model."""

SPOKEN_PARTS = frozenset({"input_text", "output_text", "text", "refusal"}) | REASONING_PARTS

INSTEAD: Mapping[str, str] = {
    "tool_calls": "send each as a `function_call` item",
    "function_call": "send it as a `function_call` item",
    "images": "send each as a content part `input_image`",
    "audio": "send it as a content part `input_audio`",
    "files": "send each as a content part `input_file` with `file_data`",
    "attachments": "send each as a content part of its kind",
    "parts": "send them as `content`",
}


def refuse_unreadable(item: Mapping[str, Any], path: str, *, read: bool) -> None:
    """Refuse an item with content in a field that is not read. `read` says that its `content` field is read.

    Raises:
        UnsupportedField: it has content that would be dropped; `param` is the path.
    """
    for name in CONTENT_FIELDS:
        if item.get(name) and not (read and name == "content"):
            kind = shown(item["type"])
            remedy = INSTEAD.get(name) or "send it as a message, with a role, or leave the item out"
            raise UnsupportedField(
                f"`{at(path, name)}` of an item of type {kind} would not reach a model: {remedy}.",
                param=at(path, name),
            )


def refuse_assistant_media(item: Mapping[str, Any], path: str) -> None:
    """Refuse images and files in an assistant's message: model endpoints accept them only from users.

    Raises:
        UnsupportedField: it has such a part; `param` is the path.
    """
    parts = item["content"]
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        kind, param = part["type"], at(at(at(path, "content"), index), "type")
        if item["role"] == "assistant" and kind not in SPOKEN_PARTS:
            raise UnsupportedField(
                f"`{param}` is {shown(kind)}, which models accept only from users, not in an assistant's message.",
                param=param,
            )
        if item["role"] != "assistant" and kind in REASONING_PARTS:
            raise UnsupportedField(
                f"`{param}` is {shown(kind)}, which only an assistant's message can contain.", param=param
            )


def unknown_part(value: Mapping[str, Any], path: str, known: Mapping[str, Check]) -> None:
    """Refuse a content part of an unknown type.

    Raises:
        UnsupportedField: always; the message lists the known types.
    """
    param = at(path, "type")
    raise UnsupportedField(
        f"`{param}` is {shown(value['type'])}, which is not a known type. Known types: {', '.join(known)}.", param=param
    )


def by_reference(*names: str, unless: str, instead: str) -> Check:
    """A check that refuses a part which refers to its content by one of `names` and does not have `unless`.

    The part must have at least one of these fields.
    """

    @accepts({"required": [unless]})
    def checked(value: Any, path: str) -> None:
        given = next((name for name in names if value.get(name) is not None), None)
        if given is not None and value.get(unless) is None:
            param = at(path, given)
            raise UnsupportedField(
                f"`{param}` is not supported, because this service fetches no files: {instead}.", param=param
            )

    return checked
