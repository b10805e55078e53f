"""The version of the code that is running, under the names that MLflow uses."""

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
"""MLflow's own variable for the id of the logged model that is running."""

VERSION = "version"
"""The tag with the whole version."""

FILE = "graph-agent-version.txt"
"""The file with the version, for a folder without git. `graph-agent deploy` uploads it with the sources."""

GIT_SECONDS = 5.0
"""The time limit of one git command. git may hang, for example on a network drive."""

FORM = re.compile(r"^(?:(?P<branch>[^@\s]+)@)?(?P<commit>[0-9a-f]{7,64})(?P<dirty>-dirty)?$")


def version_of(environ: Mapping[str, str], folder: Path | None = None) -> dict[str, str]:
    """The version tags and metadata for a trace or model. Empty if nothing is known.

    The version is `GRAPH_AGENT_VERSION`, or the commit of the folder's git repository, or else the content of `FILE`.

    The variable may be any text. Text of the form `[BRANCH@]COMMIT[-dirty]` is also split into its parts. Runs git for
    a few milliseconds: do not call it on the event loop.
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
    """Trace metadata with the model that `MLFLOW_ACTIVE_MODEL_ID` names. Empty if the variable is not set."""
    return {MODEL: environ[ACTIVE_MODEL]} if environ.get(ACTIVE_MODEL) else {}


def of_checkout(folder: Path) -> str:
    """`[BRANCH@]COMMIT[-dirty]` from git. Empty if there is no commit."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    # Untracked files do not count: they are not part of what is deployed.
    dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    # git prints `HEAD` for a detached head, which CI checkouts have.
    return f"{f'{branch}@' if branch not in ('', 'HEAD') else ''}{commit}{'-dirty' if dirty else ''}"


def _written(folder: Path) -> str:
    try:
        # Cut, because anyone may write this file, and its text becomes a tag of every trace.
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
