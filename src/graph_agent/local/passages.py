"""Sections cut into passages short enough for a small model's window, and long enough to be understood alone.

Sizes are in characters; six of them are about one word of English, blank included.
"""

import re
from collections.abc import Iterator, Sequence

from graph_agent.local.sections import Block, Section

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

PASSAGE_CHARACTERS = 800
"""A passage is cut before it grows beyond this: about 130 words, mostly within the 256 tokens the embedder reads."""

WHOLE_CHARACTERS = 1200
"""A table or code block up to this size is never torn."""

SMALL_CHARACTERS = 200
"""A rest of up to this size joins the passage before it."""

HEADING_CHARACTERS = 70
"""A longer heading is shortened in a passage's first line."""


def heading_line(path: Sequence[str]) -> str:
    """The heading path as it stands on a passage's first line: `README > Settings`."""
    return " > ".join(shortened(heading) for heading in path)


def shortened(heading: str) -> str:
    text = " ".join(heading.split())
    return text if len(text) <= HEADING_CHARACTERS else text[:HEADING_CHARACTERS].rsplit(" ", 1)[0] + " …"


def passages(section: Section) -> list[str]:
    """The section's text in order, in passages without their heading line."""
    pieces = [piece for block in section.blocks for piece in torn(block)]
    return joined_rest(list(packed(pieces)))


def packed(pieces: Sequence[str]) -> Iterator[str]:
    held: list[str] = []
    for piece in pieces:
        if held and len("\n\n".join([*held, piece])) > PASSAGE_CHARACTERS:
            # "These are the routes:" belongs to the table it announces.
            announced = held.pop() if len(held) > 1 and announces(held[-1]) else None
            yield "\n\n".join(held)
            held = [announced] if announced else []
        held.append(piece)
    if held:
        yield "\n\n".join(held)


def announces(piece: str) -> bool:
    return piece.endswith(":") and len(piece) <= SMALL_CHARACTERS


def joined_rest(texts: list[str]) -> list[str]:
    if len(texts) < 2 or len(texts[-1]) > SMALL_CHARACTERS:
        return texts
    return [*texts[:-2], f"{texts[-2]}\n\n{texts[-1]}"]


def torn(block: Block) -> list[str]:
    """The block whole where it is small enough, else in pieces that each stand alone."""
    whole = block.kind in ("table", "code")
    if len(block.text) <= (WHOLE_CHARACTERS if whole else PASSAGE_CHARACTERS):
        return [block.text]
    lines = block.text.splitlines()
    match block.kind:
        case "table":
            return pieces_of(lines[2:], before="\n".join(lines[:2]) + "\n", between="\n")
        case "code" if lines[0].lstrip().startswith(("```", "~~~")):
            return pieces_of(lines[1:-1], before=f"{lines[0]}\n", between="\n", after=f"\n{lines[-1]}")
        case "list" | "code":
            return pieces_of(lines, between="\n")
        case _:
            return pieces_of(_SENTENCE_END.split(block.text), between=" ")


def pieces_of(units: Sequence[str], *, before: str = "", between: str, after: str = "") -> list[str]:
    """Lines or sentences joined up to the passage size, each piece between the same head and foot."""
    pieces: list[list[str]] = [[]]
    for part in (part for unit in units for part in hard_cut(unit)):
        if pieces[-1] and len(between.join([before, *pieces[-1], part])) > PASSAGE_CHARACTERS:
            pieces.append([])
        pieces[-1].append(part)
    if len(pieces) > 1 and len(between.join(pieces[-1])) <= SMALL_CHARACTERS:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return [before + between.join(piece) + after for piece in pieces if piece]


def hard_cut(unit: str) -> Iterator[str]:
    """A line longer than a passage, such as minified text, cut at a blank where it has one."""
    while len(unit) > PASSAGE_CHARACTERS:
        cut = unit.rfind(" ", 1, PASSAGE_CHARACTERS) if " " in unit[1:PASSAGE_CHARACTERS] else PASSAGE_CHARACTERS
        yield unit[:cut]
        unit = unit[cut:].lstrip()
    if unit:
        yield unit
