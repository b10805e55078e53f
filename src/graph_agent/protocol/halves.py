"""Characters that come in halves: a model may cut a text between the two surrogates of one character.

UTF-8 has no halves. Told one by one they would be two signs for "missing" where the whole text has an emoji.
"""

REPLACEMENT = "\ufffd"


def mended(text: str) -> str:
    """The text with each pair of halves as its character and each lone half as the sign for what is missing."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Halves:
    """One text under way: what `feed` and `flush` give, put together, is the mended whole."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first = ""
        """The first half of a character whose second has not come."""

    @property
    def pending(self) -> str:
        """What `flush` would give."""
        return REPLACEMENT if self._first else ""

    def feed(self, piece: str) -> str:
        """What can be told now: nearly always the piece itself."""
        if not self._first and piece.isascii():
            return piece
        text, self._first = self._first + piece, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._first = text[:-1], text[-1]
        return mended(text)

    def flush(self) -> str:
        """What stands for a half that never got its other one."""
        rest, self._first = self.pending, ""
        return rest
