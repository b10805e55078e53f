"""Sections cut into passages short enough for a small model's window, and long enough to be understood alone.

Sizes are in characters; six of them are about one word of English, blank included.
"""

import re
from collections.abc import Iterator, Sequence

from graph_agent.local.documents.sections import Block, Section

PASSAGE_CHARACTERS = 800
"""A passage is cut before it grows beyond this: about 130 words, mostly within the 256 tokens the embedder reads."""

WHOLE_CHARACTERS = 1200
"""A table or code block up to this size is never torn."""

SMALL_CHARACTERS = 200
"""A rest of up to this size joins the passage before it."""

HEADING_CHARACTERS = 70
"""A longer heading is shortened in a passage's first line."""


_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


def heading_line(path: Sequence[str]) -> str:
    """The heading path as it stands on a passage's first line: `README > Settings`."""
    return " > ".join(shortened(heading) for heading in path)


def shortened(heading: str) -> str:
    text = " ".join(heading.split())
    return text if len(text) <= HEADING_CHARACTERS else text[:HEADING_CHARACTERS].rsplit(" ", 1)[0] + " …"


def passages(section: Section) -> list[str]:
    """The section's text in order, in passages without their heading line."""
    pieces = [piece for block in section.blocks for piece in split_block(block)]
    return joined_rest(list(pack_passages(pieces)))


def pack_passages(pieces: Sequence[str]) -> Iterator[str]:
    held: list[str] = []
    for piece in pieces:
        if held and len("\n\n".join([*held, piece])) > PASSAGE_CHARACTERS:
            # "These are the routes:" belongs to the table it announces.
            announced = held.pop() if len(held) > 1 and introduces_next(held[-1]) else None
            yield "\n\n".join(held)
            held = [announced] if announced else []
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
    """The block whole where it is small enough, else in pieces that each stand alone."""
    whole = block.kind in ("table", "code")
    if len(block.text) <= (WHOLE_CHARACTERS if whole else PASSAGE_CHARACTERS):
        return [block.text]
    # Not `splitlines`: form feeds and Unicode's separators stand within a line.
    lines = block.text.split("\n")
    match block.kind:
        case "table" if len(lines) > 2 and repeatable(*lines[:2]):
            return pieces_of(lines[2:], before="\n".join(lines[:2]) + "\n", between="\n")
        case "code" if lines[0].lstrip(" >").startswith(("```", "~~~")) and len(lines) > 2 and repeatable(lines[0]):
            return pieces_of(lines[1:-1], before=f"{lines[0]}\n", between="\n", after=f"\n{lines[-1]}")
        case "prose":
            return pieces_of(_SENTENCE_END.split(block.text), between=" ")
        case _:
            return pieces_of(lines, between="\n")


def repeatable(*lines: str) -> bool:
    """Whether lines are short enough to stand over every piece: else a long header would multiply."""
    return sum(map(len, lines)) <= SMALL_CHARACTERS * 2


def pieces_of(units: Sequence[str], *, before: str = "", between: str, after: str = "") -> list[str]:
    """Lines or sentences joined up to the passage size, each piece between the same head and foot."""
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
    """A line longer than a passage, such as minified text, cut at a blank where it has one."""
    start = 0
    while len(unit) - start > PASSAGE_CHARACTERS:
        blank = unit.rfind(" ", start + 1, start + PASSAGE_CHARACTERS)
        end = blank if blank > start else start + PASSAGE_CHARACTERS
        yield unit[start:end]
        start = end + (blank > start)
    if rest := unit[start:].strip():
        yield rest
