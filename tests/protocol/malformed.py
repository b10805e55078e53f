"""Bodies that a service must answer with a 4xx that names the field: `(name, body, param)`.

`param` is the path the error must name, `None` where the body as a whole is at fault. `LEAK` stands in for private
values: no error may repeat it.
"""

import json
from collections.abc import Iterator
from typing import Any

LEAK = "hunter2"

Case = tuple[str, bytes, str | None]

STRING = LEAK
NUMBER = 4.25
INTEGER = 7
BOOLEAN = True
ARRAY = [LEAK]
OBJECT = {LEAK: LEAK}

KINDS: dict[str, Any] = {
    "a string": STRING,
    "a number": NUMBER,
    "an integer": INTEGER,
    "a boolean": BOOLEAN,
    "an array": ARRAY,
    "an object": OBJECT,
}

NOT_A_STRING = ("a number", "a boolean", "an array", "an object")
NOT_AN_OBJECT = ("a string", "a number", "a boolean", "an array")
NOT_AN_ARRAY = ("a string", "a number", "a boolean", "an object")
NOT_A_BOOLEAN = ("a string", "an integer", "an array", "an object")
NOT_A_NUMBER = ("a string", "a boolean", "an array", "an object")
NOT_A_COUNT = ("a string", "a number", "a boolean", "an array", "an object")
NEITHER_STRING_NOR_ARRAY = ("a number", "a boolean", "an object")
NEITHER_STRING_NOR_OBJECT = ("a number", "a boolean", "an array")

TOP_LEVEL: dict[str, tuple[str, ...]] = {
    "input": NEITHER_STRING_NOR_ARRAY,
    "instructions": NOT_A_STRING,
    "model": NOT_A_STRING,
    "stream": NOT_A_BOOLEAN,
    "metadata": NOT_AN_OBJECT,
    "max_output_tokens": NOT_A_COUNT,
    "max_tool_calls": NOT_A_COUNT,
    "client_request_id": NOT_A_STRING,
    "custom_inputs": NOT_AN_OBJECT,
    "context": NOT_AN_OBJECT,
    "background": NOT_A_BOOLEAN,
    "previous_response_id": NOT_A_STRING,
    "conversation": NEITHER_STRING_NOR_OBJECT,
    "prompt": NOT_AN_OBJECT,
    "reasoning": NOT_AN_OBJECT,
    "text": NOT_AN_OBJECT,
    "tool_choice": NEITHER_STRING_NOR_OBJECT,
    "tools": NOT_AN_ARRAY,
    "truncation": NOT_A_STRING,
    "databricks_options": NOT_AN_OBJECT,
    "include": NOT_AN_ARRAY,
    "parallel_tool_calls": NOT_A_BOOLEAN,
    "prompt_cache_key": NOT_A_STRING,
    "safety_identifier": NOT_A_STRING,
    "service_tier": NOT_A_STRING,
    "store": NOT_A_BOOLEAN,
    "stream_options": NOT_AN_OBJECT,
    "client_metadata": NOT_AN_OBJECT,
    "temperature": NOT_A_NUMBER,
    "top_logprobs": NOT_A_NUMBER,
    "top_p": NOT_A_NUMBER,
    "user": NOT_A_STRING,
}

INSIDE_TOP_LEVEL: dict[tuple[str, str], tuple[str, ...]] = {
    ("context", "conversation_id"): NOT_A_STRING,
    ("context", "user_id"): NOT_A_STRING,
    ("custom_inputs", "thread_id"): NOT_A_STRING,
    ("custom_inputs", "session_id"): NOT_A_STRING,
    ("metadata", "ticket"): NOT_A_STRING,
    ("client_metadata", "version"): NOT_A_STRING,
    ("text", "format"): NOT_AN_OBJECT,
    ("text", "verbosity"): NOT_A_STRING,
}

TEXT_PART = {"type": "input_text", "text": "hi"}

