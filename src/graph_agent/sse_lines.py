"""Reading server-sent events: lines end where the format says, and nowhere else.

Python's `str.splitlines`, and httpx's `iter_lines` with it, end lines at U+2028, U+0085 and six more characters too,
which JSON may hold as they are. Source: HTML Living Standard, "Parsing an event stream".
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

_ENDS = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"


class LineReader:
    """Bytes in as they come, whole lines out, without their ends. What follows the last end is no line."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._after_return = False
        self._first = True

    def feed(self, piece: bytes) -> list[str]:
        """The lines that this piece ends."""
        if not piece:
            return []
        if self._after_return:
            # A line ended with the last piece's CR; an LF now belongs to that end.
            piece = piece.removeprefix(b"\n")
        *ended, rest = _ENDS.split(piece)
        self._after_return = piece.endswith(b"\r")
        lines = []
        for line in ended:
            lines.append(self._line(b"".join([*self._held, line])))
            self._held.clear()
        if rest:
            self._held.append(rest)
        return lines

    def _line(self, line: bytes) -> str:
        if self._first:
            self._first = False
            line = line.removeprefix(_MARK)
        return line.decode("utf-8", "replace")


def read_lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of a body, as they end."""
    reader = LineReader()
    for piece in pieces:
        yield from reader.feed(piece)


async def read_lines_async(pieces: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The same, of a body that comes asynchronously."""
    reader = LineReader()
    async for piece in pieces:
        for line in reader.feed(piece):
            yield line


def data_of_line(line: str) -> str | None:
    """What a `data` line holds, without the one space that may stand before it; `None` of any other line."""
    name, colon, value = line.partition(":")
    return value.removeprefix(" ") if name == "data" and (colon or line == "data") else None
