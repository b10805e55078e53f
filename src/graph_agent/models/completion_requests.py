"""LangChain's messages and tools as the arguments of a chat completion that Databricks' endpoints accept.

Source: databricks-langchain 0.22 (`ChatDatabricks`) and databricks-openai 0.18, whose requests these are.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.utils.function_calling import convert_to_openai_tool

CHOICES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
"""LangChain's words for a choice of tools that name no tool, and OpenAI's."""

Json = dict[str, Any]


def message_to_send(message: BaseMessage) -> Json:
    """A message of a conversation. Its `name` is left out: the endpoints refuse it.

    Raises:
        ValueError: the endpoints have no messages of its kind.
    """
    match message:
        case ChatMessage():
            return {"role": message.role, "content": message.content}
        case HumanMessage():
            return {"role": "user", "content": message.content}
        case SystemMessage():
            return {"role": "system", "content": message.content}
        case ToolMessage():
            return {"role": "tool", "tool_call_id": message.tool_call_id, "content": _result(message.content)}
        case AIMessage():
            calls = _calls(message)
            if not calls:
                return {"role": "assistant", "content": message.content}
            # Beside calls, an empty text is refused.
            return {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    raise ValueError(f"endpoints have no message of the kind {type(message).__name__}")


def chosen_tool(tools: Sequence[Any], choice: Any) -> Json:
    """`tools` and `tool_choice` of a call, in OpenAI's form.

    Raises:
        ValueError: `choice` names a tool that is not among the tools, or has an unknown form.
    """
    sent = [convert_to_openai_tool(tool) for tool in tools]
    if not choice:
        return {"tools": sent}
    match choice:
        case str():
            named = {"type": "function", "function": {"name": choice}}
            return {"tools": sent, "tool_choice": CHOICES.get(choice, named)}
        case {"function": {"name": name}} if name in [tool["function"]["name"] for tool in sent]:
            return {"tools": sent, "tool_choice": choice}
    raise ValueError("tool_choice must be the name of one of the tools, `auto`, `none`, `required` or `any`")


def call_arguments(model: str, arguments: Mapping[str, Any]) -> Json:
    """The arguments without what the endpoints of some families refuse, and with `custom_inputs` where they are sent.

    Only GPT models take `strict` in a tool. Claude takes no empty text beside calls.
    """
    sent = {name: value for name, value in arguments.items() if name not in ("strict", "custom_inputs")}
    if (inputs := arguments.get("custom_inputs")) is not None:
        sent["extra_body"] = {"custom_inputs": inputs}
    if sent.get("tools") and "gpt" not in model.lower():
        sent["tools"] = [_not_strict(tool) for tool in sent["tools"]]
    if "claude" in model.lower():
        sent["messages"] = [_with_text(message) for message in sent["messages"]]
    return sent


def _result(content: Any) -> Any:
    """The content of a tool's result. Parts with text have no further fields."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": text}
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(text := part.get("text"), str)
        else part
        for part in content
    ]


def _calls(message: AIMessage) -> list[Json]:
    valid = [_call(one["id"], one["name"], json.dumps(one["args"])) for one in message.tool_calls]
    invalid = [_call(one["id"], one["name"], one["args"]) for one in message.invalid_tool_calls]
    if valid or invalid:
        return valid + invalid
    kept = message.additional_kwargs.get("tool_calls", [])
    return [{name: value for name, value in one.items() if name in ("id", "type", "function")} for one in kept]


def _call(id: str | None, name: str | None, arguments: str | None) -> Json:
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


def _not_strict(tool: Any) -> Any:
    if not isinstance(tool, dict) or "strict" not in (function := tool.get("function", {})):
        return tool
    return {**tool, "function": {name: value for name, value in function.items() if name != "strict"}}


def _with_text(message: Json) -> Json:
    if message["role"] != "assistant" or not message.get("tool_calls") or not _is_empty(message["content"]):
        return message
    return {**message, "content": " "}


def _is_empty(content: Any) -> bool:
    """Whether a content has no text and nothing else."""
    match content:
        case None:
            return True
        case str():
            return not content.strip()
        case list():
            return all(
                isinstance(part, dict) and part.get("type") == "text" and not (part.get("text") or "").strip()
                for part in content
            )
    return False
