"""Calls or text, decided by the model while it writes: grammars that allow nothing else, and what it wrote read back.

One generation decides and answers. A JSON decision first and an answer second decided 24 of 41 cases rightly where
this form decided 38 (the 1.5B model, the same examples): shown an array, the model would rather fill it than leave it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graph_agent.local.model.chat_request import AnswerKind, Call, Schema, Tool
from graph_agent.local.model.prompts import MOST_CALLS

LONGEST_STRING = 400
KEPT_AS_THEY_ARE = ("enum", "const", "required", "minItems", "maxItems", "minimum", "maximum", "minLength")
# Compact JSON as in the prompt's examples: a model free to indent spends half its tokens on blanks.
STYLE = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}}
# Text must not begin like a call, nor like the fenced block this model writes instead of one.
TEXT_RULE = r"text: /[^\[\{`\s](?s:.*)/"


def reply_grammar(tools: Sequence[Tool], answer: AnswerKind, schema: Schema | None = None) -> str:
    """The llguidance grammar of a reply: calls of `tools`, text, or either; with `schema` the text is JSON."""
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
    """The schema of a tool's arguments, closed: no argument but those it names."""
    return {"type": "object", "properties": {}} | constrained_schema(tool.parameters) | {"additionalProperties": False}


def constrained_schema(schema: Any, *, definitions: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The part of a JSON schema that decoding can be held to; every string gets a length.

    llama.cpp silently ignores a whole grammar for one keyword it does not know, so only known ones are kept.
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
        # A model that may add properties does, one after the other.
        kept["additionalProperties"] = False
    return kept


def _typed(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    known = {"object", "array", "string", "number", "integer", "boolean", "null"}
    kinds = [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []
    if not kinds or not known.issuperset(kinds):
        return {}
    # Small models write on and on in a string without an end.
    length = {"maxLength": schema.get("maxLength", LONGEST_STRING)} if "string" in kinds else {}
    return {"type": kind} | length


def parse_calls(text: str, tools: Sequence[Tool]) -> list[Call] | None:
    """The calls a reply consists of; None if it is not a whole array of calls of these tools."""
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
    """Tells text from calls while a reply arrives: text is passed on at once, what may be calls is held back."""

    START = "\n[{"

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._held = "\n" if tools else ""
        self._text_seen = False

    def feed(self, text: str) -> str:
        """What of it is certainly text."""
        self._held += text
        if not self._tools:
            return self._release(len(self._held))
        start = self._held.find(self.START)
        return self._release(start if start >= 0 else len(self._held) - self._unsure())

    def finish(self) -> tuple[str, list[Call]]:
        """The text that was held back, and the calls."""
        calls = parse_calls(self._held, self._tools) if self._held.startswith(self.START) else None
        if calls:
            return "", calls
        # An array that was cut off is no answer; after text it may have been meant as one.
        return (self._release(len(self._held)) if self._text_seen else ""), []

    def _unsure(self) -> int:
        endings = (self.START[:length] for length in range(len(self.START), 0, -1))
        return next((len(ending) for ending in endings if self._held.endswith(ending)), 0)

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        if text and not self._text_seen:
            self._text_seen = True
            # The line break put before a reply, so that calls at its beginning are found as calls after text are.
            text = text.removeprefix("\n") if self._tools else text
        return text
