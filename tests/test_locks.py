"""The locks: complete with hashes, free of index addresses, of one mind, and each imports what it is for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.txt", "requirements-local.txt", "requirements-dev.txt", "requirements-uv.txt"]
STUDIO = "requirements-studio.txt"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)( ; .+?)? \\$")

SERVICE = (
    "import databricks_langchain, mlflow, graph_agent.catalog.catalog, graph_agent.responses_agent, "
    "graph_agent.serving.app"
)
WORKSPACE = f"{SERVICE}, graph_agent.local.rest.workspace, graph_agent.local.preparation, xllamacpp, pip"


def pins(lock: str) -> set[tuple[str, str, str]]:
    lines = (ROOT / lock).read_text().splitlines()
    return {(m[1], m[2], m[3] or "") for line in lines if (m := PIN.match(line))}


@pytest.mark.parametrize("lock", [*LOCKS, STUDIO])
def test_every_line_of_a_lock_is_a_pin_or_its_hash(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert PIN.match(line) or re.match(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$", line), line


def test_the_locks_agree_with_each_other() -> None:
    service, local, dev, uv = map(pins, LOCKS)
    assert service <= local <= dev
    assert uv <= dev


def test_studio_runs_the_graphs_with_the_service_s_versions_but_for_what_its_server_refuses() -> None:
    service, studio = ({(name, version) for name, version, _ in pins(lock)} for lock in ("requirements.txt", STUDIO))
    assert {name for name, _ in service - studio} == {"protobuf", "grpcio", "grpcio-status"}


@pytest.mark.parametrize(("lock", "imports"), [("requirements.txt", SERVICE), ("requirements-local.txt", WORKSPACE)])
def test_what_a_lock_installs_imports(lock: str, imports: str, tmp_path: Path) -> None:
    # In hash mode and without the project itself, as Databricks Apps installs it.
    python = tmp_path / "env" / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(tmp_path / "env")], check=True)
    install = ["pip", "install", "--python", str(python), "--require-hashes", "--requirement", str(ROOT / lock)]
    subprocess.run([*uv, *install], check=True)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    subprocess.run([str(python), "-W", "ignore", "-c", imports], check=True, env=environment, cwd=tmp_path)
