"""The built wheel in an environment of its own, outside the checkout: `init`, and the test of the project it writes."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What it prints. The environment names nothing of this process's own packages."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GRAPH_AGENT_"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_wheel_writes_a_project_whose_test_passes(tmp_path: Path) -> None:
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], PROJECT)
    [wheel] = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    run([BIN / "uv", "venv", "--quiet", "--offline", "--python", sys.executable, environment], tmp_path)
    python = environment / "bin" / "python"
    run([BIN / "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel], tmp_path)
    [packages] = environment.glob("lib/python*/site-packages")
    # The dependencies are those of this environment. A path in a file is searched last, and the files in it are not
    # followed: the editable installation of the checkout is not found by it.
    [ours] = [path for path in map(Path, sys.path) if path.name == "site-packages"][:1]
    (packages / "dependencies.pth").write_text(f"{ours}\n")
    where = run([python, "-c", "import graph_agent; print(graph_agent.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(environment)

    told = run([environment / "bin" / "graph-agent", "init", "shop"], tmp_path)
    template = PROJECT / "src" / "graph_agent" / "project_template"
    there = [one for one in template.rglob("*") if one.is_file() and "__pycache__" not in one.parts]
    assert f"wrote {len(there)} files to shop" in told
    assert (tmp_path / "shop" / ".claude" / "skills" / "run-locally" / "SKILL.md").is_file()
    # Without plugins that this environment has for other tests, and a user has not.
    without = [part for name in ("cacheprovider", "langsmith_plugin", "schemathesis") for part in ("-p", f"no:{name}")]
    assert "1 passed" in run([python, "-m", "pytest", *without], tmp_path / "shop")


def test_the_wheel_brings_the_built_page_and_documentation_along_although_git_ignores_them(tmp_path: Path) -> None:
    project = tmp_path / "project"
    page = project / "src" / "graph_agent" / "page"
    (page / "assets").mkdir(parents=True)
    (page.parent / "documentation" / "graphs").mkdir(parents=True)
    docs = ("../documentation/manifest.json", "../documentation/graphs/index.html")
    for name in ("../__init__.py", "index.html", "manifest.json", "assets/index-abc.js", ".tried", *docs):
        (page / name).touch()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(PROJECT / name, project / name)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], project)
    [wheel] = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("graph_agent/")}
    assert packed == {
        "graph_agent/__init__.py",
        "graph_agent/page/index.html",
        "graph_agent/page/manifest.json",
        "graph_agent/page/assets/index-abc.js",
        "graph_agent/documentation/manifest.json",
        "graph_agent/documentation/graphs/index.html",
    }
