"""What the model of the tutorials answers, for each page: the words that the page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.documentation.scripted_model import Answers


@dataclass(frozen=True)
class Page:
    """The answers to the questions of a page, and the questions that its documents do not answer."""

    answers: Answers
    unanswerable: Sequence[str] = field(default=())


PAGES: Mapping[str, Page] = {
    "first-graph": Page(
        {
            "What is a database?": [
                "A database is like a big toy box with labels, so that you find every toy quickly.",
            ],
            "Why is the sky blue?": [
                "The air throws blue light around, like a garden hose that sprays water everywhere.",
            ],
        }
    ),
}
