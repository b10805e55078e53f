"""Finds the cookies that are secrets. Most cookies are not: a language, a theme or a time zone may occur in answers."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

_SECRET_NAME = re.compile(
    r"(?i)sess|token|auth(?!or)|jwt|[cx]srf|secret|passw|credential|api_?key|(?:^|[^a-z])[a-z]{0,2}sid(?:[^a-z]|$)"
)
_WORDS = re.compile(r"[A-Z]?[a-z]++(?:[-_][A-Z]?[a-z]++)*+")
"""Values made of words, such as `azure-active-directory`. No session id looks like that."""

_RUN = re.compile(r"[\w+=-]{20,}")
_SWITCH = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")

LEAST_SWITCHES = 4
"""How often letters and digits alternate in a random value at least. Words, numbers and dates have fewer changes."""

LEAST_DISTINCT = 10
"""How many different characters a random value has at least."""


def secret_cookies(header: str) -> Iterator[str]:
    """The values of the cookies in a `Cookie` header that are secrets by their name or look random."""
    for cookie in header.split(";"):
        name, _, value = cookie.strip().partition("=")
        value = value.strip().strip('"')
        plain = unquote(value)
        if (_SECRET_NAME.search(name) and not _WORDS.fullmatch(value)) or _random(plain):
            yield value
            # A graph may quote the cookie as sent or decoded.
            if plain != value:
                yield plain


def _random(value: str) -> bool:
    # Without hyphens: a UUID counts as one run of characters.
    runs = (run.replace("-", "") for run in _RUN.findall(value))
    return any(len(set(run)) >= LEAST_DISTINCT and len(_SWITCH.findall(run)) >= LEAST_SWITCHES for run in runs)
