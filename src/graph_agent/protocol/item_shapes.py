"""The Responses items and content parts that are supported, and the fields of each.

| Item | What the model sees |
|---|---|
| message | a message of its role |
| function_call, custom_tool_call, mcp_approval_request | a tool call |
| function_call_output, custom_tool_call_output, mcp_approval_response | a tool result |
| mcp_call | a tool call and its result |
| reasoning | nothing; it is kept and returned |
| web_search_call and the other items of hosted tools | nothing; a warning says so if they have content |
| compaction | its summary, in place of what came before; refused where nothing is stored |
| unknown items | nothing if they have no content; else refused |
| item_reference | the stored item that it names; refused where nothing is stored |
"""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import InvalidEncryptedContent, InvalidRequest, UnsupportedField
from graph_agent.protocol.events import new_id
from graph_agent.protocol.field_checks import (
    Check,
    Schema,
    Shape,
    a_boolean,
    a_name,
    a_string,
    accepts,
    an_object,
    anything,
    array_of,
    at,
    both,
    one_of,
    or_null,
    string_or,
)
from graph_agent.protocol.unreadable_content import (
    REASONING_PARTS,
    by_reference,
    refuse_assistant_media,
    refuse_unreadable,
    unknown_part,
)
from graph_agent.sealing import MOST_CHARACTERS, is_sealed

Item = dict[str, Any]
"""A checked Responses item. It always has a `type`."""

CLIENT_CALLS = ("function_call", "custom_tool_call")
"""Items that ask the client to run a tool."""

OUTPUTS = ("function_call_output", "custom_tool_call_output")
"""Items that are the results of such calls."""

CALL_ID: Mapping[str, str] = {
    "function_call": "call_id",
    "custom_tool_call": "call_id",
    "mcp_approval_request": "id",
    "mcp_call": "id",
}
"""Items that are a tool call -> the field with the call's id."""

PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
}
"""Type of an item -> the beginning of its id."""

REFERENCE = "item_reference"
"""The type of an item that stands for a stored item."""

COMPACTION = "compaction"
"""The type of an item that stands for the part of a conversation before it."""

RESULT_ID: Mapping[str, str] = {
    **dict.fromkeys(OUTPUTS, "call_id"),
    "mcp_approval_response": "approval_request_id",
}
"""Items that answer a tool call -> the field with the call's id."""

