"""This project's own bundle, and its service started from exactly the files that would be uploaded."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.databricks.shop import git
from tests.standin.apps import Apps
from tests.standin.server import stand_in

from graph_agent.commands.cli import main
from graph_agent.deploying.app_file import read_app_file
from graph_agent.deploying.bundle import read_bundle
from graph_agent.deploying.sources import read_sources
from graph_agent.errors import UnsetVariable

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project as it stands, changes that are not committed included, in a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    folder = tmp_path / "project"
    for path in filter(None, listed.stdout.split("\0")):
        if (PROJECT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / path, folder / path)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    return folder


def test_the_service_starts_from_the_files_to_upload(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apps = Apps()
    with stand_in(tmp_path / "workspace", more=apps.routes()) as standing:
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("BUNDLE_VAR_model_endpoint", "local-model")
        monkeypatch.setenv("BUNDLE_VAR_experiment_id", "123")
        # Only this shell has it; the app, which does not, starts all the same.
        monkeypatch.setenv("GRAPH_AGENT_DEFAULT_GRAPH", "no-such-graph")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.chdir(project)
        assert main(["deploy", "--dry-run"]) == 0
        told = capsys.readouterr().out
        assert "the app was ready after" in told
        assert "dry run: nothing was changed" in told
        assert [one.line for one in standing.calls() if one.method != "GET" and "workspace" in one.path] == []


def test_the_bundle_names_no_model_and_says_how_to_find_one(project: Path) -> None:
    environ = {"BUNDLE_VAR_experiment_id": "123"}
    with pytest.raises(UnsetVariable, match=r"set BUNDLE_VAR_model_endpoint: .*`graph-agent doctor` lists"):
        read_bundle(project / "databricks.yml", target="dev", user="me@localhost", environ=environ)


def test_the_bundle_uploads_what_runs_and_nothing_else(project: Path) -> None:
    environ = {"BUNDLE_VAR_experiment_id": "123", "BUNDLE_VAR_model_endpoint": "local-model"}
    page = project / "src" / "graph_agent" / "page"
    (page / "assets").mkdir(parents=True)
    (page.parent / "documentation" / "graphs").mkdir(parents=True)
    docs = ("../documentation/manifest.json", "../documentation/graphs/index.html", "../documentation/graphs/a.md")
    for name in ("index.html", "licenses.md", "manifest.json", "assets/index-abc.js", ".tried", *docs):
        (page / name).touch()
    for target in ("dev", "prod"):
        bundle = read_bundle(project / "databricks.yml", target=target, user="me@localhost", environ=environ)
        assert bundle.app == f"graph-agent-{target}"
        # The app acts as itself; a workspace without user authorization refuses an app with scopes.
        assert "user_api_scopes" not in bundle.declared
        assert bundle.root == f"/Workspace/Users/me@localhost/.bundle/graph-agent/{target}"
        assert {name: permission(one) for name, one in bundle.resources.items()} == {
            "model": "CAN_QUERY",
            "index": "SELECT",
            "experiment": "CAN_EDIT",
        }
    app = read_app_file(project, bundle)
    assert app.environment["GRAPH_AGENT_INDEX"] == "main.docs.project"
    assert app.environment["GRAPH_AGENT_MODEL"] == bundle.resources["model"]["serving_endpoint"]["name"]
    files = read_sources(project, bundle).files
    tops = {path.partition("/")[0] for path in files}
    assert tops == {"LICENSE", "NOTICE", "app.yaml", "graphs", "langgraph.json", "requirements.txt", "src"}
    assert not [path for path in files if "/local/" in path or "/deploying/" in path or "/load_testing/" in path]
    built = "src/graph_agent/page/"
    assert sorted(path.removeprefix(built) for path in files if path.startswith(built)) == [
        "assets/index-abc.js",
        "index.html",
        "licenses.md",
        "manifest.json",
    ]
    site = "src/graph_agent/documentation/"
    assert sorted(path.removeprefix(site) for path in files if path.startswith(site)) == [
        "graphs/a.md",
        "graphs/index.html",
        "manifest.json",
    ]


def test_every_line_of_the_requirements_is_pinned_with_hashes() -> None:
    logical = (PROJECT / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
    requirements = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []


def test_the_workflow_deploys_without_a_secret() -> None:
    text = (PROJECT / ".github/workflows/deploy.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in text
    assert "github-oidc" in text


def test_the_workflow_rehearses_on_the_python_that_it_sets_up() -> None:
    workflow = yaml.safe_load((PROJECT / ".github/workflows/deploy.yml").read_text())
    steps = workflow["jobs"]["deploy"]["steps"]
    [chosen] = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    [command] = [step["run"] for step in steps if "run" in step]
    assert chosen == "3.11"
    told = subprocess.run(
        [*command.partition(" TARGET=")[0].split(), "--dry-run", "--always-make", "VENV=no-such-folder", "setup"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert " python -m venv no-such-folder" in told


def permission(resource: object) -> str:
    assert isinstance(resource, dict)
    [found] = [one["permission"] for one in resource.values() if isinstance(one, dict)]
    return str(found)
