"""Cuts sections into passages that fit a small model's window and are long enough to be understood alone.

Sizes are in characters. An English word has about six, with the space after it.
"""

import re
from collections.abc import Iterator, Sequence

from graph_agent.local.documents.sections import Block, Section

PASSAGE_CHARACTERS = 800
"""Target size of a passage: about 130 words, which mostly fit into the 256 tokens that the embedder reads."""

WHOLE_CHARACTERS = 1200
"""A table or code block up to this size is never split."""

SMALL_CHARACTERS = 200
"""A last piece of up to this size joins the passage before it."""

HEADING_CHARACTERS = 70
"""A longer heading is shortened in the first line of a passage."""


# Chinese and Japanese have no space after a full stop.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


def heading_line(path: Sequence[str]) -> str:
    """The heading path for the first line of a passage, such as `README > Settings`."""
    return " > ".join(shortened(heading) for heading in path)


def shortened(heading: str) -> str:
    text = " ".join(heading.split())
    return text if len(text) <= HEADING_CHARACTERS else text[:HEADING_CHARACTERS].rsplit(" ", 1)[0] + " …"


def passages(section: Section) -> list[str]:
    """The text of a section in passages, in order and without the heading line."""
    pieces = [piece for block in section.blocks for piece in split_block(block)]
    return joined_rest(list(pack_passages(pieces)))


def pack_passages(pieces: Sequence[str]) -> Iterator[str]:
    held: list[str] = []
    for piece in pieces:
        if held and len("\n\n".join([*held, piece])) > PASSAGE_CHARACTERS:
            # "These are the routes:" belongs to the table that follows it.
            introduction = held.pop() if len(held) > 1 and introduces_next(held[-1]) else None
            yield "\n\n".join(held)
            held = [introduction] if introduction else []
        held.append(piece)
    if held:
        yield "\n\n".join(held)


def introduces_next(piece: str) -> bool:
    return piece.endswith(":") and len(piece) <= SMALL_CHARACTERS


def joined_rest(texts: list[str]) -> list[str]:
    if len(texts) < 2 or len(texts[-1]) > SMALL_CHARACTERS:
        return texts
    return [*texts[:-2], f"{texts[-2]}\n\n{texts[-1]}"]


def split_block(block: Block) -> list[str]:
    """The block as one piece if it is small enough, else in pieces that can each be understood alone."""
    whole = block.kind in ("table", "code")
    if len(block.text) <= (WHOLE_CHARACTERS if whole else PASSAGE_CHARACTERS):
        return [block.text]
    # Not `splitlines`, which also splits at form feeds and Unicode separators inside a line.
    lines = block.text.split("\n")
    match block.kind:
        # Every piece of a table repeats the header row and the row of dashes, and every piece of code its fences.
        case "table" if len(lines) > 2 and repeatable(*lines[:2]):
            return pieces_of(lines[2:], before="\n".join(lines[:2]) + "\n", between="\n")
        case "code" if lines[0].lstrip(" >").startswith(("```", "~~~")) and len(lines) > 2 and repeatable(lines[0]):
            return pieces_of(lines[1:-1], before=f"{lines[0]}\n", between="\n", after=f"\n{lines[-1]}")
        case "prose":
            return pieces_of(_SENTENCE_END.split(block.text), between=" ")
        case _:
            return pieces_of(lines, between="\n")


def repeatable(*lines: str) -> bool:
    """Whether lines are short enough to repeat in every piece. A long header would multiply the text."""
    return sum(map(len, lines)) <= SMALL_CHARACTERS * 2


def pieces_of(units: Sequence[str], *, before: str = "", between: str, after: str = "") -> list[str]:
    """Join lines or sentences into pieces of up to the passage size, each between `before` and `after`."""
    pieces: list[list[str]] = [[]]
    size = len(before)
    for part in (part for unit in units for part in cut_line(unit)):
        if pieces[-1] and size + len(between) + len(part) > PASSAGE_CHARACTERS:
            pieces.append([])
            size = len(before)
        pieces[-1].append(part)
        size += len(between) + len(part)
    if len(pieces) > 1 and len(between.join(pieces[-1])) <= SMALL_CHARACTERS:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return [before + between.join(piece) + after for piece in pieces if piece]


def cut_line(unit: str) -> Iterator[str]:
    """Cut a line that is longer than a passage, such as minified text, at a space if possible."""
    start = 0
    while len(unit) - start > PASSAGE_CHARACTERS:
        space = unit.rfind(" ", start + 1, start + PASSAGE_CHARACTERS)
        end = space if space > start else start + PASSAGE_CHARACTERS
        yield unit[start:end]
        start = end + (space > start)
    if rest := unit[start:].strip():
        yield rest
