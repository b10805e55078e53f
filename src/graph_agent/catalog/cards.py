"""What `langgraph.json` tells people about a graph, beside the `path` that LangGraph reads.

LangGraph knows `description` too, and leaves the other fields alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_agent.errors import GraphNotLoaded

MOST_TITLE, MOST_DESCRIPTION, MOST_QUESTION = 100, 2000, 500
"""Characters of these texts."""

MOST_QUESTIONS = 12
"""Example questions of one graph."""

INPUTS = ("images", "files")
"""What a graph may accept beside text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCard:
    """What people are told about a graph before they ask it."""

    title: str | None = None
    """Its name for people. Without one they see the name that requests use."""

    description: str | None = None

    example_questions: tuple[str, ...] = ()
    """Questions that it can answer."""

    images: bool = False
    """Whether it does something useful with images in `input`."""

    files: bool = False
    """Whether it does something useful with files in `input`."""


def read_card(manifest: Path, name: str, entry: Mapping[str, Any]) -> GraphCard:
    """The card in a graph's entry of the manifest.

    Raises:
        GraphNotLoaded: a field has the wrong form; the message names the graph and the field.
    """

    def wrong(field: str, expected: str) -> GraphNotLoaded:
        return GraphNotLoaded(f"{manifest}: `{field}` of graph {name!r} must be {expected}", param=name)

    def text(field: str, most: int) -> str | None:
        value = entry.get(field)
        if value is not None and not _is_text(value, most):
            raise wrong(field, f"a text of at most {most} characters")
        return value

    questions, accepts = entry.get("example_questions"), entry.get("accepts")
    if questions is None:
        questions = []
    if (
        not isinstance(questions, list)
        or len(questions) > MOST_QUESTIONS
        or not all(_is_text(one, MOST_QUESTION) for one in questions)
    ):
        expected = f"a list of at most {MOST_QUESTIONS} texts, each of at most {MOST_QUESTION} characters"
        raise wrong("example_questions", expected)
    if accepts is None:
        accepts = {}
    if not isinstance(accepts, dict) or not all(
        one in INPUTS and isinstance(value, bool) for one, value in accepts.items()
    ):
        raise wrong("accepts", 'an object such as {"images": true, "files": false}')
    return GraphCard(
        title=text("title", MOST_TITLE),
        description=text("description", MOST_DESCRIPTION),
        example_questions=tuple(questions),
        images=accepts.get("images", False),
        files=accepts.get("files", False),
    )


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= most
