"""Somebody else's words on a terminal and in a text log: no character of theirs moves the cursor or begins a line."""

import unicodedata

CONTROLS = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
"""Unicode categories: control, format (direction of writing among them), separators of lines, halves of pairs."""

JOINERS = frozenset("\u200c\u200d")
"""Format characters that writing of some languages, and emoji, need."""


def printable(text: str, *, keep: str = "\n\t") -> str:
    """The text with every control character written as Python would, but for those of `keep`."""
    if text.isprintable():
        return text
    return "".join(one if one in keep or not _controls(one) else _escaped(one) for one in text)


def one_line(text: str) -> str:
    """The text on one line, whatever it holds."""
    return printable(text, keep="\t")


def _controls(character: str) -> bool:
    return unicodedata.category(character) in CONTROLS and character not in JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
