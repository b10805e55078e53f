"""Converts LangChain messages to Responses items, and detects messages that were edited."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from graph_agent.protocol.content import annotations_of, output_text, reasoning_of, text_of
from graph_agent.protocol.content_parts import parts_of
from graph_agent.protocol.item_shapes import Item

OPENAI_ROLE = "__openai_role__"
"""LangChain's key for the role `developer`, which its OpenAI converters read."""


def new_id(prefix: str) -> str:
    """A fresh unique id."""
    return f"{prefix}_{uuid4().hex}"


def items_of_message(message: BaseMessage) -> list[Item]:
    """The message as items. Removals and other bookkeeping messages have no items."""
    match message:
        case AIMessage():
            return [*_thoughts(message), *_speech(message), *_calls(message)]
        case ToolMessage():
            return [_result(message)]
        case HumanMessage():
            return [_message(message, "user")]
        case SystemMessage():
            return [_message(message, message.additional_kwargs.get(OPENAI_ROLE, "system"))]
        case ChatMessage():
            return [_message(message, message.role)]
    return []


def _message(message: BaseMessage, role: str) -> Item:
    return {
        "type": "message",
        "id": message.id or new_id("msg"),
        "role": role,
        "content": parts_of(message.content),
    }


def _thoughts(message: AIMessage) -> Iterator[Item]:
    if thought := reasoning_of(message):
        yield {
            "type": "reasoning",
            "id": f"rs_{message.id}" if message.id else new_id("rs"),
            "summary": [{"type": "summary_text", "text": thought}],
        }


def _speech(message: AIMessage) -> Iterator[Item]:
    text = text_of(message.content)
    # An empty message without calls is still a turn of the conversation.
    if text or not (message.tool_calls or message.invalid_tool_calls):
        part = {"type": "output_text", "text": text, "annotations": annotations_of(message), "logprobs": []}
        yield {
            "type": "message",
            "id": message.id or new_id("msg"),
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }


def _calls(message: AIMessage) -> Iterator[Item]:
    for call in message.tool_calls:
        yield _call(call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False, default=str))
    for broken in message.invalid_tool_calls:
        yield _call(broken["id"], broken["name"] or "", broken["args"] or "")


def _call(call_id: str | None, name: str, arguments: str) -> Item:
    call_id = call_id or new_id("call")
    return {
        "type": "function_call",
        "id": call_item_id(call_id),
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def call_item_id(call_id: str) -> str:
    """The id of a `function_call` item that came without one. A client that resends the item gets the same id again."""
    return f"fc_{call_id}"


def _result(message: ToolMessage) -> Item:
    return {
        "type": "function_call_output",
        "id": message.id or new_id("fco"),
        "call_id": message.tool_call_id,
        "output": output_text(message),
        "status": "completed",
    }


def digest(message: BaseMessage) -> str:
    """A hash of what a message says. It differs once a graph has edited the message."""
    calls = message.tool_calls if isinstance(message, AIMessage) else None
    said: list[Any] = [message.type, message.content, calls]
    return hashlib.blake2b(json.dumps(said, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
