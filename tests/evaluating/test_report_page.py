"""The HTML page: one file, whatever rows, answers and documents hold."""

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.evaluating.test_rows import row

from graph_agent.evaluating.baseline import Baseline, Limit
from graph_agent.evaluating.gate import compare
from graph_agent.evaluating.records import Record, RecordsFile, Turn
from graph_agent.evaluating.report_page import page
from graph_agent.evaluating.row_reader import read_row
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scores import RowScore, Scores

HOSTILE = "\"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>'&lt; \ud800 \0 \u202eback"
RUN = {
    "dataset": "docs",
    "model": "m",
    "graph": None,
    "place": "in process",
    "version": "v",
    "dataset_digest": "d",
    "began": "today",
    "sample": False,
}


class Page(HTMLParser):
    """What a browser would find: elements, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def asked(name: str, text: str) -> tuple[Row, Record]:
    # A dataset is UTF-8; an answer need not be.
    sent = text.replace("\ud800", "")
    changed = row(inputs={"input": [{"role": "user", "content": sent}]}, expectations={"facts": [[sent]]})
    source = {"doc_uri": text, "title": text, "score": 0.5, "number": 1, "cited": True}
    turn = Turn(question=text, answer=text, status="failed", error={"code": text, "message": text}, cited=[text])
    turn.calls, turn.retrieved = [{"name": text, "arguments": {"q": text}, "output": text}], [source]
    return read_row(json.dumps(changed | {"id": name.replace("\ud800", "")}), "here"), Record(
        id=name, digest="", turns=[turn]
    )


def shown(
    values: Mapping[str, Mapping[str, float]],
    before: Mapping[str, Mapping[str, float]],
    *,
    text: str = "Which port?",
    errors: Mapping[str, str] | None = None,
) -> Page:
    pairs = [asked(name, text) for name in values]
    rows = {
        name: RowScore(
            digest="d",
            tags={"kind": name},
            values=dict(given),
            errors=dict(errors or {}),
            trace_ids=[f"tr-{name}{text}"],
        )
        for name, given in values.items()
    }
    limits = {"facts_covered": Limit(value=1.0, n=len(before), floor=0.75, max_drop=0.0)}
    kept: dict[str, Any] = {name: {"digest": "d", "values": given} for name, given in before.items()}
    baseline = Baseline(dataset="docs", model="m", graph=None, noise="exact", metrics=limits, rows=kept)
    scores = Scores(run=RUN, rows=rows)
    html = page(
        scores,
        compare(scores, baseline),
        baseline,
        rows=[one for one, _ in pairs],
        records=[record for _, record in pairs],
    )
    return Page(html)


def test_nothing_of_a_row_is_markup() -> None:
    name = f"r{HOSTILE}"
    page = shown({name: {"facts_covered": 0.0}}, {name: {"facts_covered": 1.0}}, text=HOSTILE, errors={"s": HOSTILE})
    assert not page.all("script")
    assert not page.all("img")
    assert page.html.encode()
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    # Each place that shows it shows it as it is.
    assert page.text.count("alert(1)</script>") > 15
    assert page.open == []


def test_an_answer_that_is_no_utf8_is_recorded(tmp_path: Path) -> None:
    file = RecordsFile(tmp_path / "records.jsonl", {})
    file.begin()
    file.append(asked("r", HOSTILE)[1])
    (kept,) = file.begin().values()
    assert kept.last.answer == HOSTILE


def test_the_page_loads_nothing_and_may_run_nothing() -> None:
    page = shown({"r": {"facts_covered": 1.0}}, {"r": {"facts_covered": 1.0}}, text="https://elsewhere.example/a")
    assert not {"link", "script", "iframe", "object", "a"} & {tag for tag, _ in page.elements}
    assert not [attributes for _, attributes in page.elements if {"src", "href"} & attributes.keys()]
    assert "url(" not in page.html
    assert "@import" not in page.html
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert "default-src 'none'" in str(policy[0])


def test_what_regressed_is_open_and_what_did_not_is_closed() -> None:
    page = shown(
        {"worse": {"facts_covered": 0.5}, "better": {"facts_covered": 1.0}},
        {"worse": {"facts_covered": 1.0}, "better": {"facts_covered": 0.0}},
    )
    assert ["open" in attributes for attributes in page.all("details")] == [True, False]
    for said in ("Regressed rows (1)", "Fixed rows (1)", "facts_covered fell", "facts_covered rose", "tr-worse"):
        assert said in page.text
    assert "facts_covered 0.5 (baseline 1)" in page.text


def test_a_metric_stands_beside_its_baseline_and_interval_and_by_tag() -> None:
    before = {name: {"facts_covered": 1.0} for name in "abcd"}
    page = shown({name: {"facts_covered": float(name != "a"), "seconds": 2.0} for name in "abcd"}, before)
    assert "facts_covered is 0.750" not in page.text
    assert "0.30 to 0.95" in page.text
    assert "0.75 of 1, baseline 1" in page.text
    assert "The gate failed." in page.text
    assert "Whole answer: p50 2.00 s" in page.text
    assert page.text.count("1.000 of 1") == 3


def test_without_errors_and_changes_all_rows_are_closed() -> None:
    page = shown({"a": {"facts_covered": 1.0}}, {"a": {"facts_covered": 1.0}}, errors=None)
    assert "The gate passed." in page.text
    # Its answer failed, and so it is not among the others.
    assert "Rows with errors (1)" in page.text
    assert "failed: Which port? Which port?" in page.text


def test_failing_rows_are_marked_and_open_without_a_baseline_too() -> None:
    rows = {"wrong": {"facts_covered": 0.5, "mrr": 0.5}, "lost": {"mrr": 0.0}, "right": {"facts_covered": 1.0}}
    pairs = [asked(name, "Which port?") for name in rows]
    for _, record in pairs:
        record.turns[-1].status, record.turns[-1].error = "completed", None
    scores = Scores(run=RUN, rows={name: RowScore(digest="d", tags={}, values=dict(v)) for name, v in rows.items()})
    found = Page(page(scores, None, None, rows=[row for row, _ in pairs], records=[record for _, record in pairs]))
    assert "Failing rows (2)" in found.text
    assert "(fails facts_covered)" in found.text
    assert "(fails mrr)" in found.text
    assert [("open" in one, one.get("class")) for one in found.all("details")] == [
        (True, "failing"),
        (True, "failing"),
        (False, None),
    ]


def test_a_bar_without_a_ceiling_is_no_verdict() -> None:
    values = {"a": {"facts_covered": 1.0, "seconds": 2.0}}
    bars = [one for one in shown(values, values).all("rect") if "fill" in str(one.get("class"))]
    # Seconds are not in the baseline, which fails the gate: no reason to paint two of four bars as too slow.
    assert {"fill plain"} == {str(one["class"]) for one in bars if one["width"] == "220.0"} - {"fill"}
    kept = {"a": {"facts_covered": 1.0}}
    assert not [one for one in shown(kept, kept).all("rect") if one.get("class") == "fill plain"]


def test_a_page_without_a_baseline_says_the_command_and_not_that_something_is_wrong() -> None:
    scores = Scores(run=RUN, rows={})
    found = Page(
        page(scores, None, None, rows=[], records=[], no_baseline="This makes one: graph-agent eval baseline --graph m")
    )
    assert "graph-agent eval baseline --graph m" in found.text
    assert [one["class"] for one in found.all("div") if "verdict" in str(one.get("class"))] == ["verdict"]
