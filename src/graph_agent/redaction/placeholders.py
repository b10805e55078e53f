"""Recognizes placeholders, which stand in for a secret: `your_password_here`, `YOUR_ACCESS_TOKEN`, `xxxx`."""

import re

SHORTEST = 4
"""Least characters of a placeholder. A shorter value is not worth keeping readable."""

LONGEST = 80
"""Most characters of a placeholder. The bound also limits the work in `_words_of`."""

MOST_DIGITS = 5
"""Most digits in a row that a placeholder may have, if one of its words marks it as a placeholder."""

MASKS = frozenset("x*.•#_-…")
EXAMPLE = "EXAMPLE"
"""The ending of the keys in the documentation of AWS."""

_SAYING = """
    your my insert replace enter put paste add change changeme here placeholder example sample dummy fake redacted
    hidden masked todo fixme tbd foo bar baz goes xxx xxxx
"""
SAYING = frozenset(_SAYING.split())
"""Words that mark a value as a placeholder."""

_NAMING = """
    the a an of for with in to from this that me it is and or new old some own real actual valid secret secrets
    password passwords passwd passphrase pass pwd word token tokens key keys api apikey access client bearer auth oauth
    value string text type name user username id none null undefined true false required optional not needed used unset
    empty env var variable variables environment db database service account private public personal app application
    openai anthropic azure aws google github gitlab slack databricks huggingface hf hugging face proj live test ant svc
"""
NAMING = frozenset(_NAMING.split())
"""Words that describe a secret or its owner. A placeholder may be made of these, but they do not mark one."""

_IN_BRACKETS = re.compile(r"<[^<>]*>|\$?\{[^{}]*\}|\{\{[^{}]*\}\}")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^A-Za-z\d]")
_HEAD = re.compile(r"(?:dapi|dose|gh[a-z]_|glpat-|sk[-_]|hf_|AKIA|xox[a-z]-)")
_SEPARATORS = frozenset("-_. /:%@~!?,|+=")
_VARIABLE = re.compile(r"\A[A-Z]{2,}+(?:_[A-Z]{2,}+)++\Z")


def is_placeholder(value: str) -> bool:
    """Return whether the value only stands in for a secret: a mask, a variable's name, or words that say so."""
    if not SHORTEST <= len(value) <= LONGEST:
        return False
    if _IN_BRACKETS.fullmatch(value):
        return True
    if head := _HEAD.match(value):
        # `sk-your-key-here`: the vendor's prefix is kept in examples.
        value = value[head.end() :]
    return _is_masked(value) or _VARIABLE.match(value) is not None or value.endswith(EXAMPLE) or _is_said(value)


def _is_masked(value: str) -> bool:
    return MASKS.issuperset(value.lower())


def _is_said(value: str) -> bool:
    words, says = 0, False
    digits = ""
    for part in _PART.findall(value):
        if part.isdigit():
            digits = part
        elif len(part) > 2 and len(set(part.lower())) == 1:
            words, says = words + 1, True
        elif part.isalpha():
            known = _words_of(part.lower())
            if known is None:
                return False
            words, says = words + 1, says or known
        elif part not in _SEPARATORS:
            return False
    return words > 0 and (not digits or (says and len(digits) <= MOST_DIGITS))


def _words_of(text: str) -> bool | None:
    """Return whether a word of the text marks a placeholder; `None` if the text has other words than the known ones."""
    if text in SAYING:
        return True
    if text in NAMING:
        return False
    # Words without a separator, such as `mypassword` and `YOURTOKEN`. `reached` has each offset that a sequence of
    # known words ends at, and whether one of them marks a placeholder. No known word is longer than 11 characters.
    reached: dict[int, bool] = {0: False}
    for end in range(3, len(text) + 1):
        for start in range(max(0, end - 11), end - 1):
            if start in reached and (word := text[start:end]) in _LONG_WORDS:
                reached[end] = reached.get(end, False) or reached[start] or word in SAYING
    return reached.get(len(text))


_LONG_WORDS = frozenset(word for word in SAYING | NAMING if len(word) > 2) | {"my"}