ITEMS: dict[str, dict[str, Any]] = {
    "message": {"type": "message", "role": "user", "content": "hi"},
    "function_call": {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
    "function_call_output": {"type": "function_call_output", "call_id": "c1", "output": "3"},
    "mcp_call": {"type": "mcp_call", "id": "m1", "name": "add", "arguments": "{}", "output": "3"},
    "mcp_approval_request": {"type": "mcp_approval_request", "id": "a1", "name": "add", "arguments": "{}"},
    "mcp_approval_response": {"type": "mcp_approval_response", "approval_request_id": "a1", "approve": True},
}
"""A sound item of each kind, with the fields that it needs and some that it can go without."""

NOT_NEEDED = {("mcp_call", "output"), ("mcp_call", "id"), ("mcp_approval_request", "id")}

ITEM_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("message", "type"): NOT_A_STRING,
    ("message", "role"): NOT_A_STRING,
    ("message", "content"): NEITHER_STRING_NOR_ARRAY,
    ("message", "id"): NOT_A_STRING,
    ("message", "status"): NOT_A_STRING,
    ("function_call", "type"): NOT_A_STRING,
    ("function_call", "call_id"): NOT_A_STRING,
    ("function_call", "name"): NOT_A_STRING,
    ("function_call", "arguments"): NOT_A_STRING,
    ("function_call", "id"): NOT_A_STRING,
    ("function_call_output", "call_id"): NOT_A_STRING,
    ("function_call_output", "output"): NEITHER_STRING_NOR_ARRAY,
    ("function_call_output", "id"): NOT_A_STRING,
    ("mcp_call", "id"): NOT_A_STRING,
    ("mcp_call", "name"): NOT_A_STRING,
    ("mcp_call", "arguments"): NOT_A_STRING,
    ("mcp_call", "output"): NOT_A_STRING,
    ("mcp_call", "error"): NEITHER_STRING_NOR_OBJECT,
    ("mcp_call", "server_label"): NOT_A_STRING,
    ("mcp_approval_request", "id"): NOT_A_STRING,
    ("mcp_approval_request", "name"): NOT_A_STRING,
    ("mcp_approval_request", "arguments"): NOT_A_STRING,
    ("mcp_approval_response", "approval_request_id"): NOT_A_STRING,
    ("mcp_approval_response", "approve"): NOT_A_BOOLEAN,
    ("mcp_approval_response", "reason"): NOT_A_STRING,
    ("reasoning", "summary"): NOT_AN_ARRAY,
    ("reasoning", "content"): NOT_AN_ARRAY,
    ("reasoning", "encrypted_content"): NOT_A_STRING,
}

EMPTY_NAMES = [
    ("function_call", "call_id"),
    ("function_call", "name"),
    ("function_call_output", "call_id"),
    ("mcp_call", "id"),
    ("mcp_approval_request", "id"),
    ("mcp_approval_response", "approval_request_id"),
    ("message", "id"),
]

PARTS: dict[str, Any] = {
    "input_text": {"type": "input_text"},
    "output_text": {"type": "output_text"},
    "text": {"type": "text"},
    "refusal": {"type": "refusal"},
    "input_image": {"type": "input_image"},
    "input_file": {"type": "input_file"},
    "input_audio": {"type": "input_audio"},
    "image_url": {"type": "image_url"},
}

PART_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("input_text", "text"): NOT_A_STRING,
    ("output_text", "text"): NOT_A_STRING,
    ("refusal", "refusal"): NOT_A_STRING,
    ("input_image", "image_url"): NOT_A_STRING,
    ("input_file", "file_data"): NOT_A_STRING,
    ("input_audio", "input_audio"): NOT_AN_OBJECT,
    ("image_url", "image_url"): ("a number", "a boolean"),
}

MISSING_IN_PART = {
    "input_text": ".text",
    "output_text": ".text",
    "text": ".text",
    "refusal": ".refusal",
    "input_image": "",
    "input_file": "",
    "input_audio": ".input_audio",
    "image_url": ".image_url",
}

