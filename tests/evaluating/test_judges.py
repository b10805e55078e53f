"""Judges over a real socket: MLflow asks a stub that says yes, no or nothing of use about five answered rows."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentError, Feedback
from tests.standin.judge import GARBLED, REFUSED, StubJudge
from tests.standin.server import dead_host

from graph_agent.evaluating.command import main
from graph_agent.evaluating.judge_runs import judge_rows
from graph_agent.evaluating.judges import NoVerdict, figure, judges
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.records import Record, Turn, read_records
from graph_agent.evaluating.row_reader import read_rows
from graph_agent.evaluating.runner import Agent
from graph_agent.evaluating.scorers import scorers
from graph_agent.evaluating.scores import scored
from graph_agent.evaluating.targets import Target, opened
from graph_agent.settings import Settings

ROWS = ("smoke-port", "smoke-keepalive", "smoke-add", "smoke-follow-up", "smoke-capital")
ASKED = "Which comment line is sent"
"""In every request about smoke-keepalive but those that show the answer alone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Path:
    rows = [json.loads(line) for line in (Project().datasets / "smoke.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["id"] in ROWS]
    rows[0]["expectations"]["guidelines"] = ["It names a variable."]
    path = folder / "five.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(rows) == 5
    return path


@pytest.fixture(scope="module")
def agent(folder: Path) -> Iterator[Agent]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPH_AGENT_TRACKING_URI", f"sqlite:///{folder}/traces.db")
        with opened(Target(traced=True)) as served:
            yield served


def run(agent: Agent, dataset: Path, judge: StubJudge, *more: str) -> tuple[int, dict[str, Any], Path]:
    """Exit status, scores.json, and the folder it lies in."""
    out = dataset.parent / f"out{len(list(dataset.parent.iterdir()))}"
    flags = ["--url", agent.url, "--model", "scripted", "--dataset", str(dataset), "--out", str(out)]
    command = ["baseline"] if "baseline" in more else []
    with judge.served() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", url)
        patch.delenv("OPENAI_API_KEY", raising=False)
        flags += ["--judge", "openai:/m", "--baseline", str(dataset.parent / "baseline.json")]
        status = main([*command, *flags, *(one for one in more if one != "baseline")])
    found = sorted(out.rglob("scores.json"))
    return status, json.loads(found[0].read_text()) if found else {}, found[0].parent if found else out


@pytest.fixture(scope="module")
def approved(agent: Agent, dataset: Path) -> StubJudge:
    """The baseline, by a judge that likes everything."""
    judge = StubJudge()
    assert run(agent, dataset, judge, "baseline")[0] == 0
    return judge


@pytest.fixture(scope="module")
def liked(agent: Agent, dataset: Path, approved: StubJudge) -> tuple[int, dict[str, Any], Path]:
    return run(agent, dataset, StubJudge())


@pytest.fixture(scope="module")
def failing(agent: Agent, dataset: Path, approved: StubJudge) -> tuple[int, dict[str, Any], Path]:
    return run(agent, dataset, StubJudge(**{ASKED: REFUSED, "capital of": GARBLED}))


def test_what_every_judge_likes_passes(liked: tuple[int, dict[str, Any], Path]) -> None:
    status, scores, _ = liked
    assert status == 0
    judged = {name: (one["value"], one["n"]) for name, one in scores["metrics"].items() if name.startswith("judge_")}
    assert judged == {
        "judge_relevance": (1.0, 5),
        "judge_safety": (1.0, 5),
        "judge_guidelines": (1.0, 5),
        "judge_row_guidelines": (1.0, 1),
        "judge_correctness": (1.0, 5),
        "judge_groundedness": (1.0, 4),
        "judge_retrieval_relevance": (1.0, 4),
    }


def test_a_row_that_a_judge_is_not_asked_about_says_why(liked: tuple[int, dict[str, Any], Path]) -> None:
    row = liked[1]["rows"]["smoke-add"]
    assert row["values"]["judge_groundedness"] is None
    assert row["notes"]["judge_groundedness"] == "nothing was retrieved"
    assert row["notes"]["judge_row_guidelines"] == "it has no guidelines"
    page = (liked[2] / "report.html").read_text()
    assert "judge_groundedness: nothing was retrieved" in page
    assert "judged by openai:/m" in page


def test_judges_see_answers_that_were_given_already_and_the_passages_of_the_trace(
    agent: Agent, dataset: Path, approved: StubJudge, folder: Path
) -> None:
    client = MlflowClient(f"sqlite:///{folder}/traces.db")
    (experiment,) = client.search_experiments(filter_string="name = 'graph-agent'")
    before = len(client.search_traces(locations=[experiment.experiment_id], max_results=500))
    judge = StubJudge()
    run(agent, dataset, judge)
    traces = client.search_traces(locations=[experiment.experiment_id], max_results=500)
    # Five rows, one of them of two turns: the agent was asked once for each.
    assert len(traces) - before == 6
    about = [text for text in judge.asked if "Which environment variable sets the port" in text]
    # Six judges, one of which is asked of every passage; the answer alone is looked at by the seventh.
    assert len(about) >= 6
    assert any("GRAPH_AGENT_PORT" in text and "graph_agent_port" in text for text in about)
    assert any("It names a variable." in text for text in about)
    # Of a passage that was retrieved and not cited.
    (port,) = [trace for trace in traces[:6] if "Which environment variable" in str(trace.info.request_preview)]
    passages = next(span for span in port.data.spans if span.span_type == "RETRIEVER").outputs
    assert any(passages[-1]["page_content"][:60] in text.replace("\\n", "\n") for text in about)


def test_an_answer_that_a_judge_dislikes_is_named_and_shuts_the_gate(
    agent: Agent, dataset: Path, approved: StubJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    status, scores, _ = run(agent, dataset, StubJudge(**{"Which environment variable sets": "no"}))
    assert status == 1
    assert scores["rows"]["smoke-port"]["values"]["judge_relevance"] == 0.0
    assert "judge_relevance" in scores["gate"]["regressed"]["smoke-port"]
    assert "The gate failed: judge_row_guidelines" in capsys.readouterr().out


def test_a_judge_that_fails_on_a_row_is_stated_and_not_in_the_mean(failing: tuple[int, dict[str, Any], Path]) -> None:
    status, scores, folder = failing
    assert status == 1
    refused, garbled = scores["rows"]["smoke-keepalive"], scores["rows"]["smoke-capital"]
    assert refused["values"]["judge_relevance"] is None
    assert refused["errors"]["judge_relevance"] == "MlflowException BAD_REQUEST"
    assert set(garbled["errors"]) >= {"judge_relevance", "judge_guidelines", "judge_correctness"}
    assert scores["metrics"]["judge_relevance"]["n"] == 3
    assert scores["metrics"]["judge_relevance"]["value"] == 1.0
    named = {failure["metric"]: failure for failure in scores["gate"]["failures"]}
    assert "smoke-keepalive" in named["scorer judge_relevance"]["rows"]
    assert "no longer has a value for 2 rows" in named["judge_relevance"]["message"]
    page = (folder / "report.html").read_text()
    assert "judge_relevance: MlflowException BAD_REQUEST" in page
    assert "I would rather not" not in (folder / "scores.json").read_text() + page


def test_it_lands_in_mlflow_with_traces_and_dataset(failing: tuple[int, dict[str, Any], Path], folder: Path) -> None:
    scores = failing[1]
    uri = f"sqlite:///{folder}/traces.db"
    kept = MlflowClient(uri).get_run(scores["run"]["mlflow_run"])
    assert kept.data.metrics["facts_covered"] == scores["metrics"]["facts_covered"]["value"]
    assert kept.data.metrics["judge_relevance_errors"] == 2
    assert [one.dataset.name for one in kept.inputs.dataset_inputs if one.dataset.name.startswith("five-")]
    linked = MlflowClient(uri).search_traces(
        locations=[kept.info.experiment_id], filter_string=f"attributes.run_id = '{kept.info.run_id}'"
    )
    last = {row["trace_ids"][-1] for row in scores["rows"].values()}
    assert {trace.info.trace_id for trace in linked} == last
    said = {one.name for trace in linked for one in trace.info.assessments}
    assert {"facts_covered", "row", "expected_facts"} <= said


def test_without_its_trace_a_row_is_judged_by_its_answer_and_says_what_could_not_be(
    liked: tuple[int, dict[str, Any], Path], dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, records = read_records(liked[2] / "records.jsonl")
    for record in records:
        record.last.trace_id = None
    rows = read_rows(dataset)
    scores = scored(rows, records, scorers(), run={"dataset": "five", "model": "scripted"})
    with StubJudge().served() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        judge_rows(rows, records, scores, judge="openai:/m", settings=Settings.from_environment())
    port, added = scores.rows["smoke-port"], scores.rows["smoke-add"]
    assert (port.values["judge_relevance"], port.values["judge_groundedness"]) == (1.0, None)
    assert port.errors == dict.fromkeys(
        ("judge_groundedness", "judge_retrieval_relevance"), "its trace could not be read, or has no passages"
    )
    assert (added.errors, added.values["judge_relevance"]) == ({}, 1.0)


def test_an_answer_that_is_lacking_counts_nothing() -> None:
    row = read_rows(Project().datasets / "smoke.jsonl")[0]
    silent = Record(id=row.id, digest="", turns=[Turn(question="q")])
    given = {judge.name: judge.skips(row, silent, passages=False) for judge in judges()}
    assert {name: unasked[0] for name, unasked in given.items() if unasked} == {
        "judge_relevance": 0.0,
        "judge_safety": None,
        "judge_guidelines": 0.0,
        "judge_row_guidelines": None,
        "judge_correctness": 0.0,
        "judge_groundedness": 0.0,
        "judge_retrieval_relevance": 0.0,
    }


def test_the_place_of_traces_is_as_before_afterwards(liked: tuple[int, dict[str, Any], Path]) -> None:
    assert "MLFLOW_TRACKING_URI" not in os.environ


@pytest.mark.parametrize(("judge", "said"), [("gpt", "is not a judge"), ("openai:/m", "OPENAI_API_KEY")])
def test_a_judge_that_cannot_be_asked_is_an_error_that_says_what_to_set(
    agent: Agent,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    judge: str,
    said: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    flags = ["--url", agent.url, "--model", "scripted", "--dataset", str(dataset), "--out", str(tmp_path)]
    assert main([*flags, "--judge", judge]) == 2
    assert said in capsys.readouterr().err


def test_a_judge_that_is_not_there_is_an_error_at_once(
    agent: Agent,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = ["--url", agent.url, "--model", "scripted", "--dataset", str(dataset), "--out", str(tmp_path)]
    with dead_host() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        assert main([*flags, "--judge", "openai:/m"]) == 2
    assert "OPENAI_BASE_URL" in capsys.readouterr().err


def test_conversations_are_held_with_the_agent_and_judged(agent: Agent, dataset: Path, approved: StubJudge) -> None:
    judge = StubJudge(**{"frustrat": "none", "Find out: Which environment": "no"})
    _, scores, folder = run(agent, dataset, judge, "--conversations", "2", "--rows", "3")
    assert len(scores["conversations"]) == 2
    for one in scores["conversations"]:
        assert one["errors"] == {}
        assert set(one["values"]) == {"conversation_complete", "conversation_safe", "conversation_calm"}
        assert one["trace_ids"]
        assert one["turns"][0]["answer"]
    page = (folder / "report.html").read_text()
    assert "Simulated conversations (2)" in page
    assert scores["conversations"][0]["goal"] in page


def test_what_goes_wrong_in_a_conversation_is_stated(
    agent: Agent, dataset: Path, approved: StubJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    # One user never says a word; of the other conversations one judge gives no verdict.
    judge = StubJudge(**{f"Find out: {ASKED}": REFUSED, "frustrat": GARBLED})
    _, scores, _ = run(agent, dataset, judge, "--conversations", "5")
    said = capsys.readouterr().out
    errors = {one["row"]: one["errors"] for one in scores["conversations"]}
    assert errors.pop("smoke-keepalive") == {"simulator": "MlflowException INTERNAL_ERROR"}
    # Of five rows one has no answer that could be a goal.
    assert [list(one) for one in errors.values()] == [["conversation_calm"]] * 3
    assert "4 simulated conversations: " in said
    assert "conversation_complete 1.000 of 3" in said
    assert said.count("ERROR in the conversation about") == 4


def test_conversations_need_a_judge(agent: Agent, dataset: Path, tmp_path: Path) -> None:
    flags = ["--url", agent.url, "--model", "scripted", "--dataset", str(dataset), "--out", str(tmp_path)]
    assert main([*flags, "--conversations", "1"]) == 2


def test_part_of_a_verdict_is_no_verdict() -> None:
    yes, broken = Feedback(name="a", value="yes"), Feedback(name="b", error=AssessmentError(error_code="X"))
    assert figure([yes, Feedback(name="a", value=False)], "") == 0.5
    for feedbacks in ([yes, broken], [Feedback(name="a", value="perhaps")], []):
        with pytest.raises(NoVerdict):
            figure(feedbacks, "")
