"""Tool calls by constrained decoding: grammars that allow only calls or text, and a reader for what the model wrote.

The model decides between calls and text in the same generation that writes the answer. This made the right decision in
38 of 41 cases with the 1.5B model. A separate JSON decision before the answer was right in 24 of them: if the model
starts with an array, it tends to fill it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graph_agent.local.model.chat_request import AnswerKind, Call, Schema, Tool
from graph_agent.local.model.prompts import MOST_CALLS

LONGEST_STRING = 400
"""Characters of a string argument whose schema sets no limit."""

KEPT_AS_THEY_ARE = ("enum", "const", "required", "minItems", "maxItems", "minimum", "maximum", "minLength")
# Compact JSON as in the prompt's examples. A model that may indent spends half of its tokens on spaces. `lenient` makes
# llguidance ignore schema keywords that it does not know, instead of rejecting the schema.
STYLE = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}}
# Text must not begin like a call, or like the fenced code block that this model writes instead of a call.
TEXT_RULE = r"text: /[^\[\{`\s](?s:.*)/"


def reply_grammar(tools: Sequence[Tool], answer: AnswerKind, schema: Schema | None = None) -> str:
    """The llguidance grammar of a reply: calls of `tools`, text, or either. With `schema`, the text is JSON."""
    starts = {"text": "text", "calls": "calls", "either": "calls | text"}
    lines = ["%llguidance {}", f"start: {starts[answer]}"]
    if answer != "calls":
        lines += [TEXT_RULE if schema is None else f"text: %json {json.dumps(constrained_schema(schema) | STYLE)}"]
    if answer != "text":
        lines += _call_rules(tools)
    return "\n".join([*lines, ""])


def _call_rules(tools: Sequence[Tool]) -> Iterator[str]:
    yield f'calls: "[" call (", " call){{0,{MOST_CALLS - 1}}} "]"'
    yield "call: " + " | ".join(f"call_{number}" for number in range(len(tools)))
    for number, tool in enumerate(tools):
        opening = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        yield f'call_{number}: {opening} arguments_{number} "}}"'
        yield f"arguments_{number}: %json {json.dumps(argument_schema(tool) | STYLE)}"


def argument_schema(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments. It allows only the arguments that it names."""
    return {"type": "object", "properties": {}} | constrained_schema(tool.parameters) | {"additionalProperties": False}


def constrained_schema(schema: Any, *, definitions: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The part of a JSON schema that decoding can enforce, with a length limit for every string.

    Only known keywords are kept, because llama.cpp silently ignores the whole grammar if it has an unknown one.
    """
    if not isinstance(schema, Mapping):
        return {}
    own = schema.get("$defs")
    definitions = own if isinstance(own, Mapping) else definitions or {}
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        return {"$ref": f"#/$defs/{name}"} if name in definitions else {}
    kept = {key: schema[key] for key in KEPT_AS_THEY_ARE if key in schema}
    kept |= _typed(schema)
    for key in ("properties", "$defs"):
        if isinstance(schema.get(key), Mapping):
            kept[key] = {name: constrained_schema(part, definitions=definitions) for name, part in schema[key].items()}
    if isinstance(schema.get("items"), Mapping):
        kept["items"] = constrained_schema(schema["items"], definitions=definitions)
    if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf", [])[:1]:
        kept["anyOf"] = [constrained_schema(option, definitions=definitions) for option in options]
    if "properties" in kept and not schema.get("additionalProperties"):
        # If the model may add properties, it does, one after the other.
        kept["additionalProperties"] = False
    return kept


def _typed(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    known = {"object", "array", "string", "number", "integer", "boolean", "null"}
    kinds = [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []
    if not kinds or not known.issuperset(kinds):
        return {}
    # Small models do not stop in a string without a limit.
    length = {"maxLength": schema.get("maxLength", LONGEST_STRING)} if "string" in kinds else {}
    return {"type": kind} | length


def parse_calls(text: str, tools: Sequence[Tool]) -> list[Call] | None:
    """The calls in a reply, each once, or `None` if it is not a complete array of calls of these tools."""
    try:
        written = list(json.loads(text))
        calls = [Call(name=call["name"], arguments=call["arguments"]) for call in written]
    except (ValueError, TypeError, KeyError):
        return None
    names = {tool.name for tool in tools}
    if not calls or not all(call.name in names and isinstance(call.arguments, dict) for call in calls):
        return None
    return list({call.key: call for call in calls}.values())


class ReplyReader:
    """Separates text from calls while a reply arrives. Text is passed on immediately; possible calls are held back."""

    START = "\n[{"
    """Calls begin on a new line. An array inside a line of text is text."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._held = "\n" if tools else ""
        self._text_seen = False

    def feed(self, text: str) -> str:
        """Add a piece of the reply. Returns what is certainly text."""
        self._held += text
        if not self._tools:
            return self._release(len(self._held))
        start = self._held.find(self.START)
        return self._release(start if start >= 0 else len(self._held) - self._unsure())

    def finish(self) -> tuple[str, list[Call]]:
        """The rest of the text, and the calls. For use at the end of the reply."""
        calls = parse_calls(self._held, self._tools) if self._held.startswith(self.START) else None
        if calls:
            return "", calls
        # An incomplete array alone is not an answer. After text it may be part of the text.
        return (self._release(len(self._held)) if self._text_seen else ""), []

    def _unsure(self) -> int:
        endings = (self.START[:length] for length in range(len(self.START), 0, -1))
        return next((len(ending) for ending in endings if self._held.endswith(ending)), 0)

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        if text and not self._text_seen:
            self._text_seen = True
            # Remove the line break that `__init__` puts before the reply. With it, the same search finds calls at the
            # beginning and calls after text.
            text = text.removeprefix("\n") if self._tools else text
        return text
