"""Environments of servers that need other packages than this project: made when the benchmark first needs them."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS = 600
"""The longest time that an installation may take."""

CONSTRAINTS = "requirements.txt"
"""This project's lock. With it, every server of the comparison runs the same LangGraph."""


def make(folder: Path, packages: Sequence[str], *, root: Path) -> str | None:
    """Make an environment with these packages in `folder`, unless it is there. Return why that failed, or `None`."""
    constraints = root / CONSTRAINTS
    wanted = "\n".join([sys.version, *packages, hashlib.sha256(constraints.read_bytes()).hexdigest()])
    # Written last, so an environment that was not made to its end is made again.
    made = folder / "made-of"
    if made.is_file() and made.read_text(encoding="utf-8") == wanted:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    python = str(folder / "bin" / "python")
    try:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", python, "--constraints", str(constraints), *packages)
    except OSError as error:
        return f"uv did not start ({type(error).__name__}); run `make setup`"
    except subprocess.TimeoutExpired:
        return f"its installation took longer than {SECONDS} s"
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").split()
        return f"it was not installed: {' '.join(said)[-300:]}"
    made.write_text(wanted, encoding="utf-8")
    return None


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
