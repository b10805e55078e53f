"""Reads what the users of a load test ask: one question on each line, or rows of a dataset of `graph-agent eval`."""

import json
from pathlib import Path
from typing import Any

from graph_agent.load_testing.errors import LoadRefused

Question = str | list[dict[str, Any]]
"""A text, or the messages that a request sends as its `input`."""

USUAL: tuple[Question, ...] = ("What can you help me with?",)
"""Without a file, everybody asks the same."""

MOST_BYTES = 16_777_216


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read the questions of a file. A name that ends in `.jsonl` means JSON lines, and any other a text.

    A line of JSON is an object with `question`, or a row of a dataset with `inputs.input`.

    Raises:
        LoadRefused: the file cannot be read, is larger than 16 MB or has no question. The message names the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise LoadRefused(
            f"{path} cannot be read ({type(error).__name__}); give --questions a text in UTF-8, one question a line"
        ) from None
    if len(content) > MOST_BYTES:
        raise LoadRefused(f"{path} is larger than 16 MB; give --questions fewer questions")
    rows = path.suffix == ".jsonl"
    # Not `splitlines`, because a text may contain Unicode line separators.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    found = [_row(line, f"{path}:{number}") if rows else line for number, line in lines if line]
    if not found:
        raise LoadRefused(f"{path} has no questions; write one on each line")
    return tuple(found)


def _row(line: str, where: str) -> Question:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise LoadRefused(f"{where}: not JSON; a file of questions that ends in .jsonl has one object a line") from None
    given = row.get("question") if isinstance(row, dict) else None
    if given is None and isinstance(row, dict) and isinstance(row.get("inputs"), dict):
        given = row["inputs"].get("input")
    if isinstance(given, str) and given.strip():
        return given
    if isinstance(given, list) and given and all(isinstance(one, dict) for one in given):
        return given
    raise LoadRefused(f"{where}: no question; write it as `question`, a text, or as `inputs.input` of a dataset")
