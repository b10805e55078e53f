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


FEW = 12
"""Different beginnings up to which looking for each is faster than looking at every place."""


class KnownSecrets:
    """Values to look for; also as they are written in JSON and in addresses."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values: tuple[str, ...] = ()
        """The longest first: one may begin with another."""
        self.beginnings: tuple[str, ...] = ()
        """Their first `LEAST_BEGUN` characters, where those are few."""
        self.many = False
        """Whether they are too many to look for each: `begins_in` tells then."""
        self._by_beginning: dict[str, list[str]] = {}
        self._longest = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Look for these too; those shorter than `SHORTEST` are left out."""
        self._take({form for value in values if len(value) >= SHORTEST for form in _forms(value)})

    def _take(self, forms: set[str]) -> None:
        if not forms.difference(self.values):
            return
        self.values = tuple(sorted(forms.union(self.values), key=len, reverse=True))
        by_beginning: dict[str, list[str]] = {}
        for value in self.values:
            by_beginning.setdefault(value[:LEAST_BEGUN], []).append(value)
        self._by_beginning = by_beginning
        self.many = len(by_beginning) > FEW
        self.beginnings = () if self.many else tuple(by_beginning)
        self._longest = len(self.values[0])

    @classmethod
    def together(cls, known: "Iterable[KnownSecrets | None]") -> "KnownSecrets | None":
        """All the values of several, or nothing."""
        several = [one for one in known if one is not None and one.values]
        if len(several) < 2:
            return several[0] if several else None
        whole = cls()
        # Their forms are there already.
        whole._take({value for one in several for value in one.values})
        return whole

    def begins_in(self, text: str) -> bool:
        """Whether the first characters of a value stand somewhere in the text, however many values there are."""
        places = range(len(text) - LEAST_BEGUN + 1)
        return any(text[start : start + LEAST_BEGUN] in self._by_beginning for start in places)

    def begun(self, text: str) -> int:
        """Where the text's end begins a value; the text's length where it begins none."""
        earliest, first = len(text), max(0, len(text) - self._longest)
        for beginning, values in self._by_beginning.items():
            start = text.find(beginning, first, earliest + LEAST_BEGUN - 1)
            while 0 <= start < earliest:
                if _goes_on(values, text, start):
                    earliest = start
                start = text.find(beginning, start + 1, earliest + LEAST_BEGUN - 1)
        return earliest


HIDDEN_VALUES = KnownSecrets()
"""The process's own; `create_app` fills it from the environment."""

_HERE: ContextVar[KnownSecrets | None] = ContextVar("graph_agent_hidden", default=None)


def current_hidden_values() -> KnownSecrets | None:
    """The values of the request at hand; for handing over to a thread with `with_hidden_values`."""
    return _HERE.get()


@contextmanager
def with_hidden_values(values: KnownSecrets | Iterable[str] | None) -> Iterator[None]:
    """Within it these values are redacted as well; tasks and copied contexts that begin in it keep them."""
    more = values if isinstance(values, KnownSecrets) or values is None else KnownSecrets(values)
    before = _HERE.set(KnownSecrets.together([_HERE.get(), more]))
    try:
        yield
    finally:
        _HERE.reset(before)


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they hold secrets; not ordinary words of under 16 characters."""
    named = [value for name, value in environ.items() if name.upper().endswith(NAMES)]
    return [value for value in named if len(value) >= SHORTEST and not _WORD.fullmatch(value)]


def _goes_on(values: Iterable[str], text: str, start: int) -> bool:
    """Whether one of the values begins with the text's end from `start` on."""
    length, last = len(text) - start, text[-1]
    # The last character first: of a value that repeats itself, each of its parts may be the beginning.
    return any(value[length - 1] == last and value.startswith(text[start:]) for value in values if len(value) >= length)


def _forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
