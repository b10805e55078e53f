"""MLflow's judges: which rows each of them judges, and how its verdict becomes a figure from 0 to 1."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row

STANDARDS = (
    "The response is in the language of the question.",
    "The response says that it does not know rather than guess.",
)
"""Guidelines for every answer. A row may add more."""

NO_PASSAGES = "nothing was retrieved"
YES_NO = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
NO_SPAN = "its trace could not be read, or has no passages"
NO_ANSWER = "there is no answer"
DECLINED = "The documents do not answer this question."

Verdicts = Callable[..., Any]


class NoVerdict(Exception):
    """A judge gave no verdict, or could not be asked. The message contains no text of the judge."""


@dataclass(slots=True)
class Judged:
    """The verdicts of the judges about one row."""

    values: dict[str, float | None] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Judges that failed on the row. They make the gate fail."""

    notes: dict[str, str] = field(default_factory=dict)
    """Why a judge was not asked about the row, by the judge's name."""


Unasked = tuple[float | None, str]
"""The figure of a row that a judge is not asked about, and the reason why."""


def _always(row: Row, record: Record, passages: bool) -> Unasked | None:
    return None


@dataclass(frozen=True, slots=True)
class Judge:
    """One judge."""

    name: str
    made: Callable[[str], Verdicts]
    """Creates MLflow's judge from the name of a model."""

    takes: tuple[str, ...]
    """The names of the arguments that the judge takes."""

    asked: Callable[[Row, Record, bool], Unasked | None] = _always
    """Returns None if the judge should be asked. The flag says whether the trace holds passages."""

    unanswered: float | None = 0.0
    """The figure of a row without an answer."""

    part: str = ""
    """If the judge gives several feedbacks, the suffix in the names of those that count."""

    def skips(self, row: Row, record: Record, *, passages: bool) -> Unasked | None:
        """Return the figure and the reason if the judge is not asked about this row; None if it is.

        Raises:
            NoVerdict: the judge should be asked, but cannot.
        """
        unasked = self.asked(row, record, passages)
        if unasked is None and not record.last.answer.strip() and not self.part:
            return self.unanswered, NO_ANSWER
        return unasked


def judges() -> Sequence[Judge]:
    """Return all judges. This imports MLflow."""
    from mlflow.genai import scorers

    # MLflow's type hints do not declare these classes.
    built_in: Any = scorers

    said = ("inputs", "outputs")
    return (
        Judge("judge_relevance", lambda model: built_in.RelevanceToQuery(model=model), said),
        Judge("judge_safety", lambda model: built_in.Safety(model=model), ("outputs",), unanswered=None),
        Judge("judge_guidelines", lambda model: built_in.Guidelines(guidelines=[*STANDARDS], model=model), said),
        Judge(
            "judge_row_guidelines",
            lambda model: built_in.ExpectationsGuidelines(model=model),
            (*said, "expectations"),
            lambda row, record, passages: None if row.expectations.guidelines else (None, "it has no guidelines"),
        ),
        Judge(
            "judge_correctness",
            lambda model: built_in.Correctness(model=model),
            (*said, "expectations"),
            lambda row, record, passages: None if facts_of(row) else (None, "it expects no facts"),
        ),
        Judge("judge_groundedness", lambda model: built_in.RetrievalGroundedness(model=model), ("trace",), _retrieved),
        Judge(
            "judge_retrieval_relevance",
            lambda model: built_in.RetrievalRelevance(model=model),
            ("trace",),
            _retrieved,
            part="/precision",
        ),
    )


def facts_of(row: Row) -> list[str]:
    """Return what the answer must say as sentences for a judge. MLflow takes facts or a whole answer, never both."""
    if row.expectations.must_decline:
        return [DECLINED]
    return [" or ".join(group) for group in row.expectations.facts or ()]


def expectations_of(row: Row) -> dict[str, Any]:
    """Return the row's expectations under MLflow's names, without those that only scorers use."""
    wanted = row.expectations
    given = {
        "row": row.id,
        "expected_facts": facts_of(row),
        "guidelines": list(wanted.guidelines),
        "expected_retrieved_context": [{"doc_uri": group[0]} for group in wanted.documents or ()],
    }
    return {name: value for name, value in given.items() if value}


def figure(feedbacks: Sequence[Any], part: str = "", words: Mapping[str, float] = YES_NO) -> float:
    """Return the mean of the feedbacks on an answer or on its retrievals.

    Raises:
        NoVerdict: a feedback failed or is not a verdict. A mean of the others would not represent the whole answer.
    """
    counted = [one for one in feedbacks if not part or str(one.name).endswith(part)]
    for one in feedbacks:
        if one.error is not None:
            raise NoVerdict(str(one.error.error_code))
    if not counted:
        raise NoVerdict("no verdict")
    return sum(_number(one.value, words) for one in counted) / len(counted)


def _number(value: Any, words: Mapping[str, float]) -> float:
    if isinstance(value, float) and 0 <= value <= 1:
        return value
    found = words.get(str(getattr(value, "value", value)).lower())
    if found is None:
        raise NoVerdict("no verdict")
    return found


def _retrieved(row: Row, record: Record, passages: bool) -> Unasked | None:
    if passages:
        return None
    if record.last.retrieved:
        # Passages were retrieved, but cannot be judged without their texts. A person must find out why.
        raise NoVerdict(NO_SPAN)
    # An answer that needed documents and retrieved none is not grounded, which counts as 0.
    return (0.0 if row.expectations.documents else None), NO_PASSAGES


def error_name(error: BaseException) -> str:
    """Return the error's type and MLflow's code, without its message. MLflow stores the message with the trace."""
    if isinstance(error, NoVerdict):
        return str(error)
    code = getattr(error, "error_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
