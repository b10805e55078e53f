"""Builds the wheel and the sdist, twice, and checks that both builds are the same bytes with all they must contain."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from releasing.version import ROOT, NotReady

MUST_HAVE = (
    "graph_agent/__init__.py",
    "graph_agent/py.typed",
    "graph_agent/page/index.html",
    "graph_agent/page/licenses.md",
    "graph_agent/documentation/index.html",
    "graph_agent/project_template/gitignore",
    "graph_agent/project_template/.claude/skills/deploy/SKILL.md",
)
"""Files of the wheel. Those of the page and of the documentation are built, and so may be missing in a checkout."""

MUST_NOT_HAVE = frozenset({"__pycache__", ".tried", ".env", "node_modules"})
"""Files and folders that belong to a checkout."""


def commit_time(root: Path = ROOT) -> str:
    """The time of the commit that is checked out, in seconds since 1970: `SOURCE_DATE_EPOCH`, if that is set.

    Raises:
        NotReady: the folder is not a checkout of git.
    """
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    return _git(root, "log", "-1", "--format=%ct").strip()


def check_clean(root: Path = ROOT) -> None:
    """Check that the checkout is what its commit says.

    Raises:
        NotReady: files differ, which are named, or the folder is not a checkout of git.
    """
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        named = ", ".join(line[3:] for line in changed[:5])
        raise NotReady(
            f"the checkout differs from its commit: {named}{', …' * (len(changed) > 5)}; commit or remove it"
        )


def build(folder: Path, *, epoch: str, root: Path = ROOT) -> list[Path]:
    """Build the wheel and the sdist into a folder, and check what they contain.

    Raises:
        NotReady: a second build gives other bytes, or a file is missing or too much.
    """
    with tempfile.TemporaryDirectory() as again:
        first, second = _built(folder, epoch, root), _built(Path(again), epoch, root)
        digests = [{path.name: digest(path) for path in built} for built in (first, second)]
    if digests[0] != digests[1]:
        raise NotReady(f"two builds of the same commit differ: {digests[0]} and {digests[1]}")
    for path in first:
        check_contents(path)
    return first


def check_contents(path: Path) -> None:
    """Check the names of the files in a wheel or an sdist.

    Raises:
        NotReady: a file is missing or too much.
    """
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
    else:
        with tarfile.open(path) as sdist:
            # Below `NAME-VERSION/src/` in an sdist.
            names = [name.partition("/")[2].removeprefix("src/") for name in sdist.getnames()]
    if missing := [name for name in MUST_HAVE if name not in names]:
        raise NotReady(f"{path.name} has no {', '.join(missing)}; run `make page docs` first")
    if wrong := [name for name in names if MUST_NOT_HAVE.intersection(name.split("/"))]:
        raise NotReady(f"{path.name} must not have {', '.join(wrong[:5])}")


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_sums(paths: Iterable[Path], file: Path) -> None:
    """Write the SHA-256 of files in the form that `sha256sum --check` reads."""
    file.write_text("".join(f"{digest(path)}  {path.name}\n" for path in sorted(paths)), encoding="utf-8")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotReady(f"git {words[0]} failed in {root}; release from a checkout of git with a commit")
    return done.stdout


def _built(folder: Path, epoch: str, root: Path) -> list[Path]:
    environment: Mapping[str, str] = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    done = subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotReady(f"the build failed:\n{done.stdout}{done.stderr}")
    return sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
