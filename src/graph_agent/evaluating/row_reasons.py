"""Says in one line why a row fails: the first of the reasons that its record shows."""

from collections.abc import Iterator, Mapping, Sequence

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.report_rows import failure
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scorers.answers import declines, is_answered, lacking
from graph_agent.evaluating.scorers.calls import tool_calls
from graph_agent.evaluating.scorers.documents import file_of
from graph_agent.evaluating.scores import Scores

LONGEST = 160
"""Characters of a reason. The report has the rest."""


def reasons(scores: Scores, rows: Sequence[Row], records: Sequence[Record]) -> dict[str, str]:
    """Return the first reason of each row that has one, by the row's id."""
    by_id = {record.id: record for record in records}
    found: dict[str, str] = {}
    for row in rows:
        score, record = scores.rows.get(row.id), by_id.get(row.id)
        if score is not None and record is not None and (why := next(_reasons(row, record, score.errors), None)):
            # Names and texts of a remote agent may hold line breaks and control characters.
            line = "".join(one if one.isprintable() else " " for one in why)
            found[row.id] = line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
    return found


def _reasons(row: Row, record: Record, errors: Mapping[str, str]) -> Iterator[str]:
    expected = row.expectations
    if failed := failure(record):
        yield failed
    yield from (problem for turn in record.turns for problem in turn.problems)
    yield from (f"the scorer {scorer} raised {error}" for scorer, error in errors.items())
    if not is_answered(row, record):
        yield f"it ended after {len(record.turns)} of {1 + len(row.turns)} turns"
        return
    if wrong := [name for name, figure in tool_calls(row, record).items() if figure is not None and figure < 1]:
        wanted = ", ".join(call.name for call in expected.tool_calls or ()) or "none"
        made = ", ".join(str(call["name"]) for call in record.last.calls) or "none"
        yield f"{'calls' if 'tool_calls_f1' in wrong else 'arguments'}: expected {wanted}; made {made}"
    said = declines(row, record)
    if said["declined_when_must"] == 0:
        yield "the answer does not decline"
    if said["answered_when_must"] == 0:
        yield "the answer declines" if record.last.answer.strip() else "the answer is empty"
    yield from (f"the answer lacks {' or '.join(map(_quoted, group))}" for group in lacking(row, record))
    found = [file_of(str(source["doc_uri"])) for source in record.last.retrieved]
    cited = [file_of(url) for url in record.last.cited]
    for group in expected.documents or ():
        if not any(one in found for one in group):
            yield f"the searches did not find {' or '.join(group)}"
        elif not any(one in cited for one in group):
            yield f"the answer does not cite {' or '.join(group)}"


def _quoted(text: str) -> str:
    return f'"{text}"'
