"""A dataset is read strictly: whatever is wrong is named by file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from graph_agent.evaluating.errors import BadDataset
from graph_agent.evaluating.row_reader import read_row, read_rows
from graph_agent.evaluating.rows import ExpectedCall, chosen
from graph_agent.evaluating.scorers.answers import stands_in

DATASETS = Path(__file__).parents[2] / "evals" / "datasets"


def row(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "id": "one",
        "inputs": {"input": [{"role": "user", "content": "Which port?"}]},
        "expectations": {"facts": [["8000", "eight thousand"]]},
        "tags": {"kind": "docs", "half": "tuning"},
    }
    return whole | changes


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in rows))
    return path


def test_a_row_holds_what_its_line_says() -> None:
    calls = [{"name": "calculator", "arguments": {"expression": ["2+2", "4"], "digits": 3}}]
    line = row(turns=["And then?"], expectations={"tool_calls": calls, "must_decline": False, "documents": ["a.md"]})
    read = read_row(json.dumps(line), "here")
    assert read.question == "And then?"
    assert read.expectations.tool_calls == (
        ExpectedCall(name="calculator", arguments={"expression": ("2+2", "4"), "digits": (3,)}),
    )
    assert read.expectations.documents == (("a.md",),)
    assert read.expectations.must_decline is False
    assert read.expectations.facts is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{", "not JSON"),
        ([1], "the row must be an object"),
        (row(question="x"), "question is not a field"),
        (row(id=" "), "id must be a non-empty string"),
        (row(inputs={"input": []}), r"inputs\.input must be a non-empty list"),
        (row(inputs={"input": "Which port?"}), r"inputs\.input must be a non-empty list"),
        (row(inputs={"input": [{"role": "user"}]}), r"inputs\.input\[0\] must have role"),
        (row(expectations={"fact": []}), r"expectations\.fact is not a field"),
        (row(expectations={"facts": []}), r"expectations\.facts must be a non-empty list"),
        (row(expectations={"facts": [["a", ""]]}), r"expectations\.facts\[0\]\[1\] must be a non-empty string"),
        (row(expectations={"documents": [[]]}), r"expectations\.documents\[0\] must name"),
        (row(expectations={"tool_calls": [{"args": {}}]}), r"expectations\.tool_calls\[0\]\.args is not a field"),
        (row(expectations={"must_decline": "yes"}), r"expectations\.must_decline must be true or false"),
        (row(expectations={"must_decline": 1}), r"expectations\.must_decline must be true or false"),
        (
            row(expectations={"tool_calls": [{"name": "t", "arguments": {"x": []}}]}),
            r"expectations\.tool_calls\[0\]\.arguments\.x must name at least one alternative",
        ),
        (row(tags={"half": "third"}), r"tags\.half must be one of tuning, held_out"),
        (row(turns="And then?"), "turns must be a list"),
        (row(stored="yes"), "stored must be one of conversation, previous_response_id"),
        (row(turns=[{"approve": True}]), r"turns\[0\] must be a string"),
        (row(stored="conversation", turns=[{"approve": 1}]), r"turns\[0\]\.approve must be true or false"),
        (row(stored="conversation", turns=[{"approve": True, "says": "x"}]), r"turns\[0\]\.says is not a field"),
        (row(turns=[{"says": "And then?", "after": 1}]), r"turns\[0\] must be a string"),
        (row(stored="conversation", turns=[{"says": "a", "after": 2}]), r"turns\[0\]\.after must be the number"),
        (row(stored="conversation", turns=["a", {"after": 1}]), r"turns\[1\]\.says must be a non-empty string"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field(tmp_path: Path, wrong: Any, message: str) -> None:
    path = written(tmp_path / "set.jsonl", row(id="first"), wrong)
    with pytest.raises(BadDataset, match=rf"set\.jsonl:2: .*{message}"):
        read_rows(path)


def test_two_rows_may_not_have_one_id(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match=r"set\.jsonl:2: line 1 already has the id 'one'"):
        read_rows(written(tmp_path / "set.jsonl", row(), row()))


def test_a_text_may_hold_the_line_separators_of_unicode_and_half_a_character(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    question = {"input": [{"role": "user", "content": "One\u2028two \x85 three?"}]}
    path.write_text(json.dumps(row(inputs=question), ensure_ascii=False) + "\n", encoding="utf-8")
    (read,) = read_rows(path)
    assert read.question == "One\u2028two \x85 three?"
    assert read_row(json.dumps(row(inputs={"input": [{"role": "user", "content": "\ud83d"}]})), "here").digest


def test_a_half_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="half=held_out"):
        chosen(read_rows(written(tmp_path / "set.jsonl", row())), half="held_out")


def test_two_rows_may_not_ask_the_same(tmp_path: Path) -> None:
    path = written(tmp_path / "set.jsonl", row(), row(id="two", expectations={"must_decline": True}))
    with pytest.raises(BadDataset, match=r"set\.jsonl:2: 'two' asks the same as 'one'"):
        read_rows(path)


@pytest.mark.parametrize("name", ["missing.jsonl", "empty.jsonl"])
def test_a_dataset_without_rows_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(BadDataset, match=name):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("name", ["docs", "smoke"])
def test_the_projects_own_datasets_can_be_read_and_name_documents_that_exist(name: str) -> None:
    rows = read_rows(DATASETS / f"{name}.jsonl")
    named = {file for one in rows for group in one.expectations.documents or () for file in group}
    assert [file for file in sorted(named) if not (DATASETS.parents[1] / file).is_file()] == []


def test_the_full_set_has_a_hundred_rows_of_every_kind_in_both_halves() -> None:
    rows = read_rows(DATASETS / "docs.jsonl")
    assert len(rows) >= 100
    kinds = {"docs", "tools", "unanswerable", "multi-turn", "leak", "format"}
    kinds |= {"multi-document", "paraphrase", "follow-up", "language"}
    assert {(one.tags["kind"], one.tags["half"]) for one in rows} == {
        (kind, half) for kind in kinds for half in ("tuning", "held_out")
    }


def test_every_fact_that_a_row_of_the_project_expects_stands_in_a_document_that_it_names() -> None:
    # The documentation moves on. A row that expects what it no longer says would judge the documents, not the agent.
    project = DATASETS.parents[1]
    outdated = []
    for one in read_rows(DATASETS / "docs.jsonl"):
        named = [
            (project / file).read_text(encoding="utf-8") for group in one.expectations.documents or () for file in group
        ]
        facts = one.expectations.facts or ()
        outdated += [
            (one.id, fact)
            for fact in facts
            if named and not any(stands_in(word, text) for word in fact for text in named)
        ]
    assert outdated == []


def test_a_sample_is_always_the_same_and_has_every_kind() -> None:
    rows = read_rows(DATASETS / "docs.jsonl")
    sample = chosen(rows, count=20)
    assert len(sample) == 20
    assert [one.id for one in sample] == [one.id for one in chosen(list(reversed(rows)), count=20)][::-1]
    assert {one.tags["kind"] for one in sample} == {one.tags["kind"] for one in rows}


def test_the_halves_are_told_apart() -> None:
    rows = read_rows(DATASETS / "docs.jsonl")
    assert {one.tags["half"] for one in chosen(rows, half="held_out")} == {"held_out"}
