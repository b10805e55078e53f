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

_WORD = re.compile(r"[A-Za-z_-]{0,15}")
"""What stands in such variables where nobody asks for a secret: `postgres`, `not-needed`. Answers hold it too."""


class Known:
    """Values to look for; also as they are written in JSON and in addresses."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values: tuple[str, ...] = ()
        """The longest first: one may begin with another."""
        self.beginnings: tuple[str, ...] = ()
        """The first `LEAST_BEGUN` characters of each."""
        self._longest = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Look for these too; those shorter than `SHORTEST` are left out."""
        forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
        if forms:
            self.values = tuple(sorted(forms.union(self.values), key=len, reverse=True))
            self.beginnings = tuple({value[:LEAST_BEGUN] for value in self.values})
            self._longest = len(self.values[0])

    @classmethod
    def together(cls, known: "Iterable[Known | None]") -> "Known | None":
        """All the values of several, or nothing."""
        several = [one for one in known if one is not None and one.values]
        return several[0] if len(several) == 1 else cls(value for one in several for value in one.values)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the values stand. A plain search for each: they are few, and that is faster than one pattern."""
        for value in self.values:
            start = text.find(value)
            while start >= 0:
                yield start, start + len(value)
                start = text.find(value, start + len(value))

    def begun(self, text: str) -> int:
        """Where the text's end begins a value; the text's length where it begins none."""
        last = text[-self._longest :] if self._longest else ""
        for start in range(len(last) - LEAST_BEGUN + 1):
            if any(value.startswith(last[start:]) for value in self.values):
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
    more = values if isinstance(values, Known) or values is None else Known(values)
    before = _HERE.set(Known.together([_HERE.get(), more]))
    try:
        yield
    finally:
        _HERE.reset(before)


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they hold secrets; not ordinary words of under 16 characters."""
    named = [value for name, value in environ.items() if name.upper().endswith(NAMES)]
    return [value for value in named if len(value) >= SHORTEST and not _WORD.fullmatch(value)]


def _forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
