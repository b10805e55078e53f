"""What stands where a secret would and is none: `your_password_here`, `YOUR_ACCESS_TOKEN`, `xxxx`."""

import re

SHORTEST = 4
"""Characters of a placeholder; a shorter one hides nothing worth reading."""

LONGEST = 80
"""Characters of a placeholder; a longer value is none."""

MOST_DIGITS = 5
"""Digits in a row that a placeholder may end with, where one of its words says that it is one."""

MASKS = frozenset("x*.•#_-…")
EXAMPLE = "EXAMPLE"
"""How the keys in AWS's own documentation end."""

_SAYING = """
    your my insert replace enter put paste add change changeme here placeholder example sample dummy fake redacted
    hidden masked todo fixme tbd foo bar baz goes xxx xxxx
"""
SAYING = frozenset(_SAYING.split())
"""Words that say that they stand for something else."""

_NAMING = """
    the a an of for with in to from this that me it is and or new old some own real actual valid secret secrets
    password passwords passwd passphrase pass pwd word token tokens key keys api apikey access client bearer auth oauth
    value string text type name user username id none null undefined true false required optional not needed used unset
    empty env var variable variables environment db database service account private public personal app application
    openai anthropic azure aws google github gitlab slack databricks huggingface hf hugging face proj live test ant svc
"""
NAMING = frozenset(_NAMING.split())
"""Words for a secret and for whose it is."""

_IN_BRACKETS = re.compile(r"<[^<>]*>|\$?\{[^{}]*\}|\{\{[^{}]*\}\}")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^A-Za-z\d]")
_HEAD = re.compile(r"(?:dapi|dose|gh[a-z]_|glpat-|sk[-_]|hf_|AKIA|xox[a-z]-)")
_SEPARATORS = frozenset("-_. /:%@~!?,|+=")
_VARIABLE = re.compile(r"\A[A-Z]{2,}+(?:_[A-Z]{2,}+)++\Z")


def is_placeholder(value: str) -> bool:
    """Whether the value stands for a secret: masked, the name of a variable, or words that say so."""
    if not SHORTEST <= len(value) <= LONGEST:
        return False
    if _IN_BRACKETS.fullmatch(value):
        return True
    if head := _HEAD.match(value):
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
    """Whether one of the words that the text is written of says that it is a placeholder; `None` where it is others."""
    if text in SAYING:
        return True
    if text in NAMING:
        return False
    # Written as one: `mypassword`, `YOURTOKEN`.
    reached: dict[int, bool] = {0: False}
    for end in range(3, len(text) + 1):
        for start in range(max(0, end - 11), end - 1):
            if start in reached and (word := text[start:end]) in _LONG_WORDS:
                reached[end] = reached.get(end, False) or reached[start] or word in SAYING
    return reached.get(len(text))


_LONG_WORDS = frozenset(word for word in SAYING | NAMING if len(word) > 2) | {"my"}
