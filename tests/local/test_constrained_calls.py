import json
from collections.abc import Sequence

import pytest

from graph_agent.local.model.chat_request import Call, Tool
from graph_agent.local.model.constrained_calls import (
    ReplyReader,
    argument_schema,
    constrained_schema,
    parse_calls,
    reply_grammar,
)

SEARCH = Tool(
    name="search",
    description="Search.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)
CLOCK = Tool(name="clock", description="Tell the time.", parameters={})
TOOLS = (SEARCH, CLOCK)


def read(pieces: Sequence[str], tools: Sequence[Tool] = TOOLS) -> tuple[list[str], list[Call]]:
    reader = ReplyReader(tools)
    texts = [text for piece in pieces if (text := reader.feed(piece))]
    rest, calls = reader.finish()
    return [*texts, rest] if rest else texts, calls


def test_a_text_is_passed_on_piece_by_piece() -> None:
    assert read(["Hello", " there", "."]) == (["Hello", " there", "."], [])


def test_calls_are_held_back_until_they_are_whole() -> None:
    written = json.dumps([{"name": "search", "arguments": {"query": "x"}}, {"name": "clock", "arguments": {}}])
    assert read(list(written)) == (
        [],
        [Call(name="search", arguments={"query": "x"}), Call(name="clock", arguments={})],
    )


def test_calls_after_a_text_are_calls() -> None:
    pieces = ["Now I look.", "\n", "[", '{"name": "clock",', ' "arguments": {}}]']
    assert read(pieces) == (["Now I look."], [Call(name="clock", arguments={})])


def test_a_line_that_only_begins_like_calls_is_text() -> None:
    assert read(["See", "\n", "[1]", " and\n[", "{x"]) == (["See", "\n[1]", " and", "\n[{x"], [])


def test_calls_that_were_cut_off_are_neither_calls_nor_text() -> None:
    assert read(['[{"name": "clock", "argu']) == ([], [])


def test_without_tools_everything_is_text() -> None:
    assert read(['[{"name": "clock", "arguments": {}}]'], ()) == (['[{"name": "clock", "arguments": {}}]'], [])


@pytest.mark.parametrize(
    "written",
    ["", "[", "{}", "[1]", '[{"name": "rm", "arguments": {}}]', '[{"name": "clock", "arguments": []}]', '["clock"]'],
)
def test_what_is_no_call_of_an_offered_tool_is_not_read_as_one(written: str) -> None:
    assert parse_calls(written, TOOLS) is None


def test_the_same_call_twice_is_made_once() -> None:
    call = {"name": "search", "arguments": {"query": "x"}}
    assert parse_calls(json.dumps([call, call]), TOOLS) == [Call(name="search", arguments={"query": "x"})]


def test_every_string_gets_a_length_and_every_object_is_closed() -> None:
    assert argument_schema(SEARCH) == {
        "type": "object",
        "properties": {"query": {"type": "string", "maxLength": 400}},
        "required": ["query"],
        "additionalProperties": False,
    }


def test_a_tool_without_parameters_takes_none() -> None:
    assert argument_schema(CLOCK) == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        ({"type": "bogus"}, {}),
        ({"not": {}}, {}),
        ({"type": "string", "maxLength": 5, "pattern": "^a", "format": "date"}, {"type": "string", "maxLength": 5}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"], "maxLength": 400}),
        ({"enum": ["a", "b"], "title": "T"}, {"enum": ["a", "b"]}),
        ({"$ref": "#/$defs/Gone"}, {}),
        ({"oneOf": [{"type": "integer"}]}, {"anyOf": [{"type": "integer"}]}),
        (
            {"type": "array", "items": {"type": "number", "multipleOf": 2}},
            {"type": "array", "items": {"type": "number"}},
        ),
        (
            {"$defs": {"P": {"type": "integer"}}, "properties": {"p": {"$ref": "#/$defs/P"}}},
            {
                "$defs": {"P": {"type": "integer"}},
                "properties": {"p": {"$ref": "#/$defs/P"}},
                "additionalProperties": False,
            },
        ),
    ],
)
def test_only_what_decoding_can_be_held_to_is_kept_of_a_schema(schema: object, kept: object) -> None:
    assert constrained_schema(schema) == kept


def test_a_grammar_names_only_what_may_be_written() -> None:
    starts = [reply_grammar(TOOLS, answer).splitlines()[1] for answer in ("text", "calls", "either")]
    assert starts == ["start: text", "start: calls", "start: calls | text"]
    assert "call_0" not in reply_grammar((), "text")