RAW: list[Case] = [
    ("nothing at all", b"", None),
    ("white space", b" \n\t ", None),
    ("a truncated object", b'{"input": "hi"', None),
    ("a truncated string", b'{"input": "hi', None),
    ("a trailing comma", b'{"input": "hi",}', None),
    ("single quotes", b"{'input': 'hi'}", None),
    ("a comment", b'{"input": "hi"} // hunter2', None),
    ("two objects", b'{"input": "hi"}{"input": "hi"}', None),
    ("a form", b"input=hunter2&stream=true", None),
    ("XML", b"<input>hunter2</input>", None),
    ("an event stream", b'data: {"input": "hunter2"}\n\n', None),
    ("null", b"null", None),
    ("an array", b'[{"input": "hunter2"}]', None),
    ("an empty array", b"[]", None),
    ("a string", b'"hunter2"', None),
    ("a number", b"42", None),
    ("a boolean", b"true", None),
    ("NaN", b"NaN", None),
    ("NaN in a field", b'{"input": "hi", "temperature": NaN}', None),
    ("Infinity in a field", b'{"input": "hi", "temperature": Infinity}', None),
    ("minus Infinity in a field", b'{"input": "hi", "custom_inputs": {"x": -Infinity}}', None),
    ("a number beyond floating point", b'{"input": "hi", "temperature": 1e999}', None),
    ("an integer of 5,000 digits", b'{"input": "hi", "max_output_tokens": ' + b"9" * 5000 + b"}", None),
    ("Latin-1", '{"input": "café"}'.encode("latin-1"), None),
    ("UTF-16", '{"input": "hi"}'.encode("utf-16"), None),
    ("UTF-32", '{"input": "hi"}'.encode("utf-32"), None),
    ("a surrogate in raw bytes", b'{"input": "\xed\xa0\x80"}', None),
    ("bytes of a compressed body", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", None),
    ("a zero byte", b"\x00", None),
    ("a raw control character", b'{"input": "a\x01b"}', None),
    ("half a surrogate pair as input", b'{"input": "hunter2 \\ud800"}', "input"),
    ("half a surrogate pair in an item", b'{"input": [{"role": "user", "content": "\\udc00"}]}', "input[0].content"),
    (
        "half a surrogate pair deep inside",
        b'{"input": "hi", "custom_inputs": {"x": "\\ud83d"}}',
        "custom_inputs.x",
    ),
    ("half a surrogate pair as a key", b'{"input": "hi", "custom_inputs": {"\\ud83d": 1}}', "custom_inputs.\ufffd"),
    ("arrays nested 100,000 deep", b"[" * 100_000, None),
    ("objects nested 100,000 deep", b'{"a":' * 100_000, None),
    ("input nested 100,000 deep", b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ("input nested 70 deep", b'{"input": ' + b"[" * 70 + b"]" * 70 + b"}", "input"),
    (
        "custom inputs nested 70 deep",
        b'{"input": "hi", "custom_inputs": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}",
        "custom_inputs",
    ),
]


def _body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _sound(**fields: Any) -> bytes:
    return _body(**{"input": "hi", **fields})


def _item(item: Any) -> bytes:
    return _body(input=[{"role": "user", "content": "hi"}, item])


def _part(part: Any, *, role: str = "user") -> bytes:
    return _item({"role": role, "content": [TEXT_PART, part]})


def _top_level() -> Iterator[Case]:
    for field, kinds in TOP_LEVEL.items():
        for kind in kinds:
            yield f"{field}: {kind}", _sound(**{field: KINDS[kind]}), field
    for (field, inner), kinds in INSIDE_TOP_LEVEL.items():
        for kind in kinds:
            yield f"{field}.{inner}: {kind}", _sound(**{field: {inner: KINDS[kind]}}), f"{field}.{inner}"


def _values() -> Iterator[Case]:
    yield "no input", _body(stream=True), "input"
    yield "an empty object", b"{}", "input"
    yield "input null", _body(input=None), "input"
    yield "input an empty string", _body(input=""), "input"
    yield "input white space", _body(input=" \n "), "input"
    yield "input an empty array", _body(input=[]), "input"
    for count in (0, -1, 2**31, 10**30):
        yield f"max_output_tokens {count}", _sound(max_output_tokens=count), "max_output_tokens"
        yield f"max_tool_calls {count}", _sound(max_tool_calls=count), "max_tool_calls"
    yield "stream the word false", _sound(stream="false"), "stream"
    yield "include with a number", _sound(include=["graph_agent.steps", 1]), "include[1]"
    yield "include with another value", _sound(include=[LEAK]), "include[0]"
    yield "tools with a string", _sound(tools=[{}, LEAK]), "tools[1]"
    yield "17 metadata entries", _sound(metadata={f"k{n}": "v" for n in range(17)}), "metadata"
    yield "a long metadata key", _sound(metadata={"k" * 65: LEAK}), "metadata"
    yield "a long metadata value", _sound(metadata={"note": LEAK * 100}), "metadata.note"
    yield "metadata null", _sound(metadata={"note": None}), "metadata.note"
    yield "text.format without a type", _sound(text={"format": {}}), "text.format.type"


def _refused() -> Iterator[Case]:
    yield "background", _sound(background=True, store=False), "background"
    yield "background and stream", _sound(background=True, stream=True, custom_inputs={"password": LEAK}), "background"
    yield "previous_response_id", _sound(previous_response_id="resp_1"), "previous_response_id"
    yield "conversation by id", _sound(conversation="conv_1"), "conversation"
    yield "conversation by object", _sound(conversation={"id": "conv_1"}), "conversation"
    yield "a stored prompt", _sound(prompt={"id": "p"}), "prompt"
    yield "another effort", _sound(reasoning={"effort": LEAK}), "reasoning.effort"
    yield "another verbosity", _sound(text={"verbosity": LEAK}), "text.verbosity"
    yield "a high temperature", _sound(temperature=3), "temperature"
    yield "a negative probability", _sound(top_p=-1), "top_p"
    yield "tool_choice required", _sound(tool_choice="required"), "tool_choice"
    yield "tool_choice by name", _sound(tool_choice={"type": "function", "name": "f"}), "tool_choice.name"
    yield "another word as tool_choice", _sound(tool_choice=LEAK), "tool_choice"
    yield from _tools()
    yield "truncation by another name", _sound(truncation=LEAK), "truncation"
    yield "another format", _sound(text={"format": {"type": LEAK}}), "text.format.type"
    yield "a schema without a name", _sound(text={"format": {"type": "json_schema", "schema": {}}}), "text.format.name"
    chat = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}
    yield "the schema of chat completions", _sound(text={"format": chat}), "text.format.json_schema"
    yield "another graph", _sound(model="no-such-graph"), "model"
    yield "an empty model", _sound(model=""), "model"
    yield "a model of 10,000 characters", _sound(model="m" * 10_000), "model"


def _tools() -> Iterator[Case]:
    tool = {"type": "function", "name": "f"}
    deep: Any = {}
    for _ in range(40):
        deep = {"properties": deep}
    wrong: dict[str, tuple[Any, str]] = {
        "no type": ({"name": "f"}, "tools[0].type"),
        "no name": ({"type": "function"}, "tools[0].name"),
        "a name with a space": (tool | {"name": "a b"}, "tools[0].name"),
        "a long name": (tool | {"name": "n" * 65}, "tools[0].name"),
        "the form of chat completions": ({"type": "function", "function": {"name": "f"}}, "tools[0].function"),
        "parameters that are a string": (tool | {"parameters": LEAK}, "tools[0].parameters"),
        "parameters of 40 levels": (tool | {"parameters": deep}, "tools[0].parameters"),
        "strict as a word": (tool | {"strict": "yes"}, "tools[0].strict"),
        "another format": ({"type": "custom", "name": "f", "format": {"type": LEAK}}, "tools[0].format.type"),
        "a namespace in a namespace": (
            {"type": "namespace", "name": "n", "tools": [{"type": "namespace", "name": "m", "tools": []}]},
            "tools[0].tools[0].type",
        ),
        "a server of the client": ({"type": "mcp", "server_label": "s"}, "tools[0].server_label"),
    }
    for name, (one, path) in wrong.items():
        yield f"a tool with {name}", _sound(tools=[one]), path
    yield "two tools of one name", _sound(tools=[tool, tool]), "tools[1].name"
    yield "257 tools", _sound(tools=[tool | {"name": f"f{n}"} for n in range(257)]), "tools"
    for choice, path in (
        ({"type": "function", "name": "g"}, "tool_choice.name"),
        ({"type": "web_search"}, "tool_choice.type"),
        ({"type": "allowed_tools", "mode": LEAK, "tools": []}, "tool_choice.mode"),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, "tool_choice.tools"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function"}]}, "tool_choice.tools[0].name"),
    ):
        yield f"tool_choice {choice}", _sound(tools=[tool], tool_choice=choice), path


def _unknown_fields() -> Iterator[Case]:
    for field in ("messages", "max_tokens", "Stream", "inputs", "thread_id", "n", "stop", "seed", "frequency_penalty"):
        yield f"unknown field {field}", _sound(**{field: LEAK}), field
    yield "an empty field name", _sound(**{"": 1}), ""
    yield "a field name of 1,000 characters", _sound(**{"x" * 1000: 1}), "x" * 64 + "…"
    yield "a field name with a line break", _sound(**{"a\nb": 1}), "a\ufffdb"
    yield "only an unknown field", _body(prompts=[LEAK]), "prompts"


def _items() -> Iterator[Case]:
    for kind, value in KINDS.items():
        if kind != "an object":
            yield f"an item that is {kind}", _item(value), "input[1]"
    yield "an item that is null", _item(None), "input[1]"
    yield "an item that is empty", _item({}), "input[1].type"
    yield "an item without type or role", _item({"content": LEAK}), "input[1].type"
    yield "an item with an empty type", _item({"type": ""}), "input[1].type"
    yield "an item_reference", _item({"type": "item_reference", "id": "msg_1"}), "input[1]"
    for (kind, field), wrong in ITEM_FIELDS.items():
        sound = ITEMS.get(kind, {"type": kind})
        for other in wrong:
            yield f"{kind}.{field}: {other}", _item({**sound, field: KINDS[other]}), f"input[1].{field}"
    for kind, sound in ITEMS.items():
        for field in [name for name in sound if name != "type" and (kind, name) not in NOT_NEEDED]:
            bare = {name: value for name, value in sound.items() if name != field}
            yield f"{kind} without {field}", _item(bare), f"input[1].{field}"
            yield f"{kind} with {field} null", _item({**sound, field: None}), f"input[1].{field}"
    for kind, field in EMPTY_NAMES:
        yield f"{kind} with an empty {field}", _item({**ITEMS[kind], field: ""}), f"input[1].{field}"
    for role in ("tool", "function", "User", "", LEAK):
        yield f"the role {role!r}", _item({"role": role, "content": "hi"}), "input[1].role"
    yield "a message without type and content", _item({"role": "user"}), "input[1].content"
    yield "a summary part that is a string", _item({"type": "reasoning", "summary": [LEAK]}), "input[1].summary[0]"
    yield "a summary part without text", _item({"type": "reasoning", "summary": [{}]}), "input[1].summary[0].text"


def _parts() -> Iterator[Case]:
    for kind, value in KINDS.items():
        if kind != "an object":
            yield f"a content part that is {kind}", _part(value), "input[1].content[1]"
            output = {**ITEMS["function_call_output"], "output": [value]}
            yield f"an output part that is {kind}", _item(output), "input[1].output[0]"
    yield "a content part that is null", _part(None), "input[1].content[1]"
    yield "a content part without type", _part({"text": LEAK}), "input[1].content[1].type"
    for kind, part in PARTS.items():
        yield f"an empty {kind}", _part(part), f"input[1].content[1]{MISSING_IN_PART[kind]}"
        yield (
            f"an empty {kind} of the assistant",
            _part(part, role="assistant"),
            f"input[1].content[1]{MISSING_IN_PART[kind]}",
        )
    for (kind, field), wrong in PART_FIELDS.items():
        for other in wrong:
            yield f"{kind}.{field}: {other}", _part({"type": kind, field: KINDS[other]}), f"input[1].content[1].{field}"
    yield (
        "audio without data",
        _part({"type": "input_audio", "input_audio": {"format": "wav"}}),
        ("input[1].content[1].input_audio.data"),
    )
    yield (
        "an image address that is empty",
        _part({"type": "input_image", "image_url": ""}),
        ("input[1].content[1].image_url"),
    )
    yield (
        "annotations that are a string",
        _part({"type": "output_text", "text": "a", "annotations": LEAK}),
        ("input[1].content[1].annotations"),
    )


def _conversations() -> Iterator[Case]:
    call, output = ITEMS["function_call"], ITEMS["function_call_output"]
    yield "only an answer", _body(input=[{"role": "assistant", "content": LEAK}]), "input"
    yield "only a call", _body(input=[call]), "input"
    yield "only reasoning", _body(input=[{"type": "reasoning", "summary": []}]), "input"
    yield "only an unknown item", _body(input=[{"type": "hologram"}]), "input"
    yield "only a finished MCP call", _body(input=[ITEMS["mcp_call"]]), "input"
    yield "two calls of one id", _body(input=[call, {**call, "name": "other"}, output]), "input[1].call_id"
    yield "two results of one call", _body(input=[call, output, {**output, "output": LEAK}]), "input[2].call_id"
    yield (
        "an MCP call with a function call's id",
        _body(input=[call, {**ITEMS["mcp_call"], "id": "c1"}, output]),
        ("input[1].id"),
    )
    approval = ITEMS["mcp_approval_response"]
    yield (
        "an approval that is also a denial",
        _body(input=[approval, {**approval, "approve": False}]),
        ("input[1].approval_request_id"),
    )


MALFORMED: list[Case] = [
    *RAW,
    *_top_level(),
    *_values(),
    *_refused(),
    *_unknown_fields(),
    *_items(),
    *_parts(),
    *_conversations(),
]
