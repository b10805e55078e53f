"""The version of the package, which `pyproject.toml` has, and what the changelog says about it."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

UNRELEASED = "unreleased"
"""What stands in the place of the date until the day of the release."""

_HEADING = re.compile(r"## (?P<version>\d{1,6}\.\d{1,6}\.\d{1,6}) - (?P<date>\d{4}-\d{2}-\d{2}|unreleased)")


class NotReady(Exception):
    """Something must be changed before this can be released. The message says what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in the changelog."""

    version: str
    date: str
    """`2026-12-01`, or `unreleased`."""

    @property
    def is_released(self) -> bool:
        """Whether it has a date."""
        return self.date != UNRELEASED


def version_of_project(root: Path = ROOT) -> str:
    """The version in `pyproject.toml`, from which all other places get it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def entries(changelog: str) -> list[Entry]:
    """The versions of a changelog, from its top.

    Raises:
        NotReady: a heading of a version has another form.
    """
    found = []
    for line in changelog.splitlines():
        if not line.startswith("## "):
            continue
        match = _HEADING.fullmatch(line)
        if match is None:
            raise NotReady(f"CHANGELOG.md: write {line!r} as '## 1.2.3 - 2026-12-31', or with `unreleased` as the date")
        found.append(Entry(match["version"], match["date"]))
    return found


def check_tag(tag: str, root: Path = ROOT) -> None:
    """Check that a tag names the version of the project, and that the changelog has it at its top, with a date.

    Raises:
        NotReady: they do not agree.
    """
    version = version_of_project(root)
    if tag != f"v{version}":
        raise NotReady(f"the tag is {tag}, and pyproject.toml has the version {version}: tag v{version}, or change it")
    top = entries((root / "CHANGELOG.md").read_text(encoding="utf-8"))[:1]
    if [one.version for one in top] != [version]:
        raise NotReady(f"CHANGELOG.md does not begin with {version}: add '## {version} - DATE' above the others")
    if not top[0].is_released:
        raise NotReady(f"CHANGELOG.md says that {version} is unreleased: write the date of the release")
