"""The ready-made tools, called as the tools node calls them."""

import re
from typing import Any

import pytest
from langchain_core.tools import ToolException

from graph_agent.toolbox import calculator, convert_units, current_time


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(199 + 301) * 2", "1000"),
        ("2 ^ 10", "1024"),
        ("sqrt(2) * 10", "14.14213562"),
        ("17 % 5 + 7 // 2", "5"),
        ("round(10 / 3, 2)", "3.33"),
        ("15% * 840", "126"),
        ("17 % 5", "2"),
    ],
)
def test_the_calculator_works_out_arithmetic(expression: str, value: str) -> None:
    assert calculator.invoke({"expression": expression}) == value


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').system('id')", "open('x')", "9**9**9", "'a' * 9", "1 +", "().__class__", "10 ** 400 / 3"],
)
def test_the_calculator_refuses_everything_that_is_not_arithmetic(expression: str) -> None:
    with pytest.raises(ToolException):
        calculator.invoke({"expression": expression})


def test_the_calculator_says_that_a_division_by_zero_has_no_value() -> None:
    with pytest.raises(ToolException, match="division by zero"):
        calculator.invoke({"expression": "1 / 0"})


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"value": 26.2, "from_unit": "mile", "to_unit": "km"}, "26.2 mile = 42.1648128 km"),
        ({"value": 100, "from_unit": "F", "to_unit": "Celsius"}, "100 F = 37.77777778 Celsius"),
        ({"value": 2, "from_unit": "kg", "to_unit": "lbs"}, "2 kg = 4.409245244 lbs"),
    ],
)
def test_units_are_converted_as_people_write_them(arguments: dict[str, Any], result: str) -> None:
    assert convert_units.invoke(arguments) == result


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "why"),
    [("kg", "metre", "measure different things"), ("smootish", "km", "unknown unit"), ("km", "", "measure different")],
)
def test_units_that_cannot_be_converted_are_refused_with_the_reason(from_unit: str, to_unit: str, why: str) -> None:
    with pytest.raises(ToolException, match=why):
        convert_units.invoke({"value": 1, "from_unit": from_unit, "to_unit": to_unit})


def test_the_time_names_its_zone() -> None:
    told = current_time.invoke({"timezone": "Asia/Tokyo"})
    assert re.fullmatch(r"\w+day, \d\d \w+ \d{4}, \d\d:\d\d:\d\d \(Asia/Tokyo, UTC\+0900\)", told)


@pytest.mark.parametrize(("name", "hint"), [("Tokyo", "Asia/Tokyo"), ("Mars/Base", "IANA"), ("../etc/passwd", "IANA")])
def test_an_unknown_time_zone_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ToolException, match=hint):
        current_time.invoke({"timezone": name})