HOSTED = frozenset(
    (
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_list_tools",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)
"""Items of tools that OpenAI hosts. They are kept, and no model reads them."""

_TEXT = Shape(required={"text": a_string}, optional={"annotations": array_of(an_object)})
_IMAGE_URL = Shape(required={"url": a_name}, optional={"detail": a_string})

PARTS: Mapping[str, Check] = {
    "input_text": _TEXT,
    "output_text": _TEXT,
    "text": _TEXT,
    "refusal": Shape(required={"refusal": a_string}),
    "input_image": both(
        Shape(
            optional={"image_url": a_name, "file_id": a_name, "detail": a_string}, alternatives=("image_url", "file_id")
        ),
        by_reference("file_id", unless="image_url", instead="send the image as `image_url`, a `data:` URL"),
    ),
    # ChatDatabricks sends a chat completion's parts unchanged inside a Responses message.
    "image_url": Shape(required={"image_url": string_or(_IMAGE_URL, "a string or an object")}),
    "input_file": both(
        Shape(
            optional={"file_data": a_name, "file_url": a_name, "file_id": a_name, "filename": a_string},
            alternatives=("file_data", "file_url", "file_id"),
        ),
        by_reference("file_url", "file_id", unless="file_data", instead="send the file as `file_data`"),
    ),
    "input_audio": Shape(required={"input_audio": Shape(required={"data": a_name, "format": a_name})}),
}
_SPOKEN: Mapping[str, Check] = {**PARTS, **dict.fromkeys(REASONING_PARTS, anything)}


_ENVELOPE = Shape(required={"type": a_name})


def tagged(kind: str, check: Check, suffix: str) -> Schema:
    """The schema of an object of this type."""
    schema = check.schema
    return {
        "title": f"{''.join(word.capitalize() for word in kind.split('_'))}{suffix}",
        "type": "object",
        **schema,
        "properties": {"type": {"const": kind}, **schema.get("properties", {})},
        "required": ["type", *schema.get("required", ())],
    }


def a_content(shapes: Mapping[str, Check], *, suffix: str = "Part") -> Check:
    """A check of content: a string, or parts of these types only. `suffix` is the end of the names of their schemas."""

    @accepts({"anyOf": [tagged(kind, check, suffix) for kind, check in shapes.items()]})
    def part(value: Any, path: str) -> None:
        _ENVELOPE(value, path)
        check = shapes.get(value["type"])
        if check is None:
            unknown_part(value, path, {kind: one for kind, one in shapes.items() if kind not in REASONING_PARTS})
        else:
            check(value, path)

    return string_or(array_of(part), "a string or an array of content parts")


_ITEM = {"id": a_name, "status": a_string}
_CALL = {"name": a_name, "arguments": a_string}
_SUMMARY = array_of(Shape(required={"text": a_string}))
_SPEAKERS = one_of("user", "assistant", "system", "developer")


@accepts(_SPEAKERS.schema)
def _role(value: Any, path: str) -> None:
    if value == "tool":
        raise InvalidRequest(f"`{path}` cannot be tool: send a `function_call_output` item instead.", param=path)
    _SPEAKERS(value, path)


@accepts({"not": {}})
def _reference(value: Any, path: str) -> None:
    raise UnsupportedField(
        f"`{path}` is an item_reference, which is not served: nothing is stored. Send the item itself.", param=path
    )


@accepts({"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS})
def _sealed(value: Any, path: str) -> None:
    a_name(value, path)
    if not is_sealed(value):
        raise InvalidEncryptedContent(
            f"`{path}` was not made by this service. Send the item as it was received, or leave it out.", param=path
        )


@accepts({})
def _beside_content(value: Any, path: str) -> None:
    refuse_unreadable(value, path, read=True)


@accepts({})
def _spoken_by_assistant(value: Any, path: str) -> None:
    refuse_assistant_media(value, path)


ITEMS: Mapping[str, Check] = {
    "message": both(
        Shape(required={"role": _role, "content": a_content(_SPOKEN)}, optional=_ITEM),
        _beside_content,
        _spoken_by_assistant,
    ),
    "function_call": Shape(required={"call_id": a_name, **_CALL}, optional={**_ITEM, "namespace": a_name}),
    "function_call_output": Shape(required={"call_id": a_name, "output": a_content(PARTS)}, optional=_ITEM),
    "custom_tool_call": Shape(
        required={"call_id": a_name, "name": a_string, "input": a_string}, optional={**_ITEM, "namespace": a_name}
    ),
    "custom_tool_call_output": Shape(required={"call_id": a_name, "output": a_content(PARTS)}, optional=_ITEM),
    "reasoning": Shape(
        optional={**_ITEM, "summary": _SUMMARY, "content": _SUMMARY, "encrypted_content": a_string},
    ),
    "mcp_call": Shape(
        required=_CALL,
        optional={
            **_ITEM,
            "server_label": a_string,
            "output": a_string,
            "error": string_or(an_object, "a string or an object"),
            "approval_request_id": a_name,
        },
    ),
    "mcp_approval_request": Shape(required=_CALL, optional={"id": a_name, "server_label": a_string}),
    "mcp_approval_response": Shape(
        required={"approval_request_id": a_name, "approve": a_boolean},
        optional={
            "id": a_name,
            "reason": a_string,
            "arguments": string_or(an_object, "a string or an object"),
            "output": anything,
            "payload": anything,
        },
    ),
    COMPACTION: Shape(required={"encrypted_content": _sealed}, optional=_ITEM),
    REFERENCE: _reference,
}

_REFERENCE = Shape(required={"id": a_name})


def item_schema(*, references: bool) -> Schema:
    """The JSON schema of what `check_item` accepts."""
    message = tagged("message", ITEMS["message"], "InputItem")
    others = ("message", REFERENCE) if references else ("message", REFERENCE, COMPACTION)
    known = [tagged(kind, check, "InputItem") for kind, check in ITEMS.items() if kind not in others]
    if references:
        known.append(
            {
                "title": "ItemReference",
                "description": "Stands for a stored item of the caller.",
                "type": "object",
                "properties": {"type": or_null({"const": REFERENCE}), **_REFERENCE.schema["properties"]},
                "required": ["id"],
            }
        )
    other = {
        "title": "OtherInputItem",
        "description": "An item of any other type, without content. It is kept, and no model sees it.",
        **_ENVELOPE.schema,
        "properties": {"type": {"type": "string", "minLength": 1, "not": {"enum": list(ITEMS)}}},
    }
    # The API allows a message without `type`.
    easy = {"properties": {**message["properties"], "type": or_null({"const": "message"})}}
    return {"anyOf": [{**message, **easy, "required": ["role", "content"]}, *known, other]}


def check_item(value: Any, path: str, *, references: bool = False) -> Item:
    """The item with its `type` filled in, since clients send messages without one, and with the `id` that a call needs.

    Raises `InvalidRequest`.

    `references` says that an `item_reference` can be resolved. Otherwise it is refused.
    """
    an_object(value, path)
    # The API allows a reference without `type`, too.
    if references and (value.get("type") == REFERENCE or value.keys() == {"id"}):
        _REFERENCE(value, path)
        return {**value, "type": REFERENCE}
    # The API allows a message without `type`, its "easy input" form.
    if value.get("type") is None and "role" in value:
        value = {**value, "type": "message"}
    _ENVELOPE(value, path)
    check = ITEMS.get(value["type"])
    if value["type"] == COMPACTION and not references:
        param = f"{path}.encrypted_content"
        raise UnsupportedField(
            f"`{param}` is read only in the `input` of a request to a service that stores conversations: send the "
            "history that it stands for.",
            param=param,
        )
    if check is None:
        if value["type"] not in HOSTED:
            refuse_unreadable(value, path, read=False)
    else:
        check(value, path)
    if CALL_ID.get(value["type"]) == "id" and value.get("id") is None:
        # Sessions of the OpenAI Agents SDK for JavaScript take the ids off. Two calls without one are two calls.
        value = {**value, "id": new_id(PREFIXES[value["type"]])}
    return {"type": value["type"], **value}


def call_id_path(item: Item, path: str) -> str:
    """The path of the field with the id of the call that an item is or answers."""
    return at(path, {**CALL_ID, **RESULT_ID}[item["type"]])
