"""Builds chat turns for a small model: one line for each tool, calls as JSON arrays, and a few example turns.

Most of the waiting time on a laptop is for reading the prompt, so it is kept short. Its beginning never changes within
a conversation, so that llama.cpp reads it only once.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from graph_agent.local.model.chat_request import Call, ChatRequest, Message, Schema, Tool, calls_in, text_of

Turn = dict[str, str]

_CLAUSE = re.compile(r"[.:;,]")
MOST_CALLS = 4
"""Calls in one reply. The grammar enforces it too."""

RULES = (
    "To use tools, reply with nothing but a JSON array of at most "
    f'{MOST_CALLS} calls: [{{"name": ..., "arguments": {{...}}}}]. '
    "Never guess what a tool can find out. When a call failed, correct it and call again. "
    "When the results are there, or when no tool is needed, reply in plain text."
)


def chat_turns(request: ChatRequest, messages: Sequence[Message], *, examples: bool = True) -> list[Turn]:
    """The whole chat as turns with the roles system, user and assistant, which every chat template supports."""
    system = [text_of(m.get("content")) for m in messages if m["role"] in ("system", "developer")]
    if request.tools:
        system += ["Tools:\n" + "\n".join(map(_tool_line, request.tools)), RULES]
    if request.schema:
        system += [f"Answer in JSON that follows this schema: {json.dumps(request.schema)}"]
    turns = [_turn("system", "\n\n".join(filter(None, system)))] if system else []
    if request.tools and examples:
        turns += example_turns(request.tools)
    return turns + list(_conversation(messages))


def example_turns(tools: Sequence[Tool]) -> Iterator[Turn]:
    """Examples: a greeting without a tool, two calls in one reply if there are two tools, and an answered question."""
    yield from (_turn("user", "Hello!"), _turn("assistant", "Hello! How can I help you?"))
    pair = [_example_call(tool) for tool in tools[-2:]]
    if len(tools) > 1:
        yield _turn("user", "Use " + " and ".join(f"{call.name} with {_values(call)}" for call in pair))
        yield _turn("assistant", calls_text(pair))
        yield _turn("user", "\n".join(f"Result of {call.name}:\nok" for call in pair))
        yield _turn("assistant", "Both are done.")
    first = _example_call(tools[0])
    yield _turn("user", f"{_values(first)}?")
    yield _turn("assistant", calls_text([first]))
    yield _turn("user", f"Result of {first.name}:\n...")
    yield _turn("assistant", "Here is what I found.")


def calls_text(calls: Sequence[Call]) -> str:
    """Calls in the form in which the model writes them."""
    return json.dumps([{"name": call.name, "arguments": call.arguments} for call in calls], ensure_ascii=False)


def _tool_line(tool: Tool) -> str:
    arguments = ", ".join(f"{name}: {_type_name(schema)}" for name, schema in tool.properties.items())
    details = "; ".join(
        f"{name}: {schema['description']}" for name, schema in tool.properties.items() if schema.get("description")
    )
    return f"- {tool.name}({arguments}): {' '.join(tool.description.split())} {details}".rstrip()


def _type_name(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    return kind if isinstance(kind, str) else "any"


def _example_call(tool: Tool) -> Call:
    required = tool.parameters.get("required") or tool.properties
    return Call(
        name=tool.name,
        arguments={name: _example(tool, schema) for name, schema in tool.properties.items() if name in required},
    )


def _example(tool: Tool, schema: Schema) -> Any:
    for hint in ("examples", "enum"):
        if isinstance(schema.get(hint), list) and schema[hint]:
            return schema[hint][0]
    if "const" in schema or "default" in schema:
        return schema.get("const", schema.get("default"))
    invented = {"integer": 2, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None}
    kind = schema.get("type", "string")
    return invented.get(kind, _subject(tool)) if isinstance(kind, str) else None


def _subject(tool: Tool) -> str:
    """The subject of the tool, from its description without the verb. Meaningless examples do not teach the model."""
    words = _CLAUSE.split(tool.description)[0].split()[1:8]
    return " ".join(words) or tool.name.replace("_", " ")


def _values(call: Call) -> str:
    return ", ".join(str(value) for value in call.arguments.values()) or call.name


def _conversation(messages: Sequence[Message]) -> Iterator[Turn]:
    names: dict[str, str] = {}
    results: list[str] = []
    question = ""
    for message in messages:
        if message["role"] == "tool":
            name = names.get(str(message.get("tool_call_id")), "the tool")
            results.append(f"Result of {name}:\n{text_of(message.get('content'))}")
            continue
        if results:
            yield _turn("user", "\n".join(results))
            results = []
        if message["role"] == "assistant":
            calls = dict(calls_in(message))
            names |= {key: call.name for key, call in calls.items()}
            said = text_of(message.get("content"))
            yield _turn("assistant", "\n".join(filter(None, [said, calls_text([*calls.values()]) if calls else ""])))
        elif message["role"] == "user":
            question = text_of(message.get("content"))
            yield _turn("user", question)
    if results:
        # Results are in a user turn. If the question is not repeated, a small model replies with thanks for them.
        yield _turn("user", "\n".join([*results, f"\nUse this to answer: {question}"]))


def _turn(role: str, content: str) -> Turn:
    # Text of users and documents must not be able to end a turn: llama.cpp reads `<|im_end|>` in a prompt as the token.
    return {"role": role, "content": content.replace("<|", "< |")}
