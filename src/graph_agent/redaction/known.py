"""Secrets known by their value: the process's own, and those of the request at hand."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote

SHORTEST = 8
"""Characters of a value below which it is too likely to be an ordinary word."""

LEAST_BEGUN = 3
"""Characters of a value's beginning that a text may end with before it is suspicious."""

NAMES = ("_TOKEN", "_SECRET", "_PASSWORD", "_API_KEY", "_SECRET_KEY", "_SECRET_ACCESS_KEY")
"""How the names of variables that hold secrets end."""


class Known:
    """Values to look for, as one pattern; also as they are written in JSON and in addresses."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._longest = 0
        self.pattern: re.Pattern[str] | None = None
        self.beginnings: tuple[str, ...] = ()
        """The first `LEAST_BEGUN` characters of each."""
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Look for these too; those shorter than `SHORTEST` are left out."""
        forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
        if forms - self._values:
            self._values |= forms
            # The longest first: one may begin with another.
            longest = sorted(self._values, key=len, reverse=True)
            self.pattern = re.compile("|".join(map(re.escape, longest)))
            self.beginnings = tuple({value[:LEAST_BEGUN] for value in longest})
            self._longest = len(longest[0])

    @classmethod
    def together(cls, known: "Iterable[Known | None]") -> "Known | None":
        """All the values of several, or nothing."""
        values = {value for one in known if one is not None for value in one._values}
        return cls(values) if values else None

    def begun(self, text: str) -> int:
        """Where the text's end begins a value; the text's length where it begins none."""
        last = text[-self._longest :] if self._longest else ""
        for start in range(len(last) - LEAST_BEGUN + 1):
            if any(value.startswith(last[start:]) for value in self._values):
                return len(text) - len(last) + start
        return len(text)


KNOWN = Known()
"""The process's own; `create_app` fills it from the environment."""

_HERE: ContextVar[Known | None] = ContextVar("graph_agent_hidden", default=None)


def hidden_here() -> Known | None:
    """The values of the request at hand; for handing over to a thread with `hiding`."""
    return _HERE.get()


@contextmanager
def hiding(values: Known | Iterable[str] | None) -> Iterator[None]:
    """Within it these values are redacted as well; tasks and copied contexts that begin in it keep them."""
    before = _HERE.set(values if isinstance(values, Known) or values is None else Known(values))
    try:
        yield
    finally:
        _HERE.reset(before)


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they hold secrets."""
    return [value for name, value in environ.items() if name.upper().endswith(NAMES) and len(value) >= SHORTEST]


def _forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
