"""The names of Databricks' app templates, and the files that the workspace and its readers look for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from databricks.sdk.service.apps import AppManifest

from graph_agent.commands.cli import main
from graph_agent.commands.init import template_files

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "src/graph_agent/project_template/scripts/names.py"
UV = Path(sys.executable).parent / "uv"

RECORDING = """
import os, sys

def main():
    print(*sys.argv[1:])
    return 0
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an environment whose graph-agent only prints the arguments it gets."""
    for path, text in template_files("shop").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    [packages] = tmp_path.glob(".venv/lib/python*/site-packages")
    (packages / "graph_agent/commands").mkdir(parents=True)
    (packages / "graph_agent/commands/cli.py").write_text(RECORDING)
    subprocess.run([tmp_path / ".venv/bin/python", "scripts/names.py", "install"], cwd=tmp_path, check=True)
    return tmp_path


def ran(project: Path, *command: str, **variables: str) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [UV, "run", "--offline", *command],
        cwd=project,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_uv_runs_the_names_of_the_templates_and_writes_nothing(project: Path) -> None:
    before = {one for one in project.rglob("*") if "__pycache__" not in one.parts}
    assert ran(project, "start-app") == "dev\n"
    assert ran(project, "start-app", DATABRICKS_HOST="https://x") == "dev --real-workspace\n"
    assert ran(project, "start-app", DATABRICKS_APP_NAME="x") == "serve\n"
    assert ran(project, "agent-evaluate", "--rows", "3") == "eval --rows 3\n"
    assert ran(project, "grant-lakebase-permissions", "abc", "--apply") == "grant-store abc --apply\n"
    assert {one for one in project.rglob("*") if "__pycache__" not in one.parts} == before
    told = ran(project, "quickstart")
    assert "wrote .env from .env.example" in told
    assert "\ndoctor\n" in told
    assert (project / ".env").read_text() == (project / ".env.example").read_text()


def test_a_program_of_another_package_stays(project: Path) -> None:
    other = project / ".venv/bin/quickstart"
    other.unlink()
    other.write_text("other")
    subprocess.run([project / ".venv/bin/python", "scripts/names.py", "install"], cwd=project, check=True)
    assert other.read_text() == "other"


@pytest.mark.parametrize("name", [*("quickstart", "start-app", "start-server", "agent-evaluate"), "discover-tools"])
def test_this_checkout_has_the_names_too(name: str) -> None:
    link = Path(sys.executable).parent / name
    if not link.is_symlink():
        pytest.skip("the environment was made before the names were; run make setup")
    assert link.resolve() == SCRIPT


@pytest.mark.parametrize("folder", ["", "src/graph_agent/project_template"])
def test_the_manifest_has_the_resources_of_the_bundle(folder: str) -> None:
    home = PROJECT / folder
    manifest = AppManifest.from_dict(yaml.safe_load((home / "manifest.yaml").read_text()))
    [app] = yaml.safe_load((home / "databricks.yml").read_text())["resources"]["apps"].values()
    kinds = ("serving_endpoint", "uc_securable", "experiment")
    declared = {one["name"]: next(one[kind]["permission"] for kind in kinds if kind in one) for one in app["resources"]}
    specs = {
        one.name: next(spec.permission.value for kind in kinds if (spec := getattr(one, f"{kind}_spec")))
        for one in manifest.resource_specs or ()
    }
    assert specs == declared
    assert manifest.version == 1


def test_no_name_is_a_program_of_the_wheel() -> None:
    text = (PROJECT / "pyproject.toml").read_text()
    scripts = text[text.index("[project.scripts]") :].split("\n\n")[0]
    assert scripts.splitlines() == ["[project.scripts]", 'graph-agent = "graph_agent.commands.cli:main"']


def test_every_name_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("names_of_templates", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert main([]) == 2
    listed = capsys.readouterr().err
    for command, *_ in module.NAMES.values():
        assert f"\n  {command} " in listed
