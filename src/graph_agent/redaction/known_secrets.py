"""Secrets that are known by their value: those of the process, and those of the current request."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote, unquote

SHORTEST = 8
"""Least characters of a value. A shorter one is too likely to be an ordinary word."""

LEAST_BEGUN = 3
"""Characters of a value that must be there before a stream holds text back because of it."""

NAMES = ("_TOKEN", "_SECRET", "_PASSWORD", "_API_KEY", "_SECRET_KEY", "_SECRET_ACCESS_KEY", "PGPASSWORD")
"""Endings of the names of environment variables that hold secrets."""

_WORD = re.compile(r"[A-Za-z_-]{0,15}")
"""Values of such variables where no secret is required: `postgres`, `not-needed`. Answers contain these words too."""

_URL_PASSWORD = re.compile(r"://[^\s/?#:@]*:([^\s/?#@]+)@")
"""A password in a URL, such as that of a database."""

FEW = 12
"""Most different beginnings for which one search each is faster than a lookup at every offset."""


class KnownSecrets:
    """Values to search for, also in the forms that JSON and URLs give them."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values: tuple[str, ...] = ()
        """The longest first, because one value may begin with another."""
        self.beginnings: tuple[str, ...] = ()
        """Their first `LEAST_BEGUN` characters. Empty if there are more than `FEW` of these."""
        self.many = False
        """Whether there are more beginnings than `FEW`. Use `begins_in` then."""
        self._by_beginning: dict[str, list[str]] = {}
        self._longest = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Search for these values too. Values shorter than `SHORTEST` are ignored."""
        self._take({form for value in values if len(value) >= SHORTEST for form in _forms(value)})

    def _take(self, forms: set[str]) -> None:
        if not forms.difference(self.values):
            return
        # New objects take the place of the old ones, because another thread may be reading these.
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
        """Combine the values of several; `None` if there are no values."""
        several = [one for one in known if one is not None and one.values]
        if len(several) < 2:
            return several[0] if several else None
        whole = cls()
        # `_take` and not `add`: these values are the finished forms.
        whole._take({value for one in several for value in one.values})
        return whole

    def begins_in(self, text: str) -> bool:
        """Return whether the first characters of a value occur in the text. The time does not depend on `values`."""
        places = range(len(text) - LEAST_BEGUN + 1)
        return any(text[start : start + LEAST_BEGUN] in self._by_beginning for start in places)

    def begun(self, text: str) -> int:
        """Return the offset from which the end of the text may be the start of a value; the text's length if none."""
        earliest, first = len(text), max(0, len(text) - self._longest)
        for beginning, values in self._by_beginning.items():
            start = text.find(beginning, first, earliest + LEAST_BEGUN - 1)
            while 0 <= start < earliest:
                if _goes_on(values, text, start):
                    earliest = start
                start = text.find(beginning, start + 1, earliest + LEAST_BEGUN - 1)
        return earliest


HIDDEN_VALUES = KnownSecrets()
"""The secrets of the process. `create_app` fills it from the environment and the settings."""

_HERE: ContextVar[KnownSecrets | None] = ContextVar("graph_agent_hidden", default=None)


def current_hidden_values() -> KnownSecrets | None:
    """Return the values of the current request, to pass to another thread for `with_hidden_values`."""
    return _HERE.get()


@contextmanager
def with_hidden_values(values: KnownSecrets | Iterable[str] | None) -> Iterator[None]:
    """Redact these values too inside the block. Tasks and copied contexts that start inside keep them."""
    more = values if isinstance(values, KnownSecrets) or values is None else KnownSecrets(values)
    before = _HERE.set(KnownSecrets.together([_HERE.get(), more]))
    try:
        yield
    finally:
        _HERE.reset(before)


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """Return the values of variables that are named as secrets, and the passwords of URLs in variables of any name.

    Ordinary words below 16 characters are left out.
    """
    named = [value for name, value in environ.items() if name.upper().endswith(NAMES)]
    named += [unquote(found[1]) for value in environ.values() for found in _URL_PASSWORD.finditer(value)]
    return [value for value in named if len(value) >= SHORTEST and not _WORD.fullmatch(value)]


def _goes_on(values: Iterable[str], text: str, start: int) -> bool:
    """Return whether one of the values starts with the text from `start` to its end."""
    length, last = len(text) - start, text[-1]
    # The last character is compared first. In a value that repeats itself, many offsets look like its beginning, and
    # a comparison of the whole at each of them would be quadratic.
    return any(value[length - 1] == last and value.startswith(text[start:]) for value in values if len(value) >= length)


def _forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
