"""Installs a wheel into an environment of its own, with the packages of the lock, and uses it as a newcomer would."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from releasing.version import ROOT, NotReady

SECONDS = 600


def try_wheel(wheel: Path, *, version: str, root: Path = ROOT) -> None:
    """Install the wheel, ask for its version, and write a project with it.

    Raises:
        NotReady: one of the commands fails, or names another version.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bin_folder = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
        uv = Path(sys.executable).parent / "uv"
        python = str(bin_folder / "python")
        _run([uv, "venv", "--quiet", "--python", sys.executable, folder / "environment"], folder)
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
        _run([*install, "--require-hashes", "-r", root / "requirements.txt"], folder)
        _run([*install, "--no-deps", wheel], folder)
        said = _run([bin_folder / "graph-agent", "--version"], folder).strip()
        if said != f"graph-agent {version}":
            raise NotReady(f"the installed wheel says {said!r}, and not 'graph-agent {version}'")
        _run([bin_folder / "graph-agent", "init", "shop"], folder)
        pin = (folder / "shop" / "requirements.txt").read_text(encoding="utf-8")
        if f"graph-agent=={version}" not in pin and f"=={version}" not in pin:
            raise NotReady(f"`graph-agent init` writes a project that does not depend on {version}")


def _run(command: Sequence[str | Path], folder: Path) -> str:
    # Nothing of this process's own packages and settings.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GRAPH_AGENT_"))}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise NotReady(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
