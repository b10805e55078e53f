"""Joins characters that arrive in halves: a model may split a text between the two surrogates of one character.

UTF-8 cannot encode a half. Sent one by one, they would become two replacement characters instead of an emoji.
"""

REPLACEMENT = "\ufffd"


def join_surrogates(text: str) -> str:
    """The text with each pair of halves joined and each lone half replaced by the replacement character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class SurrogateJoiner:
    """Repairs one streamed text. The results of `feed` and `flush`, joined, are the whole text."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first = ""
        """The first half of a character whose second half has not arrived."""

    @property
    def pending(self) -> str:
        """What `flush` would return."""
        return REPLACEMENT if self._first else ""

    def feed(self, piece: str) -> str:
        """The text that can be sent now: nearly always the piece itself."""
        if not self._first and piece.isascii():
            return piece
        text, self._first = self._first + piece, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._first = text[:-1], text[-1]
        return join_surrogates(text)

    def flush(self) -> str:
        """The replacement character if a half is left over, else nothing."""
        rest, self._first = self.pending, ""
        return rest
