"""`graph-agent eval` in a project that is not this one, by the folders and files that it brings."""

import json
from pathlib import Path
from typing import Any

import pytest

from graph_agent.evaluating.command import main
from graph_agent.evaluating.options import parser, plan_of
from graph_agent.evaluating.plan import Plan

GRAPH = """
from langgraph.graph import START, StateGraph
from graph_agent import AgentState, chat_model

model = chat_model(temperature=0)

async def answer(state):
    return {"messages": [await model.ainvoke(state["messages"])]}

graph = StateGraph(AgentState).add_node("answer", answer).add_edge(START, "answer").compile()
"""
SCRIPT = """
from words import said

class Shouting:
    async def stream_chat(self, body):
        text = said(body["messages"][-1]["content"])
        yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}

model = Shouting()
"""
REPLIES = """
from graph_agent.testing import Usage

def model(request):
    text = request["messages"][-1]["content"]
    return "I do not know." if text == "no" else ["You said: ", text, Usage(input=1, output=2)]
"""
SCORERS = """
from graph_agent.evaluating import Record, Row

def loudness(row: Row, record: Record):
    wanted = row.expectations.custom.get("loud")
    return {"loud": None if wanted is None else record.last.answer.isupper() == wanted}

scorers = {"loudness": loudness}
"""


def row(name: str, text: str, **expectations: Any) -> str:
    inputs = {"input": [{"role": "user", "content": text}]}
    return json.dumps({"id": name, "inputs": inputs, "expectations": expectations}) + "\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one graph, one dataset, a scripted model and a scorer of its own."""
    files = {
        "langgraph.json": json.dumps({"graphs": {"shop": "./shop.py:graph"}}),
        "shop.py": GRAPH,
        "words.py": "def said(text):\n    return text.upper()\n",
        "evals/scripted.py": SCRIPT,
        "evals/scorers.py": SCORERS,
        "evals/datasets/returns.jsonl": row("a", "ninety days", facts=["ninety"], custom={"loud": True})
        + row("b", "no", must_decline=False),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def planned(project: Path, *flags: str) -> Plan:
    return plan_of(parser().parse_args(["run", "--config", str(project / "langgraph.json"), *flags]))


def refused(project: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["--config", str(project / "langgraph.json"), *flags]) == 2
    return capsys.readouterr().err


def test_it_runs_over_the_scripted_model_and_makes_a_baseline_in_the_project(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(project / "langgraph.json")]

    assert main(config) == 0
    said = capsys.readouterr().out
    # Also the default graph is named.
    assert said.startswith("returns with scripted (in process, graph shop), 2 rows\n")
    assert f"To make one from these answers, run: graph-agent eval baseline {' '.join(config)}" in said
    assert main(["baseline", *config]) == 0

    baseline = json.loads((project / "evals/baselines/returns-scripted.json").read_text())
    assert baseline["metrics"]["facts_covered"]["value"] == 1
    assert baseline["metrics"]["loud"] == {"value": 1.0, "n": 1, "floor": 0.75, "max_drop": 0.0}
    assert (project / "evals/out/returns-scripted/report.html").exists()

    (project / "evals/scripted.py").write_text(SCRIPT.replace("text = said(", "text = str.lower("))
    assert main([*config, "--fresh"]) == 1
    assert "The gate failed: loud." in capsys.readouterr().out


def test_without_a_scripted_model_it_is_the_configured_one_or_else_the_local_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAPH_AGENT_MODEL", raising=False)
    assert planned(project).target.model == "scripted"
    (project / "evals/scripted.py").unlink()
    assert planned(project).target.model == "local"
    monkeypatch.setenv("GRAPH_AGENT_MODEL", "databricks:my-llm")
    assert planned(project).target.model == "databricks:my-llm"
    assert planned(project, "--model", "local").target.model == "local"
    assert planned(project, "--url", "http://127.0.0.1:8000").target.model == "elsewhere"


def test_the_dataset_is_the_only_one_or_the_one_that_suits_the_model(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = project / "evals/datasets"
    assert planned(project).dataset == datasets / "returns.jsonl"
    (datasets / "smoke.jsonl").write_text(row("s", "Hi"))
    assert planned(project).dataset == datasets / "smoke.jsonl"
    assert planned(project, "--model", "local").dataset == datasets / "returns.jsonl"
    (datasets / "delivery.jsonl").write_text(row("d", "Hi"))
    assert "give --dataset one of: delivery, returns, smoke" in refused(project, capsys, "--model", "local")
    for path in datasets.iterdir():
        path.unlink()
    assert f"there is no dataset in {datasets}" in refused(project, capsys)


def test_a_folder_that_is_no_project_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(tmp_path, capsys)
    assert f"{tmp_path / 'langgraph.json'} does not exist, so this is no project" in said
    assert "graph-agent init" in said


def test_a_scripted_model_may_be_a_function_that_replies_as_in_tests(project: Path) -> None:
    (project / "evals/scripted.py").write_text(REPLIES)
    assert main(["--config", str(project / "langgraph.json")]) == 0
    lines = (project / "evals/out/returns-scripted/records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines if '"turns"' in line]
    answers = {record["id"]: record["turns"][0]["answer"] for record in records}
    assert answers == {"a": "You said: ninety days", "b": "I do not know."}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "evals/scripted.py:1"),
        ("\nmodel =", "did not load: SyntaxError at scripted.py:2: invalid syntax"),
        ("import none_such", "there is no module named 'none_such'; install it"),
        ("raise RuntimeError('hunter2')", "did not load: RuntimeError at "),
        ("model = 'gpt'", "needs a variable `model`: a function that returns a reply, or an object with a method"),
        ("class model: ...", "needs a variable `model`: a function that returns a reply, or an object with a method"),
    ],
)
def test_a_scripted_model_that_is_wrong_is_reported_with_its_place(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (project / "evals/scripted.py").write_text(text)
    error = refused(project, capsys)
    assert said in error
    assert "hunter2" not in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "evals/scorers.py:1"),
        ("scorers = [len]", "needs a dictionary `scorers` of functions by name"),
        ("scorers = {'facts': len}", "'facts' is the name of a built-in scorer"),
    ],
)
def test_scorers_that_are_wrong_are_reported_before_anything_is_asked(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (project / "evals/scorers.py").write_text(text)
    assert said in refused(project, capsys)
    assert not (project / "evals/out").exists()


def test_what_the_project_does_not_have_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "this project has no broken graphs" in refused(project, capsys, "--mutation", "none")
    (project / "evals/scripted.py").unlink()
    assert "this project has no scripted model" in refused(project, capsys, "--model", "scripted")
    (project / "langgraph.json").unlink()
    assert "langgraph.json does not exist" in refused(project, capsys)
