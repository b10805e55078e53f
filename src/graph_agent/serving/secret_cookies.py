"""Which of a request's cookies are secrets: most say a language, a theme, a time zone, which answers say too."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

_SECRET_NAME = re.compile(
    r"(?i)sess|token|auth(?!or)|jwt|[cx]srf|secret|passw|credential|api_?key|(?:^|[^a-z])[a-z]{0,2}sid(?:[^a-z]|$)"
)
_WORDS = re.compile(r"[A-Z]?[a-z]++(?:[-_][A-Z]?[a-z]++)*+")
"""Such as `azure-active-directory`, which no session is called."""

_RUN = re.compile(r"[\w+=-]{20,}")
_SWITCH = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")

LEAST_SWITCHES = 4
"""Times that letters and digits take turns in what was drawn at random, and in no word, number or date."""

LEAST_DISTINCT = 10
"""Different characters of it."""


def secret_cookies(header: str) -> Iterator[str]:
    """The values of a `Cookie` header's cookies that are secrets by their name, or look drawn at random."""
    for cookie in header.split(";"):
        name, _, value = cookie.strip().partition("=")
        value = value.strip().strip('"')
        plain = unquote(value)
        if (_SECRET_NAME.search(name) and not _WORDS.fullmatch(value)) or _random(plain):
            yield value
            if plain != value:
                yield plain


def _random(value: str) -> bool:
    runs = (run.replace("-", "") for run in _RUN.findall(value))
    return any(len(set(run)) >= LEAST_DISTINCT and len(_SWITCH.findall(run)) >= LEAST_SWITCHES for run in runs)
