"""`graph-agent init`: what it writes, into which folders, and what it refuses."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from graph_agent.commands.cli import main
from graph_agent.commands.init import template_files
from graph_agent.deploying.app_file import read_app_file
from graph_agent.deploying.bundle import read_bundle

VALUES = {
    "BUNDLE_VAR_model_endpoint": "m",
    "BUNDLE_VAR_index": "main.shop.documents",
    "BUNDLE_VAR_experiment_id": "1",
}


def files_in(folder: Path) -> list[str]:
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())


def test_a_new_folder_gets_a_whole_project_and_the_next_steps_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "new" / "shop")]) == 0
    there = files_in(tmp_path / "new" / "shop")
    assert {
        ".claude/skills/run-locally/SKILL.md",
        ".gitignore",
        "AGENTS.md",
        "README.md",
        "app.yaml",
        "databricks.yml",
        "graphs/agent.py",
        "langgraph.json",
        "pyproject.toml",
        "requirements.txt",
        "tests/test_agent.py",
    } < set(there)
    told = capsys.readouterr().out
    assert told.startswith(f"wrote {len(there)} files to ")
    assert f"  cd {tmp_path}/new/shop\n" in told
    for command in ("graph-agent dev", "graph-agent ask", "pytest", "git init", "graph-agent deploy --dry-run"):
        assert f"\n  {command}" in told


def test_without_a_folder_the_current_one_is_used_beside_git_and_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert (tmp_path / "langgraph.json").is_file()
    assert "  cd " not in capsys.readouterr().out


def test_files_that_a_coding_assistant_keeps_of_its_own_stay(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.local.json").write_text("{}")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / ".claude" / "settings.local.json").read_text() == "{}"
    assert (tmp_path / ".claude" / "skills" / "deploy" / "SKILL.md").is_file()


@pytest.mark.parametrize("linked", [False, True])
def test_skills_of_ones_own_and_links_to_other_folders_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], linked: bool
) -> None:
    project, others = tmp_path / "project", tmp_path / "others"
    others.mkdir()
    project.mkdir()
    if linked:
        (project / ".claude").symlink_to(others)
    else:
        (project / ".claude" / "skills" / "mine").mkdir(parents=True)
    assert main(["init", str(project)]) == 2
    assert f"is not empty: it has .claude{'' if linked else '/skills'};" in capsys.readouterr().err
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["notes.txt", "graphs", ".gitignore"])
def test_a_folder_with_files_is_refused_and_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert f"is not empty: it has {name}; use a new folder: graph-agent init FOLDER" in capsys.readouterr().err
    assert files_in(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_the_refusal_names_some_of_many_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(9):
        (tmp_path / f"{number}.txt").touch()
    assert main(["init", str(tmp_path)]) == 2
    assert "it has 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more;" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["file", "file/below", "link"])
def test_what_is_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert main(["init", str(tmp_path / path)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert files_in(tmp_path) == ["file"]


def test_where_writing_fails_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    rename = Path.rename

    def rename_until_full(self: Path, target: Path) -> Path:
        if self.name == "graphs":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_until_full)
    assert main(["init", str(tmp_path / "there")]) == 2
    assert main(["init", str(tmp_path / "new" / "shop")]) == 2
    assert "cannot be written (OSError)" in capsys.readouterr().err
    assert [one.name for one in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my agent", "my-agent"),
        ("Größe & Maß", "grosse-mass"),
        ("日本語", "my-agent"),
        ("2026 shop", "agent-2026-shop"),
        ("a" * 60, "a" * 25),
        ("graph_agent", "my-agent"),
        ('"; rm -rf ${x} #', "rm-rf-x"),
        ("x", "my-agent"),
    ],
)
def test_odd_names_of_folders_become_names_that_app_bundle_and_project_take(
    tmp_path: Path, folder: str, name: str
) -> None:
    assert main(["init", str(tmp_path / folder)]) == 0
    for target in ("dev", "prod"):
        bundle = read_bundle(tmp_path / folder / "databricks.yml", target=target, user="me@localhost", environ=VALUES)
        assert bundle.app == f"{name}-{target}"
    assert yaml.safe_load((tmp_path / folder / "databricks.yml").read_text())["bundle"]["name"] == name
    assert tomllib.loads((tmp_path / folder / "pyproject.toml").read_text())["project"]["name"] == name
    assert (tmp_path / folder / "README.md").read_text().startswith(f"# {name}\n")


def test_every_variable_of_the_app_has_a_value_from_the_bundle(tmp_path: Path) -> None:
    main(["init", str(tmp_path / "shop")])
    bundle = read_bundle(tmp_path / "shop/databricks.yml", target="dev", user="me@localhost", environ=VALUES)
    app = read_app_file(tmp_path / "shop", bundle)
    assert app.environment["GRAPH_AGENT_MODEL"] == "m"
    assert app.environment["GRAPH_AGENT_INDEX"] == "main.shop.documents"
    assert app.environment["MLFLOW_EXPERIMENT_ID"] == "1"
    assert not app.hidden


def test_the_project_asks_for_the_version_that_wrote_it(tmp_path: Path) -> None:
    files = template_files("shop")
    assert "\ngraph-agent==0.1.0\n" in files["requirements.txt"]
    assert '"graph-agent[local]==0.1.0"' in files["pyproject.toml"]
    assert not [path for path, text in files.items() if "0.0.0" in text or "my-agent" in text]
    assert list(json.loads(files["langgraph.json"])["graphs"]) == ["agent"]
