"""Ready-made tools: arithmetic, date and time, unit conversion."""

import math
import re
from datetime import datetime
from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from langchain_core.tools import ToolException, tool
from pydantic import Field

MOST_CHARACTERS = 200


@tool
def calculator(
    expression: Annotated[
        str,
        Field(
            description="numbers and + - * / ** ( ) sqrt() log() exp() round() pi",
            max_length=MOST_CHARACTERS,
            examples=["12.5 * (3 + 4)"],
        ),
    ],
) -> str:
    """Work out an arithmetic expression of plain numbers."""
    from simpleeval import InvalidExpression, SimpleEval

    # A closed list of functions and names: the expression comes from a model, which may repeat what a document says.
    functions = {name: getattr(math, name) for name in ("sqrt", "log", "exp", "sin", "cos", "tan", "floor", "ceil")}
    evaluator = SimpleEval(
        functions=functions | {"round": round, "abs": abs, "min": min, "max": max},
        names={"pi": math.pi, "e": math.e},
    )
    try:
        value = evaluator.eval(_as_python(expression))
    except ZeroDivisionError:
        raise ToolException("division by zero has no value") from None
    except (InvalidExpression, SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError):
        raise ToolException(
            "this is not an arithmetic expression; write numbers and operators only, such as (2 + 3) * 4"
        ) from None
    return _number(value)


_PERCENT = re.compile(r"(?<!\d)(\d++(?:\.\d++)?)\s*+%(?!\s*+[\d(])")


def _as_python(expression: str) -> str:
    """Rewrite common notation for arithmetic in Python's operators: `15% * 840`, `2^10`, multiplication and
    division signs."""
    signs = {"^": "**", "\u00d7": "*", "\u00f7": "/"}
    return _PERCENT.sub(r"(\1/100)", "".join(signs.get(sign, sign) for sign in expression))


@tool
def current_time(
    timezone: Annotated[
        str,
        Field(
            description="IANA name",
            max_length=60,
            examples=["Europe/Paris"],
        ),
    ] = "UTC",
) -> str:
    """The current date, weekday and time in a time zone."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolException(f"there is no time zone {timezone!r}{_nearest(timezone)}") from None
    return datetime.now(zone).strftime(f"%A, %d %B %Y, %H:%M:%S ({timezone}, UTC%z)")


@tool
def convert_units(
    value: Annotated[float, Field(examples=[3.5])],
    from_unit: Annotated[str, Field(max_length=30, examples=["miles"])],
    to_unit: Annotated[str, Field(max_length=30, examples=["km"])],
) -> str:
    """Convert a quantity between units: length, mass, temperature, volume, speed, time, data, energy."""
    from pint import DimensionalityError, UndefinedUnitError

    try:
        units = _units()
        result = units.Quantity(value, _unit(from_unit)).to(_unit(to_unit))
    except UndefinedUnitError:
        raise ToolException(f"unknown unit in {from_unit!r} or {to_unit!r}; use names like km, mile, degC") from None
    except DimensionalityError:
        raise ToolException(f"{from_unit} and {to_unit} measure different things") from None
    except (ValueError, TypeError, AttributeError, ArithmeticError, SyntaxError):
        raise ToolException(f"cannot convert {from_unit!r} to {to_unit!r}; use names like km, mile, degC") from None
    return f"{_number(value)} {from_unit} = {_number(result.magnitude)} {to_unit}"


@cache
def _units() -> Any:
    # Made on first use, because reading the unit definitions takes half a second.
    from pint import UnitRegistry

    return UnitRegistry(autoconvert_offset_to_baseunit=True)


_SPOKEN_UNITS = {
    "degree celsius": "degC",
    "degrees celsius": "degC",
    "degree fahrenheit": "degF",
    "degrees fahrenheit": "degF",
    "degrees": "degree",
    "c": "degC",
    "°c": "degC",
    "celsius": "degC",
    "f": "degF",
    "°f": "degF",
    "fahrenheit": "degF",
    "kelvin": "kelvin",
    "mph": "mile / hour",
    "kmh": "km / hour",
    "km/h": "km / hour",
    "pounds": "pound",
    "lbs": "pound",
}
"""Names that the library does not know, or reads as something else: `c` is the speed of light there."""


def _unit(name: str) -> str:
    return _SPOKEN_UNITS.get(name.strip().lower(), name.strip())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolException("the result is not a number")
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _nearest(name: str) -> str:
    city = name.split("/")[-1].strip().replace(" ", "_").lower()
    known = sorted(zone for zone in available_timezones() if city and zone.split("/")[-1].lower() == city)
    return f"; did you mean {known[0]}?" if known else "; use an IANA name such as Europe/Berlin"
