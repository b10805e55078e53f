"""What becomes of values on their way into a span."""

import dataclasses
import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import BaseModel, SecretStr

from graph_agent.tracing.values import to_json


class Form(BaseModel):
    name: str
    password: SecretStr


@dataclasses.dataclass
class Row:
    number: int
    token: str = dataclasses.field(repr=False)


CALL = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SystemMessage("Be brief."), {"role": "system", "content": "Be brief."}),
        (HumanMessage("Hi", name="Ann"), {"role": "user", "content": "Hi", "name": "Ann"}),
        (
            AIMessage("", tool_calls=[CALL]),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}],
            },
        ),
        (
            ToolMessage("3", tool_call_id="c1", name="add"),
            {"role": "tool", "content": "3", "name": "add", "tool_call_id": "c1"},
        ),
        (Command(update={"a": 1}, goto="next"), {"update": {"a": 1}, "goto": "next"}),
        (Form(name="Ann", password=SecretStr("hunter2")), {"name": "Ann", "password": "<SecretStr>"}),
        (Row(1, "hunter2"), {"number": 1}),
        ({1: "one", "set": {2}}, {"1": "one", "set": [2]}),
        (Runtime(context=Row(1, "hunter2")), "<Runtime>"),
        (object(), "<object>"),
        (2**80, 2**80),
        ("half: \ud800", "half: ?"),
        (CYCLE, "<list>"),
    ],
)
def test_values_become_the_json_that_mlflow_reads(value: object, expected: object) -> None:
    assert json.loads(to_json(value)) == expected


def test_long_texts_of_a_value_that_is_too_long_are_cut() -> None:
    image = "data:" + "x" * 300_000

    short, long = json.loads(to_json({"content": ["What is this?", image]}))["content"]

    assert short == "What is this?"
    assert long == f"{image[:4096]}… (300005 characters)"


@pytest.mark.parametrize("value", ["correct horse, battery", "a", "x y"])
def test_what_stands_under_a_telling_name_goes_whole_however_deep_it_lies(value: str) -> None:
    given = {"custom_inputs": {"dbPassword": value, "deep": [{"api_key": value, "n": 1}], "text": value}}
    shown = {"custom_inputs": {"dbPassword": "[redacted secret]", "deep": [{"api_key": "[redacted secret]", "n": 1}]}}
    shown["custom_inputs"]["text"] = value
    assert json.loads(to_json(given)) == shown
    huge = {"password": value, "n": 2**70}
    assert json.loads(to_json(huge)) == {"password": "[redacted secret]", "n": 2**70}


def test_a_value_of_megabytes_is_shortened_and_says_so() -> None:
    shown = json.loads(to_json({"rows": list(range(300_000)), "text": "x" * 400_000, **dict.fromkeys("abc", 1)}))
    assert shown["rows"][0] == 0
    assert shown["rows"][-1] == 299_999
    assert shown["rows"][100] == "… (299800 more)"
    assert len(shown["rows"]) == 201
    assert shown["text"].endswith("… (400000 characters)")
    many = json.loads(to_json({f"key{number}": number for number in range(100_000)}))
    assert len(many) == 201
    assert many["…"] == "(99800 more)"


@pytest.mark.parametrize("before", [0, 4_080, 4_095, 4_096, 20_000])
def test_no_secret_shows_where_a_long_text_is_cut(before: int) -> None:
    token = "dapi" + "0123456789abcdef" * 2
    text = "x " * (before // 2) + token + " y" * 200_000
    shown = to_json({"text": text, "password": "correct horse " * 30_000})
    assert "0123456789" not in shown
    assert "dapi0" not in shown
    assert "horse" not in shown
