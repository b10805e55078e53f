"""`graph-agent init [FOLDER]`: create a small project that depends on this package.

The files come from `project_template`, which is itself a working project. Only the project's name and the version of
this package are replaced. With `--from`, `migrating` makes them from a checkout of one of Databricks' app templates.
The files are written to a temporary folder first and then moved, so that a failure leaves nothing behind.
"""

import argparse
import os
import re
import shlex
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from graph_agent.errors import ProjectNotWritten
from graph_agent.printable import one_line

if TYPE_CHECKING:
    from graph_agent.migrating.migration import Migration

TEMPLATE = "project_template"
TEMPLATE_NAME = "my-agent"
TEMPLATE_PIN = "graph-agent==0.0.0"
"""The requirement on this package in the template. `graph-agent[local]==0.0.0` is replaced likewise."""

GIT_IGNORE = "gitignore"
"""The name of `.gitignore` in the template. With the dot, git would apply it to the template's own files."""

OF_OTHERS_TOO = frozenset({".claude"})
"""Folders of the project in which coding assistants keep files of their own. Only what is in them must be new."""

MOST_CHARACTERS = 25
"""The longest project name. An app's name has at most 30 characters, and the bundle adds `-prod`."""

MOST_NAMED = 5
"""Files that an error names. The rest are counted."""

NO_PART_OF_A_NAME = re.compile("[^a-z0-9]+")

QUESTION = "How long may I take to return something?"
"""A question that the template's documents answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the new project."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("."),
        metavar="FOLDER",
        help="folder of the new project; created if it does not exist (default: the current folder)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="CHECKOUT",
        help="take over the agent of this checkout of a Databricks app template; its code is read and never run",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    for line in init(options.folder, source=options.source):
        print(line)
    return 0


def init(folder: Path, *, source: Path | None = None) -> list[str]:
    """Write the project into `folder` and return the lines to print. The folder is created if it does not exist.

    The project is that of the template, or takes over the agent of the checkout `source`.

    The project is named after the folder. The folder may already have hidden entries such as `.git`, and a virtual
    environment.

    Raises:
        ProjectNotWritten: `folder` is a file, has other files, or cannot be written. Nothing was written then.
        ProjectNotRead: the agent of `source` cannot be taken over. Nothing was written then.
    """
    name = project_name(Path(os.path.abspath(folder)).name)
    migration = None if source is None else _migrated(source, name)
    try:
        files = template_files(name) if migration is None else migration.files
        _require_empty(folder, files)
        _write(folder, files)
    except OSError as error:
        raise ProjectNotWritten(
            f"{one_line(str(folder))} cannot be written ({type(error).__name__}); choose another folder"
        ) from None
    if migration is not None:
        return list(_taken_over(folder, migration))
    return list(_next_steps(folder, len(files)))


def _migrated(source: Path, name: str) -> "Migration":
    # Late: only --from needs it.
    from graph_agent.migrating.migration import migrate

    template = template_files(name)
    same = {path: text for path, text in template.items() if _is_for_every_project(path)}
    return migrate(source, name=name, pinned=_pinned(), same=same)


def _is_for_every_project(path: str) -> bool:
    return path in (".gitignore", "AGENTS.md", "scripts/names.py") or path.startswith(".claude/")


def project_name(folder_name: str) -> str:
    """A name that is valid for an app, a bundle and a Python project. It begins with a letter, and has only lowercase
    letters, digits and hyphens, at most 25 characters."""
    plain = unicodedata.normalize("NFKD", folder_name.casefold()).encode("ascii", "ignore").decode()
    words = NO_PART_OF_A_NAME.sub("-", plain).strip("-")
    if words and not words[0].isalpha():
        words = f"agent-{words}"
    words = words[:MOST_CHARACTERS].strip("-")
    # An app's name needs two characters, and a project named graph-agent could not depend on this package.
    return words if len(words) > 1 and words != "graph-agent" else TEMPLATE_NAME


def template_files(name: str) -> Mapping[str, str]:
    """The files of a project with that name: text by path, with `/` as the separator."""
    pinned = _pinned()
    found = {}
    for path, text in sorted(_texts(resources.files("graph_agent") / TEMPLATE, "")):
        text = text.replace(TEMPLATE_NAME, name)
        text = text.replace(TEMPLATE_PIN, f"graph-agent{pinned}").replace("[local]==0.0.0", f"[local]{pinned}")
        found[".gitignore" if path == GIT_IGNORE else path] = text
    return found


def _pinned() -> str:
    try:
        # Drop the local part of the version, such as `+h0123`: no package index has that build.
        return f"=={metadata.version('graph-agent').partition('+')[0]}"
    except metadata.PackageNotFoundError:
        # graph-agent runs from a folder without being installed, so there is no version to pin.
        return ""


def _texts(folder: Traversable, below: str) -> Iterator[tuple[str, str]]:
    for one in folder.iterdir():
        if one.is_dir():
            # pip compiles every Python file that it installs, including those of the template.
            if one.name != "__pycache__":
                yield from _texts(one, f"{below}{one.name}/")
        else:
            yield f"{below}{one.name}", one.read_text(encoding="utf-8")


def _require_empty(folder: Path, files: Mapping[str, str]) -> None:
    if folder.is_symlink() and not folder.exists():
        raise ProjectNotWritten(f"{one_line(str(folder))} is a broken link; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise ProjectNotWritten(f"{one_line(str(folder))} is a file; choose another folder")
    if not folder.exists():
        return
    ours = _entries(files)
    there = sorted({one.name for one in folder.iterdir() if not _may_be_there(one)} | set(_existing(folder, ours)))
    if there:
        more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
        named = ", ".join(one_line(one) for one in there[:MOST_NAMED])
        raise ProjectNotWritten(
            f"{one_line(str(folder))} is not empty: it has {named}{more}; use a new folder: graph-agent init FOLDER"
        )


def _entries(files: Iterable[str]) -> list[str]:
    """The paths that are made as a whole: files and folders of the project's folder, and of `OF_OTHERS_TOO`."""
    parts = (path.split("/") for path in files)
    return sorted({"/".join(one[: 2 if one[0] in OF_OTHERS_TOO else 1]) for one in parts})


