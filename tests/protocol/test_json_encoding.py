import json
from typing import Any

import pytest

from graph_agent.protocol.json_encoding import encode


def test_plain_values_are_written_as_they_are() -> None:
    value = {"text": "grüße 😀", "list": [1, 2.5, None, True], "nested": {"a": []}}
    assert json.loads(encode(value)) == value


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\n"])
@pytest.mark.parametrize("beside", ["", "\ud83d", "\u2019"])
def test_no_reader_of_lines_finds_a_line_end_in_what_is_written(end: str, beside: str) -> None:
    written = encode({f"a{end}b": [f"{end}{beside}{end}"]}).decode()
    assert written.splitlines() == [written]
    assert json.loads(written) == {f"a{end}b": [f"{end}{beside}{end}".replace("\ud83d", "\ufffd")]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a\ufffd"),
        ({"\ude00": ["\ude00", 2**64, (1, "\ud83d")]}, {"\ufffd": ["\ufffd", str(2**64), [1, "\ufffd"]]}),
        ({("a", 1): "\ud83d"}, {"(tuple)": "\ufffd"}),
        ({"o": object(), "s": "\ud83d"}, {"o": "(object)", "s": "\ufffd"}),
        (float("inf"), None),
    ],
)
def test_what_json_cannot_say_is_said_in_part(value: Any, written: Any) -> None:
    assert json.loads(encode(value)) == written


def test_a_value_that_holds_itself_is_cut() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert b"(list)" in encode(circle)


def test_an_object_with_a_broken_dump_is_its_type() -> None:
    class Broken:
        def model_dump(self) -> Any:
            raise ValueError("hunter2")

    assert json.loads(encode({"it": Broken()})) == {"it": "(Broken)"}
