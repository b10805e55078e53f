"""The probabilities of the tokens of a text, as models report them and as the API tells them.

A token repeats a piece of the text. So a token is told only when exactly that piece was shown: text that may be the
beginning of a secret is held back, and a secret is replaced.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

Token = dict[str, Any]


def tokens_in(metadata: Mapping[str, Any]) -> list[Token]:
    """The tokens in the `response_metadata` of a message or a chunk, in OpenAI's form. Others are left out."""
    reported = metadata.get("logprobs")
    content = reported.get("content") if isinstance(reported, Mapping) else None
    return list(_tokens(content)) if isinstance(content, list) else []


def _tokens(content: list[Any]) -> Iterator[Token]:
    for one in content:
        if (token := _token(one)) is not None:
            likely = one.get("top_logprobs")
            found = [other for each in likely if (other := _token(each))] if isinstance(likely, list) else []
            yield {**token, "top_logprobs": found}


def _token(value: Any) -> Token | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("token"), str):
        return None
    number, written = value.get("logprob"), value.get("bytes")
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        return None
    if not isinstance(written, list) or not all(isinstance(one, int) and 0 <= one < 256 for one in written):
        # A token may be a part of a character. Then only its bytes say which.
        written = list(value["token"].encode("utf-8", "surrogatepass"))
    return {"token": value["token"], "logprob": number, "bytes": written}


class ToldTokens:
    """The tokens of one text, of which those are told whose text was shown."""

    def __init__(self) -> None:
        self._waiting: list[Token] = []
        self._told: list[Token] = []
        self._untold = bytearray()
        """What was shown and is of no token that was told."""
        self._lost = False

    def add(self, tokens: list[Token]) -> None:
        """Tokens of text that follows."""
        self._waiting += tokens

    def shown(self, text: str) -> list[Token]:
        """The tokens that can be told now, because this text was shown."""
        if self._lost:
            return []
        self._untold += text.encode("utf-8", "surrogatepass")
        place, count = 0, 0
        for token in self._waiting:
            written = bytes(token["bytes"])
            if self._untold[place : place + len(written)] != written[: len(self._untold) - place]:
                # The text was changed, such as by redaction. What follows cannot be matched.
                self._lost = True
                break
            if place + len(written) > len(self._untold):
                break
            place, count = place + len(written), count + 1
        found, self._waiting = self._waiting[:count], self._waiting[count:]
        del self._untold[:place]
        self._told += found
        return found

    def whole(self) -> list[Token]:
        """All tokens of the text, or none if it is not just as the model has written it."""
        return [] if self._lost or self._waiting or self._untold else self._told
