"""The files to upload: what git tracks, less what the bundle leaves out, and nothing that looks like a secret."""

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graph_agent.deploying.bundle import Bundle
from graph_agent.errors import DeployRefused
from graph_agent.redaction import secrets_of, with_hidden_values
from graph_agent.secret_files import ALLOWING, Allowed, describe_secrets, find_secret
from graph_agent.tracing.version import FILE, of_checkout

LARGEST_BYTES = 10_000_000
"""A larger file fails a deployment on Databricks Apps, whose limit is 10 MB."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its path below the bundle's folder, with `/`, and its contents."""

    path: str
    content: bytes
    sha256: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class Sources:
    """All files to upload by their path, and what git says of the folder."""

    files: Mapping[str, Source]
    uncommitted: Sequence[str]
    """Tracked files with changes, and new files git does not track yet, which are not uploaded."""

    tracked: frozenset[str] = frozenset()
    """Everything git tracks, whether it is uploaded or not."""

    problems: Sequence[DeployRefused] = ()
    """Why they may not be uploaded as they are."""


def read_sources(folder: Path, bundle: Bundle) -> Sources:
    """Read every file that belongs to the app; `problems` are those that are too large or look like secrets.

    Raises:
        DeployRefused: there is no git repository or no file.
    """
    tracked = _git(folder, "ls-files", "-z", "--cached")
    left_out = _matching(folder, "--cached", bundle.exclude)
    added = _matching(folder, "--others", bundle.include)
    paths = sorted({path for path in tracked if path not in left_out} | (added - left_out))
    files: dict[str, Source] = {}
    links = [path for path in paths if (folder / path).is_symlink() and not _stays(folder, path, set(paths))]
    for path in paths:
        # A tracked file that was deleted in the folder is gone.
        if path not in links and (folder / path).is_file():
            files[path] = _source(path, (folder / path).read_bytes())
    named = {pattern.lstrip("/") for pattern in bundle.exclude}
    if files and FILE not in named and (version := of_checkout(folder)):
        # The app has no git folder; its traces say what runs.
        path = (Path(bundle.source) / FILE).as_posix()
        files[path] = _source(path, version.encode())
    problems = [*_problems(files, Allowed.of(folder)), *_of_links(links)]
    changed = [line[3:] for line in _git(folder, "status", "--porcelain", "-z", "--no-renames", "--", ".")]
    return Sources(files, changed, frozenset(tracked), problems)


def _source(path: str, content: bytes) -> Source:
    return Source(path, content, hashlib.sha256(content).hexdigest())


def _stays(folder: Path, path: str, uploaded: set[str]) -> bool:
    """Whether a link leads to a file that is uploaded itself: what it leads to elsewhere was not meant to be."""
    try:
        there = (folder / path).resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    root = folder.resolve()
    return there.is_file() and there.is_relative_to(root) and there.relative_to(root).as_posix() in uploaded


def _of_links(links: Sequence[str]) -> Iterator[DeployRefused]:
    if links:
        yield DeployRefused(
            f"these links lead to what is not uploaded: {', '.join(links)};"
            " put the files themselves there, or add the links to sync.exclude"
        )


def _problems(files: Mapping[str, Source], allowed: Allowed) -> Iterator[DeployRefused]:
    if not files:
        raise DeployRefused("there is nothing to upload: git tracks no file here that the bundle does not leave out")
    large = [f"{one.path} ({one.size / 1e6:.1f} MB)" for one in files.values() if one.size > LARGEST_BYTES]
    if large:
        yield DeployRefused(
            f"Databricks Apps takes no file over 10 MB: {', '.join(large)};"
            " add it to sync.exclude, or keep it in a volume"
        )
    with with_hidden_values(secrets_of(os.environ)):
        secret = [(one.path, what) for one in files.values() if (what := find_secret(one.path, one.content, allowed))]
    if secret:
        yield DeployRefused(
            f"these look like secrets and are not uploaded: {describe_secrets(secret)};"
            " remove them from git and renew them, or add them to sync.exclude; what is none may be named in"
            f" {ALLOWING}"
        )


def _matching(folder: Path, kind: str, patterns: Sequence[str]) -> set[str]:
    if not patterns:
        return set()
    # Git itself matches them, so that they mean what they mean in .gitignore, and to the Databricks CLI.
    given = [argument for pattern in patterns for argument in ("--exclude", pattern)]
    return set(_git(folder, "ls-files", "-z", kind, "--ignored", *given))


def _git(folder: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError:
        raise DeployRefused("git is needed to tell which files belong to the app; install it") from None
    if done.returncode:
        raise DeployRefused(f"{folder.name} is no git repository; git tells which files belong to the app") from None
    return [part for part in done.stdout.decode("utf-8", "surrogateescape").split("\0") if part]
