"""Proof that the gate judges: the flagship passes it, and the flagship broken on purpose does not.

One service over the scripted model serves the flagship and its mutants; the small set is asked of each, as CI asks it.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from evals.mutations import MUTATIONS

from graph_agent.evaluating.baseline import make_baseline
from graph_agent.evaluating.command import main
from graph_agent.evaluating.evaluation import Evaluation, evaluate
from graph_agent.evaluating.files import rewrite_baseline, write
from graph_agent.evaluating.gate import Verdict, compare
from graph_agent.evaluating.options import parser, plan_of
from graph_agent.evaluating.plan import Plan
from graph_agent.evaluating.progress import Silent
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.runner import Agent
from graph_agent.evaluating.targets import Target, opened
from graph_agent.testing import on_loopback

PROJECT = Project(config=Path(__file__).parents[2] / "langgraph.json")
SMOKE = PROJECT.datasets / "smoke.jsonl"


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with opened(Target(config=PROJECT.mutants)) as served:
        yield served


def evaluated(agent: Agent, folder: Path, mutation: str | None = None) -> Evaluation:
    plan = Plan(target=Target(mutation=mutation, config=PROJECT.mutants), dataset=SMOKE, out=folder)
    return evaluate(plan, replace(agent, graph=mutation), Silent())


def verdict(evaluation: Evaluation) -> Verdict:
    assert evaluation.verdict is not None
    return evaluation.verdict


@pytest.fixture(scope="module")
def unbroken(agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluated(agent, tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="module")
def broken(agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Evaluation]:
    """Each mutation is asked once for all tests."""
    return cache(lambda mutation: evaluated(agent, tmp_path_factory.mktemp(mutation), mutation))


def test_the_unbroken_agent_passes_each_time(agent: Agent, unbroken: Evaluation, tmp_path: Path) -> None:
    evaluations = [unbroken, *(evaluated(agent, tmp_path / str(time)) for time in range(3))]
    assert [verdict(one).failures for one in evaluations] == [[]] * 4


@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
def test_a_broken_agent_fails_and_the_metric_is_named(broken: Callable[[str], Evaluation], mutation: str) -> None:
    evaluation = broken(mutation)
    assert not verdict(evaluation).passed
    assert MUTATIONS[mutation] <= set(verdict(evaluation).failed_metrics)
    # It is the judging that fails, not the asking.
    assert evaluation.scores.missing == []
    assert {failure.kind for failure in verdict(evaluation).failures} <= {"drop", "floor"}


def test_a_mutant_that_changes_nothing_else_fails_in_nothing_else(broken: Callable[[str], Evaluation]) -> None:
    assert verdict(broken("never-declines")).failed_metrics == ["declined_when_must"]


@pytest.mark.parametrize("mutation", ["wrong-documents", "invented-citations", "never-declines"])
def test_mutations_fail_with_noise_and_few_rows_too(
    unbroken: Evaluation, broken: Callable[[str], Evaluation], mutation: str
) -> None:
    # As over a real model: a baseline with intervals, and a sample of its rows.
    noisy = make_baseline(unbroken.scores, noise="interval", before=None)
    found = compare(broken(mutation).scores, noisy, sample=True)
    assert MUTATIONS[mutation] & set(found.failed_metrics)
    assert compare(unbroken.scores, noisy, sample=True).passed


def test_every_row_of_the_small_set_is_asked_and_none_is_malformed(unbroken: Evaluation) -> None:
    assert len(unbroken.records) == len(unbroken.rows)
    assert [turn.problems for record in unbroken.records for turn in record.turns if turn.problems] == []
    assert {name for row in unbroken.scores.rows.values() for name in row.errors} == set()


def test_the_same_rows_come_of_an_agent_that_is_served_elsewhere(
    agent: Agent, unbroken: Evaluation, tmp_path: Path
) -> None:
    plan = Plan(target=Target(model="scripted", url=agent.url), dataset=SMOKE, out=tmp_path / "there")
    with opened(plan.target) as elsewhere:
        there = evaluate(plan, elsewhere, Silent())
    assert verdict(there).passed
    assert {name: row.values.keys() for name, row in there.scores.rows.items()} == {
        name: row.values.keys() for name, row in unbroken.scores.rows.items()
    }
    folder = write(there)
    kept = json.loads((folder / "scores.json").read_text())
    assert kept["gate"]["passed"] is True
    assert set(kept["rows"]) == {row.id for row in there.rows}
    written = {"records.jsonl", "scores.json", "report.md", "report.html", "junit.xml"}
    assert {path.name for path in folder.iterdir()} == written


def test_the_baseline_of_a_sample_is_refused(agent: Agent, tmp_path: Path) -> None:
    target = Target(model="scripted", url=agent.url)
    plan = Plan(target=target, dataset=SMOKE, out=tmp_path, count=3, baseline=tmp_path / "b.json")
    with pytest.raises(Exception, match="omit --rows and --half"):
        rewrite_baseline(evaluate(plan, agent, Silent()))
    assert not (tmp_path / "b.json").exists()


def at(agent: Agent, folder: Path) -> list[str]:
    return ["--url", agent.url, "--model", "scripted", "--out", str(folder)]


def test_a_first_evaluation_ends_well_and_says_the_whole_command_that_makes_its_baseline(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "my shop.jsonl"
    dataset.write_text("".join(SMOKE.read_text().splitlines(keepends=True)[:2]))
    baseline = tmp_path / "none.json"
    flags = [*at(agent, tmp_path), "--dataset", str(dataset), "--baseline", str(baseline), "--declines-with", "No idea"]

    assert main(flags) == 0
    said = capsys.readouterr().out
    command = re.search(r"To make one from these answers, run: graph-agent eval (.*)$", said, re.M)
    assert command is not None, said
    assert f"'{dataset}'" in command[1]
    (report,) = tmp_path.glob("my_shop-*/report.html")
    assert "graph-agent eval baseline" in report.read_text()
    # Copied as it stands, it does what it says.
    assert main(shlex.split(command[1])) == 0
    assert baseline.exists()
    assert main(flags) == 0
    assert "The gate passed." in capsys.readouterr().out


def test_the_command_for_a_baseline_can_be_copied_and_shows_no_password(tmp_path: Path) -> None:
    flags = [
        "run",
        "--graph",
        "mine",
        "--model",
        "local",
        "--dataset",
        "shop.jsonl",
        "--declines-with",
        "Do not say|Ask",
    ]
    assert command_of(*flags) == (
        "graph-agent eval baseline --dataset shop.jsonl --model local --graph mine --declines-with 'Do not say|Ask'"
    )
    assert command_of("run") == "graph-agent eval baseline"
    assert command_of("run", "--url", "https://bob:hunter2@host/a") == "graph-agent eval baseline --url https://host/a"


def command_of(*flags: str) -> str:
    return plan_of(parser().parse_args(flags)).to_baseline


def test_a_first_evaluation_that_reached_nothing_does_not_end_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with on_loopback(broken) as url:
        to = ["--url", url, "--dataset", "smoke", "--out", str(tmp_path), "--baseline", str(tmp_path / "b.json")]
        assert main(["run", *to]) == 1
    assert "these answers cannot become one: 21 rows got no response" in capsys.readouterr().out


def test_the_command_ends_with_0_when_the_gate_is_open_and_1_when_it_is_shut(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert main(at(agent, tmp_path)) == 0
    assert "The gate passed." in capsys.readouterr().out
    assert main([*at(agent, tmp_path), "--mutation", "empty-answers"]) == 1
    assert "The gate failed: facts_covered" in capsys.readouterr().out
    summary = (tmp_path / "summary.md").read_text()
    assert summary.index("The gate passed.") < summary.index("The gate failed: facts_covered")


def test_time_that_is_used_up_shuts_the_gate_until_a_rerun_has_gone_on(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*at(agent, tmp_path), "--seconds", "-1"]) == 1
    assert "rows were not asked" in (said := capsys.readouterr()).out
    assert "run it again to continue" in said.err
    assert main(at(agent, tmp_path)) == 0


def test_a_baseline_is_written_once_and_then_passed(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ["--baseline", str(tmp_path / "mine.json")]
    assert main(["baseline", *at(agent, tmp_path), *path]) == 0
    assert "review its diff" in capsys.readouterr().out
    assert main([*at(agent, tmp_path), *path]) == 0


def test_a_baseline_takes_the_answers_of_the_last_evaluation_and_asks_only_what_is_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = SMOKE.read_text().splitlines(keepends=True)
    dataset = tmp_path / "mine.jsonl"
    given = ["--dataset", str(dataset), "--out", str(tmp_path / "out"), "--baseline", str(tmp_path / "mine.json")]

    def said(command: str, count: int, *more: str) -> str:
        dataset.write_text("".join(lines[:count]))
        main([command, *given, *more])
        return capsys.readouterr().err.splitlines()[0]

    assert said("run", 2) == "asking 2 rows"
    assert said("baseline", 2) == "asking 2 rows, 2 of them already done"
    assert said("baseline", 3) == "asking 3 rows, 2 of them already done"
    assert said("run", 3) == "asking 3 rows"
    assert said("baseline", 3, "--fresh") == "asking 3 rows"
    # What the page shows is the comparison with the baseline before.
    assert "compared with the baseline" in next((tmp_path / "out").rglob("report.html")).read_text()


def test_what_reached_nothing_is_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with on_loopback(broken) as url:
        to = ["--url", url, "--dataset", "smoke", "--out", str(tmp_path), "--baseline", str(tmp_path / "b.json")]
        assert main(["baseline", *to]) == 2
    assert "21 rows got no response" in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--url", "localhost:8000"], "give it as http"),
        (["--url", "http://[::1"], "give it as http"),
        (["--conversations", "2"], "needs --judge"),
        (["--half", "tuning"], "half=tuning"),
        (
            ["--graph", "asistant"],
            "there is no graph 'asistant'; give --graph as one of: assistant, supervisor, ",
        ),
        (["--model", "locl"], "there is no model 'locl'; give --model as scripted, local, or"),
        (["--model", "databricks:"], "there is no model 'databricks:'"),
        (["--dataset", "smoek"], "(docs, smoke) or a file"),
    ],
)
def test_what_cannot_be_judged_is_said_before_anything_starts(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *flags]) == 2
    assert said in capsys.readouterr().err
    assert main(["baseline", *flags]) == 2


@pytest.mark.parametrize("flags", [["--half", "tunning"], ["--rows", "0"], ["--rows", "ten"]])
def test_what_is_no_choice_is_refused_with_the_choices(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", *flags])
    assert ended.value.code == 2
    assert flags[1] in capsys.readouterr().err


def test_a_wrong_graph_of_an_agent_elsewhere_is_refused_with_those_it_has(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*at(agent, tmp_path), "--graph", "asistant"]) == 2
    assert "give --graph as one of: assistant" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_flags_behind_graph_agent_eval_are_the_evaluation_s() -> None:
    command = [sys.executable, "-m", "graph_agent", "eval", "--rows", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=PROJECT.root)
    assert ended.returncode == 2
    assert "'0' is not a whole number of at least 1" in ended.stderr


def test_neither_a_password_nor_a_query_of_an_address_is_kept() -> None:
    target = Target(url="https://bob:hunter2@host:8443/agent?key=k")
    assert target.place == "https://host:8443/agent"
    assert "hunter2" not in str(Plan(target=target, dataset=SMOKE).folder)


def test_a_sample_is_kept_beside_the_whole() -> None:
    folders = {Plan(target=Target(), dataset=SMOKE, count=count).folder.name for count in (None, 3, 5)}
    assert folders == {"smoke-scripted", "smoke-scripted-3_rows", "smoke-scripted-5_rows"}


def test_the_command_ends_with_2_when_there_is_nothing_to_judge(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset", "nothing.jsonl"]) == 2
    assert "nothing.jsonl" in capsys.readouterr().err


def test_a_mutation_that_is_not_there_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--mutation", "none"]) == 2
    assert "give --mutation as one of: assistant, wrong-documents, " in capsys.readouterr().err
