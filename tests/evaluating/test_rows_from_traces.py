"""A stored trace becomes a row: a real one, of a real conversation with the served flagship."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evaluating.test_rows import row

from graph_agent.evaluating.command import main
from graph_agent.evaluating.progress import Silent
from graph_agent.evaluating.records import RecordsFile
from graph_agent.evaluating.row_reader import read_row, read_rows
from graph_agent.evaluating.rows_from_traces import asked_for, conversation, stored_trace
from graph_agent.evaluating.runner import Agent, Limits, ask_all
from graph_agent.evaluating.targets import Target, opened
from graph_agent.settings import Settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def traced(folder: Path) -> Iterator[Agent]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPH_AGENT_TRACING", "on")
        patch.setenv("GRAPH_AGENT_TRACKING_URI", f"sqlite:///{folder}/traces.db")
        with opened(Target()) as agent:
            yield agent


@pytest.fixture(scope="module")
def trace_id(traced: Agent, folder: Path) -> str:
    """Of a conversation of two turns; the trace is delivered a little later."""
    line = row(inputs={"input": [{"role": "user", "content": "What is the seconds budget of one run?"}]})
    rows = [read_row(json.dumps(line | {"turns": ["What is 240 / 60?"]}), "here")]
    file = RecordsFile(folder / "records.jsonl", {})
    (record,) = asyncio.run(ask_all(rows, traced, file, limits=Limits(), progress=Silent()))
    assert record.last.trace_id is not None
    asyncio.run(delivered(record.last.trace_id, folder))
    return record.last.trace_id


async def delivered(trace_id: str, folder: Path) -> None:
    settings = Settings(tracking_uri=f"sqlite:///{folder}/traces.db")
    async with asyncio.timeout(60):
        while True:
            try:
                await asyncio.to_thread(stored_trace, trace_id, settings)
                return
            except Exception:  # noqa: BLE001 - the store may not have the trace yet, however it says so
                await asyncio.sleep(0.2)


def test_a_trace_becomes_a_row_that_eval_judges(
    traced: Agent, trace_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_TRACKING_URI", f"sqlite:///{folder}/traces.db")
    dataset, baseline = folder / "mine.jsonl", folder / "mine.json"
    tool = 'calculator{"expression": ["240/60"]}'
    command = ["add", trace_id, "--dataset", str(dataset), "--fact", "4|four", "--tool", tool]
    assert main(command) == 0
    assert "graph-agent eval baseline" in capsys.readouterr().out
    (added,) = read_rows(dataset)
    assert added.question == "What is 240 / 60?"
    assert [item.get("role") or item["type"] for item in added.input] == [
        "user",
        "function_call",
        "function_call_output",
        "assistant",
        "user",
    ]
    assert added.expectations.facts == (("4", "four"),)
    assert added.tags == {"suite": "mine", "kind": "tools", "half": "tuning", "trace": trace_id}
    at = ["--url", traced.url, "--model", "scripted", "--dataset", str(dataset), "--baseline", str(baseline)]
    at += ["--out", str(folder / "out")]
    assert main(["baseline", *at]) == 0
    assert main(at) == 0
    said = capsys.readouterr().out
    assert "The gate passed." in said
    assert json.loads(baseline.read_text())["metrics"]["tool_calls_f1"]["value"] == 1

    # A second time it is there already.
    assert main(command) == 2
    assert "choose another id with --id" in capsys.readouterr().err
    assert main([*command, "--id", "again"]) == 2
    assert f"row '{added.id}' of {dataset} asks the same" in capsys.readouterr().err
    assert [one.id for one in read_rows(dataset)] == [added.id]


def test_a_fact_that_a_tool_has_found_makes_a_row_of_tools(
    trace_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_TRACKING_URI", f"sqlite:///{folder}/traces.db")
    dataset = folder / "facts.jsonl"
    assert main(["add", trace_id, "--dataset", str(dataset), "--fact", "4|four"]) == 0
    (added,) = read_rows(dataset)
    assert added.tags["kind"] == "tools"


def test_a_row_must_expect_something(
    trace_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_TRACKING_URI", f"sqlite:///{folder}/traces.db")
    assert main(["add", trace_id, "--dataset", str(folder / "none.jsonl")]) == 2
    assert "the row needs an expectation" in capsys.readouterr().err
    assert not (folder / "none.jsonl").exists()


def test_an_unknown_trace_is_an_error_that_says_where_to_look(
    traced: Agent, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_TRACKING_URI", f"sqlite:///{folder}/traces.db")
    assert main(["add", "tr-" + "0" * 32, "--must-decline"]) == 2
    assert "GRAPH_AGENT_TRACKING_URI" in capsys.readouterr().err


def test_a_trace_of_a_responses_agent_is_read_too() -> None:
    items = [{"role": "user", "content": "Hello", "id": None}]
    assert conversation({"request": {"input": items}}) == [{"role": "user", "content": "Hello"}]
    assert conversation({"query": "port"}) == []


def test_a_person_is_asked_what_should_have_been_answered() -> None:
    answers: Iterator[Any] = iter(["n", "8000 | eight thousand", "port", "", "docs/settings.md", ""])
    assert asked_for(lambda prompt: next(answers)) == {
        "facts": [["8000", "eight thousand"], ["port"]],
        "documents": [["docs/settings.md"]],
        "must_decline": False,
    }
    assert asked_for(lambda prompt: "yes") == {"must_decline": True}
