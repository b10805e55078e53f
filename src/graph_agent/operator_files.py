"""The TOML files of the operator beside `langgraph.json`: found, read, and checked with all problems at once.

A file has one table of named tables, such as `[webhooks.billing]`. No error quotes a value, which may be a secret.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from graph_agent.errors import BadFile

MOST_BYTES = 1_000_000
"""The largest file."""

MOST_ENTRIES = 200
"""The most named tables in a file."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""The names of entries."""

_LINE = re.compile(r"at line ([0-9]{1,9}),")


def operator_file(chosen: Path | None, *, beside: Path | None, name: str) -> Path | None:
    """The file that a setting names, or the file of that name beside `beside` if it is there."""
    if chosen is not None or beside is None:
        return chosen
    found = beside.parent / name
    return found if found.is_file() else None


class OperatorFile:
    """One file while it is read. `problem` collects what is wrong, and `check` raises all of it at once."""

    def __init__(self, path: Path, *, variable: str) -> None:
        """`variable` is the setting that names the file."""
        self.path = path
        self.variable = variable
        self.problems: list[str] = []

    def problem(self, words: str) -> None:
        """Note what is wrong, and what to change."""
        self.problems.append(words)

    def check(self) -> None:
        """Raise what was noted.

        Raises:
            BadFile: there was a problem.
        """
        if self.problems:
            raise self._bad(*self.problems)

    def entries(self, table: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The named tables below the table, by name. There is no other table.

        Raises:
            BadFile: the file cannot be read, or is not TOML.
        """
        content = self._content()
        for name in content:
            if name != table:
                self.problem(f"`{_shown(name)}` is not a table of this file: write [{table}.NAME]")
        found = content.get(table, {})
        if not isinstance(found, dict):
            self.problem(f"`{table}` must be a table: write [{table}.NAME]")
            return
        if len(found) > MOST_ENTRIES:
            raise self._bad(f"it has more than {MOST_ENTRIES} entries")
        for name, entry in found.items():
            if NAME.fullmatch(name) is None:
                self.problem(
                    f"the name `{_shown(name)}` must have 1 to 64 letters, digits, hyphens and underscores, and begin "
                    "with a letter or digit"
                )
            elif not isinstance(entry, dict):
                self.problem(f"`{table}.{name}` must be a table: write [{table}.{name}]")
            else:
                yield name, entry

    def only(self, where: str, entry: Mapping[str, Any], known: Collection[str]) -> None:
        """Note every key that is not known."""
        for key in entry:
            if key not in known:
                near = get_close_matches(key[:64], known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
                self.problem(f"`{where}.{_shown(key)}` is not a key of this file; {hint}")

    def text(self, where: str, entry: Mapping[str, Any], key: str, *, default: str | None = None) -> str:
        """A text that must be there, unless it has a default. What is wrong is noted, and then the text is empty."""
        value = entry.get(key, default)
        if isinstance(value, str) and value:
            return value
        self.problem(f"`{where}.{key}` must be a text" if key in entry else f"`{where}.{key}` is missing")
        return ""

    def texts(self, where: str, entry: Mapping[str, Any], key: str, *, most: int) -> tuple[str, ...]:
        """A list of one text or more. What is wrong is noted, and then the list is empty."""
        value = entry.get(key)
        if isinstance(value, list) and 1 <= len(value) <= most and all(isinstance(one, str) for one in value):
            return tuple(value)
        self.problem(
            f"`{where}.{key}` must be a list of 1 to {most} texts" if key in entry else f"`{where}.{key}` is missing"
        )
        return ()

    def _content(self) -> Mapping[str, Any]:
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise self._bad(f"it cannot be read ({type(error).__name__})") from None
        if len(content) > MOST_BYTES:
            raise self._bad(f"it is larger than {MOST_BYTES} bytes")
        try:
            return tomllib.loads(content.decode())
        except UnicodeDecodeError:
            raise self._bad("it is not UTF-8") from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            # Only the line: the message may quote the file.
            line = _LINE.search(str(error))
            raise self._bad(f"it is not TOML{f', see line {line[1]}' if line else ''}") from None

    def _bad(self, *problems: str) -> BadFile:
        return BadFile(self.path.name, problems, param=self.variable)


def _shown(name: str) -> str:
    """A name from the file, short and printable."""
    return "".join(character if character.isprintable() else "?" for character in name[:64])
