"""The fenced blocks of a page of the documentation, the commands in them, and whether a command printed what it shows.

A block with a title is a file that the reader writes. A `bash` block holds commands. A `console` block holds lines that
begin with `$ `, each followed by what the command prints. `…` stands for anything: on a line of its own for any number
of lines, and within a line for any part of that line.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ANYTHING = "…"
PROMPT = "$ "


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its opening fence, from 1. `title` is empty if it has none."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        """The page and the line, for messages."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block. `output` has the lines that the page shows below it; None if the page shows no output."""

    page: Path
    line: int
    text: str
    output: tuple[str, ...] | None

    @property
    def place(self) -> str:
        """The page and the line, for messages."""
        return f"{self.page}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order, those in lists and quotes included.

    Raises:
        ValueError: the words after a fence cannot be read, or an attribute other than `title` is not known.
    """
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    blocks = []
    for token in tokens:
        if token.type == "fence":
            assert token.map is not None
            line = token.map[0] + 1
            language, title = _information(token.info, f"{page}:{line}")
            blocks.append(Block(page, line, language, title, token.content))
    return blocks


def commands(block: Block) -> list[Command]:
    """Return the commands of a `bash` or `console` block. A command may go on over several lines."""
    lines = block.text.splitlines()
    found = list(_of_console(block, lines) if block.language == "console" else _of_script(block, lines))
    if not found:
        raise ValueError(f"{block.place}: there is no command in this {block.language} block")
    return found


def difference(shown: Sequence[str], printed: Sequence[str]) -> str | None:
    """Say where the printed lines differ from the shown ones, or return None if they fit.

    Spaces at the end of a line and empty lines at the end of all do not matter.
    """
    shown, printed = _trimmed(shown), _trimmed(printed)
    # The shown lines between two wildcards are one part. Each is looked for as early as possible.
    parts: list[list[str]] = [[]]
    for line in shown:
        if line.strip() == ANYTHING:
            parts.append([])
        else:
            parts[-1].append(line)
    first, *rest = parts
    if not rest:
        return _first_difference(first, printed, whole=True)
    if (found := _first_difference(first, printed)) is not None:
        return found
    position = len(first)
    *middle, last = rest
    for part in middle:
        places = range(position, len(printed) - len(part) + 1)
        place = next((one for one in places if _first_difference(part, printed[one:]) is None), None)
        if place is None:
            return f"not printed: {part[0]}"
        position = place + len(part)
    if len(printed) - position < len(last):
        return f"not printed: {last[0]}"
    return _first_difference(last, printed[len(printed) - len(last) :], whole=True)


def fits(shown: str, printed: str) -> bool:
    """Whether a printed line is a shown one, in which `…` stands for any text."""
    first, *rest = shown.split(ANYTHING)
    if not rest:
        return shown == printed
    *middle, last = rest
    if not printed.startswith(first):
        return False
    position = len(first)
    for part in middle:
        place = printed.find(part, position)
        if place < 0:
            return False
        position = place + len(part)
    return printed.endswith(last) and len(printed) - position >= len(last)


def _information(text: str, place: str) -> tuple[str, str]:
    """The language and the title of the words after a fence."""
    try:
        language, *attributes = shlex.split(text) or [""]
    except ValueError as error:
        raise ValueError(f"{place}: the words after the fence cannot be read: {text}") from error
    title = ""
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name != "title" or not value:
            raise ValueError(f'{place}: a fence takes title="…", not {attribute}')
        title = value
    return language, title


def _of_console(block: Block, lines: Sequence[str]) -> Iterator[Command]:
    if lines and not lines[0].startswith(PROMPT):
        raise ValueError(f"{block.place}: a console block begins with a line that begins with {PROMPT!r}")
    starts = [number for number, line in enumerate(lines) if line.startswith(PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        size = _size(lines[start:end], block, start)
        text = "\n".join(lines[start : start + size]).removeprefix(PROMPT)
        yield Command(block.page, block.line + 1 + start, text, tuple(lines[start + size : end]))


def _of_script(block: Block, lines: Sequence[str]) -> Iterator[Command]:
    position = 0
    while position < len(lines):
        size = _size(lines[position:], block, position)
        text = "\n".join(lines[position : position + size])
        # A comment alone is no command.
        if shlex.split(text, comments=True):
            yield Command(block.page, block.line + 1 + position, text, None)
        position += size


def _size(lines: Sequence[str], block: Block, start: int) -> int:
    """How many lines the command has that begins with the first one: until its quotes end and no `\\` follows."""
    for size in range(1, len(lines) + 1):
        text = "\n".join(lines[:size]).removeprefix(PROMPT)
        if text.endswith("\\"):
            continue
        try:
            shlex.split(text, comments=True)
        except ValueError:
            continue
        return size
    raise ValueError(f"{block.page}:{block.line + 1 + start}: this command does not end")


def _trimmed(lines: Sequence[str]) -> list[str]:
    trimmed = [line.rstrip() for line in lines]
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed


def _first_difference(shown: Sequence[str], printed: Sequence[str], *, whole: bool = False) -> str | None:
    for number, line in enumerate(shown):
        if number >= len(printed):
            return f"not printed: {line}"
        if not fits(line, printed[number]):
            return f"shown: {line}\nprinted: {printed[number]}"
    if whole and len(printed) > len(shown):
        return f"printed, and not shown: {printed[len(shown)]}"
    return None