def _existing(folder: Path, entries: Iterable[str]) -> Iterator[str]:
    for entry in entries:
        above = (folder / entry).parent
        if above != folder and (above.is_symlink() or not above.is_dir()) and os.path.lexists(above):
            # A file, or a link that leads out of the project.
            yield above.name
        elif os.path.lexists(folder / entry):
            yield entry


def _may_be_there(entry: Path) -> bool:
    return entry.name.startswith(".") or (entry / "pyvenv.cfg").is_file()


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files or none. They are complete before the first one appears in `folder`."""
    with ExitStack() as undo:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        # Callbacks run last in, first out. The innermost folder goes last, so it is removed first.
        for one in reversed(missing):
            undo.callback(_remove, one)
        # Staged inside the folder: a rename is atomic only within one disk, and the parent folder may be on another.
        staged = Path(tempfile.mkdtemp(prefix=".graph-agent-init-", dir=folder))
        undo.callback(_remove, staged)
        for path, text in files.items():
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_text(text, encoding="utf-8", newline="\n")
        for entry in _entries(files):
            target = folder / entry
            if not target.parent.exists():
                target.parent.mkdir()
                undo.callback(_remove, target.parent)
            (staged / entry).rename(target)
            undo.callback(_remove, target)
        # Everything is in place, so nothing is undone from here on.
        undo.pop_all()
        _remove(staged)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _taken_over(folder: Path, migration: "Migration") -> Iterator[str]:
    yield f"wrote {len(migration.files)} files to {one_line(str(folder))}"
    yield ""
    yield "taken over:"
    yield from (f"  {one_line(one.place)}: {one_line(one.what)}" for one in migration.taken)
    yield ""
    yield "not taken over, and what to do:"
    for one in migration.left:
        if one.needs_something:
            yield f"  {one_line(one.place)}: {one_line(one.what)}"
            yield f"      {one_line(one.do)}"
    yield ""
    yield "not needed any more:"
    yield from (f"  {one_line(one.place)}: {one_line(one.what)}" for one in migration.left if not one.needs_something)
    yield ""
    yield "next:"
    yield ""
    yield from _first_steps(folder)
    yield '  graph-agent ask "hi"'
    yield "  pytest                           # run its test (pip install pytest)"
    yield "  graph-agent deploy --dry-run     # check everything and show what would be deployed"
    yield ""
    yield "The agent is graphs/agent.py. MIGRATED.md has the three lists."


def _first_steps(folder: Path) -> Iterator[str]:
    if os.path.abspath(folder) != os.path.abspath("."):
        yield f"  cd {one_line(shlex.quote(str(folder)))}"
    yield "  graph-agent dev                  # run it with a local model; Ctrl-C stops it"


def _next_steps(folder: Path, count: int) -> Iterator[str]:
    yield f"wrote {count} files to {one_line(str(folder))}; next:"
    yield ""
    yield from _first_steps(folder)
    yield f'  graph-agent ask "{QUESTION}"'
    yield "  graph-agent eval                 # ask the questions in evals/datasets and score the answers"
    yield "  pytest                           # run its test (pip install pytest)"
    yield "  git init && git add --all        # deploy uploads the files that git tracks"
    yield "  graph-agent deploy --dry-run     # check everything and show what would be deployed"
    yield ""
    yield "The agent is graphs/agent.py. README.md explains the rest."
