"""Traces say which version of the code made them."""

import subprocess
import warnings
from pathlib import Path

import pytest
from tests.tracing.scripted import answer

from graph_agent.tracing import RunRecorder, TraceExporter
from graph_agent.tracing.version import version_of

COMMIT, BRANCH, DIRTY = (f"mlflow.source.git.{name}" for name in ("commit", "branch", "dirty"))


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    done = subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    (tmp_path / "graph.py").write_text("graph = 1\n")
    git(tmp_path, "add", "graph.py")
    git(tmp_path, "commit", "--quiet", "-m", "One")
    return tmp_path


def test_a_checkout_s_version_is_its_commit_branch_and_whether_it_was_edited(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert version_of({}, checkout) == {"version": f"main@{commit}", COMMIT: commit, BRANCH: "main", DIRTY: "false"}
    (checkout / "graph.py").write_text("graph = 2\n")
    assert version_of({}, checkout)[DIRTY] == "true"
    git(checkout, "checkout", "--quiet", "--detach")
    assert version_of({}, checkout) == {"version": f"{commit}-dirty", COMMIT: commit, DIRTY: "true"}


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("v1.2", {}),
        ("3f2c1ab9", {COMMIT: "3f2c1ab9", DIRTY: "false"}),
        ("feature/x@3f2c1ab9-dirty", {COMMIT: "3f2c1ab9", BRANCH: "feature/x", DIRTY: "true"}),
    ],
)
def test_the_variable_wins_over_the_checkout(given: str, known: dict[str, str], checkout: Path) -> None:
    assert version_of({"GRAPH_AGENT_VERSION": given}, checkout) == {"version": given, **known}


def test_outside_a_checkout_there_is_no_version(tmp_path: Path) -> None:
    assert version_of({}, tmp_path) == {}


def test_traces_are_found_by_their_version(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # MLflow warns of its own type hints while it is imported.
        warnings.simplefilter("ignore")
        import mlflow
    uri, before = f"sqlite:///{tmp_path / 'traces.db'}", mlflow.get_tracking_uri()
    made = {}
    for version in ("main@3f2c1ab9", "main@8d01e5cc"):
        exporter = TraceExporter(uri, "agent", environ={"GRAPH_AGENT_VERSION": version})
        record = RunRecorder(graph="assistant", inputs={"messages": []}).close(outputs=answer("Hi"))
        made[version] = record.trace_id
        exporter.submit(record)
        assert exporter.flush(60)
        exporter.close(5)
    mlflow.set_tracking_uri(uri)
    try:
        found = mlflow.search_traces(
            filter_string="tags.version = 'main@8d01e5cc'", return_type="list", locations=["1"], include_spans=False
        )
    finally:
        mlflow.set_tracking_uri(before)
    assert [trace.info.trace_id for trace in found] == [made["main@8d01e5cc"]]
