"""Which version of the code is running, in the names MLflow has for it."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GRAPH_AGENT_VERSION"
COMMIT = "mlflow.source.git.commit"
BRANCH = "mlflow.source.git.branch"
DIRTY = "mlflow.source.git.dirty"
MODEL = "mlflow.modelId"
ACTIVE_MODEL = "MLFLOW_ACTIVE_MODEL_ID"
"""The variable by which MLflow itself knows which of its models is running."""

VERSION = "version"
"""The tag that holds the version as a whole."""

FILE = "graph-agent-version.txt"
"""Holds the version where there is no git folder; `graph-agent deploy` writes it beside the sources."""

GIT_SECONDS = 5.0

FORM = re.compile(r"^(?:(?P<branch>[^@\s]+)@)?(?P<commit>[0-9a-f]{7,64})(?P<dirty>-dirty)?$")


def version_of(environ: Mapping[str, str], folder: Path | None = None) -> dict[str, str]:
    """What to tag a trace or model with; empty where nothing is known.

    It is `GRAPH_AGENT_VERSION`, else what git says of the folder, else what `FILE` in it says.

    The variable is any text; of the form `[BRANCH@]COMMIT[-dirty]` it is understood. Runs git for some milliseconds:
    call it off the event loop.
    """
    folder = folder or Path.cwd()
    given = environ.get(VARIABLE) or of_checkout(folder) or _written(folder)
    if not given:
        return {}
    found = FORM.match(given)
    if found is None:
        return {VERSION: given}
    known = {VERSION: given, COMMIT: found["commit"], DIRTY: "true" if found["dirty"] else "false"}
    return known | ({BRANCH: found["branch"]} if found["branch"] else {})


def model_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The model that MLflow is told is running, as the metadata of a trace name it; empty where it is told of none."""
    return {MODEL: environ[ACTIVE_MODEL]} if environ.get(ACTIVE_MODEL) else {}


def of_checkout(folder: Path) -> str:
    """`[BRANCH@]COMMIT[-dirty]` as git says; empty where there is no commit."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{f'{branch}@' if branch not in ('', 'HEAD') else ''}{commit}{'-dirty' if dirty else ''}"


def _written(folder: Path) -> str:
    try:
        return (folder / FILE).read_text(encoding="utf-8").strip()[:200]
    except (OSError, ValueError):
        return ""


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
