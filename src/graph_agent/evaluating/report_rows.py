"""The rows of the HTML report: question, answer, expectations, calls, passages, citations, figures and trace."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from graph_agent.evaluating.baseline import UNSTEADY, Baseline
from graph_agent.evaluating.gate import Verdict
from graph_agent.evaluating.metrics import metric
from graph_agent.evaluating.records import Record, Turn
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scores import RowScore, Scores
from graph_agent.markup import Html, element, joined

# A share that was computed from floats may miss 1 or 0 by a rounding error.
WHOLE, NOTHING = 1 - 1e-9, 1e-9
RELEVANCE = "judge_retrieval_relevance"
"""The share of passages that a judge calls relevant. It is rarely 1, because a search always returns a fixed number."""


def listed(
    scores: Scores,
    verdict: Verdict | None,
    baseline: Baseline | None,
    *,
    rows: Mapping[str, Row],
    records: Mapping[str, Record],
) -> Iterator[Html]:
    """Yield headings and rows in groups: regressed, fixed, with errors, failing an expectation, and all others.

    Regressed rows, failing rows and rows with errors are expanded. In every group, the figures that a row fails are
    shown next to its question.
    """
    regressed, fixed = (verdict.regressed, verdict.fixed) if verdict else ({}, {})
    failed = {name for name, row in scores.rows.items() if row.errors or failure(records.get(name))}
    lacking = {name: failing(row) for name, row in scores.rows.items()}
    rest = [name for name in scores.rows if not {name} & (regressed.keys() | fixed.keys() | failed)]
    groups: tuple[tuple[str, Sequence[str], bool], ...] = (
        ("Regressed rows", list(regressed), True),
        ("Fixed rows", [name for name in fixed if name not in regressed], False),
        ("Rows with errors", [name for name in scores.rows if name in failed - regressed.keys() - fixed.keys()], True),
        ("Failing rows", [name for name in rest if lacking[name]], True),
        ("All other rows", [name for name in rest if not lacking[name]], False),
    )
    for title, names, opened in groups:
        if not names and title in ("Failing rows", "All other rows"):
            continue
        yield element("h2", f"{title} ({len(names)})")
        for name in names:
            before = baseline.rows.get(name, {}).get("values", {}) if baseline else {}
            moved = [
                *(f"{one} fell" for one in regressed.get(name, ())),
                *(f"{one} rose" for one in fixed.get(name, ())),
            ]
            parts = _parts(scores.rows[name], rows.get(name), records.get(name), before)
            failed_at = [one for one in lacking[name] if one not in regressed.get(name, ())]
            yield _row(name, rows.get(name), moved, failed_at, parts, opened)
    for title, names in (("Rows that were not asked", scores.missing), ("Records without a row", scores.extra)):
        if names:
            yield element("h2", f"{title} ({len(names)})")
            yield element("ul", *(element("li", element("code", name)) for name in names))


def listed_conversations(conversations: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    """Yield the simulated conversations, each with its figures and errors."""
    if conversations:
        yield element("h2", f"Simulated conversations ({len(conversations)})")
    for one in conversations:
        parts = [
            *(
                (f"Turn {n}", _said(f"{turn['question']}\n\n{turn['answer']}"))
                for n, turn in enumerate(one["turns"], 1)
            ),
            ("Figures", "; ".join(f"{name} {value:.4g}" for name, value in one["values"].items())),
            ("Errors", _list([f"{name}: {error}" for name, error in one["errors"].items()])),
            ("Trace", _list([element("code", trace) for trace in one["trace_ids"]])),
        ]
        pairs = [joined(element("dt", term), element("dd", value)) for term, value in parts if value]
        summary = element("summary", element("code", one["row"]), " ", one["goal"])
        yield element("details", summary, element("dl", *pairs), open="" if one["errors"] else None)


def failing(score: RowScore) -> list[str]:
    """Return the figures in which a row fails: those below 1. Ranking and relevance only fail at 0."""
    shares = {name: value for name, value in score.values.items() if value is not None and name not in UNSTEADY}
    gradual = {name for name in shares if metric(name).ranking or name == RELEVANCE}
    return [name for name, value in shares.items() if value < (NOTHING if name in gradual else WHOLE)]


def _row(
    name: str,
    row: Row | None,
    moved: Sequence[str],
    failed_at: Sequence[str],
    parts: Sequence[tuple[str, str]],
    opened: bool,
) -> Html:
    said = [element("code", name)]
    if row is not None:
        said.append(joined(" ", row.question[:160]))
    if moved:
        said.append(joined(" ", element("span", f"({', '.join(moved)})", class_="bad" if opened else "good")))
    if failed_at:
        said.append(joined(" ", element("span", f"(fails {', '.join(failed_at)})", class_="bad")))
    pairs = [joined(element("dt", term), element("dd", value)) for term, value in parts]
    inner = joined(element("summary", *said), element("dl", *pairs))
    return element("details", inner, open="" if opened else None, class_="failing" if failed_at or opened else None)


def _parts(
    score: RowScore, row: Row | None, record: Record | None, before: Mapping[str, float]
) -> list[tuple[str, str]]:
    """Return pairs of a term and its content. Pairs without content are left out."""
    last = record.last if record else Turn(question="")
    tags = ", ".join(f"{tag}: {value}" for tag, value in score.tags.items())
    earlier = record.turns[:-1] if record else []
    parts: list[tuple[str, str]] = [
        (f"Turn {number}", _said(f"{one.question}\n\n{one.answer}")) for number, one in enumerate(earlier, 1)
    ]
    parts += [
        ("Question", _said(last.question or (row.question if row else ""))),
        ("Answer", _said(last.answer) if last.answer else element("span", "none", class_="bad")),
        ("Expected", _expected(row)),
        ("Tool calls", _calls(record)),
        ("Retrieved", _retrieved(last)),
        ("Cited", _list([element("code", one) for one in last.cited]) or ("none" if last.retrieved else "")),
        ("Figures", _figures(score, before)),
        ("Errors", _list([f"{scorer}: {error}" for scorer, error in score.errors.items()])),
        ("Not judged", _list([f"{name}: {why}" for name, why in score.notes.items()])),
        ("Failed", failure(record)),
        ("Stream", _list([one for turn in record.turns for one in turn.problems] if record else [])),
        ("Trace", _list([element("code", one) for one in score.trace_ids])),
        ("Tags", tags),
    ]
    return [(term, value) for term, value in parts if value]


def failure(record: Record | None) -> str:
    """Return the error of the last turn, or its status if it has no answer; empty for a completed one."""
    if record is None or (record.last.status == "completed" and not record.last.error):
        return ""
    error = record.last.error or {}
    return f"{record.last.status}: {error.get('code', 'no reason')} {error.get('message', '')}".strip()


def _expected(row: Row | None) -> str:
    if row is None:
        return ""
    given = {name: value for name, value in asdict(row.expectations).items() if value not in (None, (), {})}
    lines = []
    for name, value in given.items():
        if name in ("facts", "documents"):
            text = "; ".join(" or ".join(group) for group in value)
        elif name == "tool_calls":
            text = "; ".join(f"{call['name']} {_json(call['arguments'])}" for call in value) or "none"
        else:
            text = "; ".join(value) if isinstance(value, tuple) else _json(value)
        lines.append(joined(element("code", name), " ", text))
    return _list(lines)


def _calls(record: Record | None) -> str:
    calls = [call for turn in record.turns for call in turn.calls] if record else []
    return joined(
        *(
            joined(
                element("code", f"{call.get('name')} {_json(call.get('arguments'))}"),
                element("pre", str(call.get("output") or "no output")),
            )
            for call in calls
        )
    )


def _retrieved(turn: Turn) -> str:
    found = []
    for passage in turn.retrieved:
        title = " ".join(str(passage[key]) for key in ("title", "score") if passage.get(key) is not None)
        mark = " (cited)" if passage.get("cited") else ""
        found.append(
            joined(element("code", f"[{passage.get('number', '')}] {passage.get('doc_uri', '')}"), f" {title}{mark}")
        )
    return _list(found)


def _figures(score: RowScore, before: Mapping[str, float]) -> str:
    said = []
    for name, value in score.values.items():
        if value is None and name not in before:
            continue
        now = "none" if value is None else f"{value:.4g}"
        then = before.get(name)
        changed = then is not None and (value is None or abs(value - then) > 1e-3)
        text = f"{name} {now}" + (f" (baseline {then:.4g})" if changed else "")
        worse = changed and (value is None or value < (then or 0.0))
        said.append(element("span", text, class_="bad" if worse else "good") if changed else text)
    return joined(*(joined(one, "; " if place + 1 < len(said) else "") for place, one in enumerate(said)))


def _said(text: str) -> Html:
    return element("div", text, class_="said", dir="auto")


def _list(items: Sequence[str]) -> str:
    return element("ul", *(element("li", item) for item in items)) if items else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
