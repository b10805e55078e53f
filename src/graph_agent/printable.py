"""Makes foreign text safe for a terminal and a text log: it cannot move the cursor or begin a line."""

import unicodedata

CONTROLS = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
"""Unicode categories: control, format (such as the direction of writing), line and paragraph separators, surrogates."""

JOINERS = frozenset("\u200c\u200d")
"""Format characters that some languages and emoji need."""


def printable(text: str, *, keep: str = "\n\t") -> str:
    """The text with every control character, except those in `keep`, written as a Python escape."""
    if text.isprintable():
        return text
    return "".join(one if one in keep or not _controls(one) else _escaped(one) for one in text)


def one_line(text: str) -> str:
    """The text on one line: line breaks are escaped too."""
    return printable(text, keep="\t")


def _controls(character: str) -> bool:
    return unicodedata.category(character) in CONTROLS and character not in JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
