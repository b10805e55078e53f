"""The files to upload: those that git tracks, without those that the bundle excludes or that look like secrets."""

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

STANDARD = ("--exclude-standard",)
"""Makes `git ls-files` apply .gitignore."""

LARGEST_BYTES = 10_000_000
"""The limit of Databricks Apps. A deployment with a larger file fails."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its path relative to the bundle's folder, with `/`, and its contents."""

    path: str
    content: bytes
    sha256: str

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class Sources:
    """All files to upload, by path, and what git reports about the folder."""

    files: Mapping[str, Source]
    uncommitted: Sequence[str] = ()
    """Paths whose deployed state is not committed: files with changes, newly added files, and deleted files."""

    untracked: Sequence[str] = ()
    """Files that git neither tracks nor ignores, and that are not uploaded."""

    tracked: frozenset[str] = frozenset()
    """Everything that git tracks, whether it is uploaded or not."""

    problems: Sequence[DeployRefused] = ()
    """Why the files must not be uploaded as they are."""


def read_sources(folder: Path, bundle: Bundle) -> Sources:
    """Read every file that belongs to the app. `problems` reports files that are too large or look like secrets.

    Raises:
        DeployRefused: the folder is not in a git repository, or there is no file to upload.
    """
    tracked = _git(folder, "ls-files", "-z", "--cached")
    left_out = _matching(folder, "--cached", bundle.exclude)
    added = _matching(folder, "--others", bundle.include)
    paths = sorted({path for path in tracked if path not in left_out} | (added - left_out))
    files: dict[str, Source] = {}
    links = [path for path in paths if (folder / path).is_symlink() and not _stays(folder, path, set(paths))]
    for path in paths:
        # git still tracks a file that was deleted without `git rm`.
        if path not in links and (folder / path).is_file():
            files[path] = _source(path, (folder / path).read_bytes())
    # A bundle may exclude the version file like any other file.
    named = {pattern.lstrip("/") for pattern in bundle.exclude}
    if files and FILE not in named and (version := of_checkout(folder)):
        # The app has no git repository. This file tells it the commit, which its traces record.
        path = (Path(bundle.source) / FILE).as_posix()
        files[path] = _source(path, version.encode())
    problems = [*_problems(files, Allowed.of(folder)), *_of_links(links)]
    return Sources(
        files,
        uncommitted=[path for path in _changed(folder) if path in files or not (folder / path).exists()],
        untracked=[path for path in _git(folder, "ls-files", "-z", "--others", *STANDARD) if path not in files],
        tracked=frozenset(tracked),
        problems=problems,
    )


def _changed(folder: Path) -> list[str]:
    """Tracked paths that differ from the last commit, relative to `folder`.

    Not `git diff HEAD`, which fails before the first commit, and not `git status`, which prints paths relative to the
    repository and not to `folder`.
    """
    names = ("diff", "--name-only", "--no-renames", "--relative", "-z")
    return sorted({*_git(folder, *names), *_git(folder, *names, "--cached")})


def _source(path: str, content: bytes) -> Source:
    return Source(path, content, hashlib.sha256(content).hexdigest())


def _stays(folder: Path, path: str, uploaded: set[str]) -> bool:
    """Whether a link points to a file that is itself uploaded. The user did not choose to upload any other target."""
    try:
        there = (folder / path).resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    root = folder.resolve()
    return there.is_file() and there.is_relative_to(root) and there.relative_to(root).as_posix() in uploaded


def _of_links(links: Sequence[str]) -> Iterator[DeployRefused]:
    if links:
        yield DeployRefused(
            f"these links point to files that are not uploaded: {', '.join(links)};"
            " replace them with the files, or add the links to sync.exclude"
        )


def _problems(files: Mapping[str, Source], allowed: Allowed) -> Iterator[DeployRefused]:
    if not files:
        raise DeployRefused("there is nothing to upload: run `git add`, or exclude fewer files in sync.exclude")
    large = [f"{one.path} ({one.size / 1e6:.1f} MB)" for one in files.values() if one.size > LARGEST_BYTES]
    if large:
        yield DeployRefused(
            f"Databricks Apps does not accept files over 10 MB: {', '.join(large)};"
            " add them to sync.exclude, or keep them in a volume"
        )
    with with_hidden_values(secrets_of(os.environ)):
        secret = [(one.path, what) for one in files.values() if (what := find_secret(one.path, one.content, allowed))]
    if secret:
        yield DeployRefused(
            f"these look like secrets and are not uploaded: {describe_secrets(secret)};"
            " remove them from git and replace the secrets, or add the files to sync.exclude; if one is not a secret,"
            f" name it in {ALLOWING}"
        )


def _matching(folder: Path, kind: str, patterns: Sequence[str]) -> set[str]:
    if not patterns:
        return set()
    # git matches the patterns, so that they mean the same as in .gitignore and in the Databricks CLI.
    given = [argument for pattern in patterns for argument in ("--exclude", pattern)]
    return set(_git(folder, "ls-files", "-z", kind, "--ignored", *given))


def _git(folder: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError:
        raise DeployRefused("git is not installed; install it, because it lists the files of the app") from None
    if done.returncode:
        raise DeployRefused(
            f"{folder.name} is not in a git repository; run `git init` and `git add`, because deploy uploads the files"
            " that git tracks"
        ) from None
    # `surrogateescape`, because a path on Linux may have bytes that are not UTF-8.
    return [part for part in done.stdout.decode("utf-8", "surrogateescape").split("\0") if part]
