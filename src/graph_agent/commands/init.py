"""`graph-agent init [FOLDER]`: a small project that depends on this package.

The files are those of `project_template`, which is a working project itself; only its name and the version of this
package are replaced. Everything is written beside the folder first and then moved, so that a failure leaves nothing.
"""

import argparse
import os
import re
import shlex
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

from graph_agent.errors import ProjectNotWritten
from graph_agent.printable import one_line

TEMPLATE = "project_template"
TEMPLATE_NAME = "my-agent"
TEMPLATE_PIN = "graph-agent==0.0.0"
"""What stands in the template where the project needs this package; `graph-agent[local]==0.0.0` likewise."""

GIT_IGNORE = "gitignore"
"""Its name in the template: with the dot it would apply to the template's own files."""

MOST_CHARACTERS = 25
"""Of a name: an app's name has 30 at most, and the bundle adds `-prod`."""

MOST_NAMED = 5
"""Files that an error names; the rest are counted."""

QUESTION = "How long may I take to return something?"
"""What the template's documents answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the project is written."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("."), metavar="FOLDER", help="default: this one")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    for line in init(options.folder):
        print(line)
    return 0


def init(folder: Path) -> list[str]:
    """Write the project into `folder`, which is made where it does not exist; the lines to print.

    The project is named after the folder. Hidden entries such as `.git` and a virtual environment may be there already.

    Raises:
        ProjectNotWritten: `folder` is a file, or holds other files, or cannot be written. Nothing was written then.
    """
    try:
        files = template_files(project_name(Path(os.path.abspath(folder)).name))
        _see_that_it_is_empty(folder, files)
        _write(folder, files)
    except OSError as error:
        raise ProjectNotWritten(
            f"{one_line(str(folder))} cannot be written ({type(error).__name__}); choose another folder"
        ) from None
    return list(_next_steps(folder, len(files)))


def project_name(folder_name: str) -> str:
    """A name that is valid for an app, a bundle and a Python project: it begins with a letter, and then has letters,
    digits and hyphens, at most 25."""
    plain = unicodedata.normalize("NFKD", folder_name.casefold()).encode("ascii", "ignore").decode()
    words = re.sub("[^a-z0-9]+", "-", plain).strip("-")
    if words and not words[0].isalpha():
        words = f"agent-{words}"
    words = words[:MOST_CHARACTERS].strip("-")
    # One letter is too short for an app, and a project of this package's name could not depend on it.
    return words if len(words) > 1 and words != "graph-agent" else TEMPLATE_NAME


def template_files(name: str) -> Mapping[str, str]:
    """The files of a project of that name: their text by their path, with `/`."""
    pinned = _pinned()
    found = {}
    for path, text in sorted(_texts(resources.files("graph_agent") / TEMPLATE, "")):
        text = text.replace(TEMPLATE_NAME, name)
        text = text.replace(TEMPLATE_PIN, f"graph-agent{pinned}").replace("[local]==0.0.0", f"[local]{pinned}")
        found[".gitignore" if path == GIT_IGNORE else path] = text
    return found


def _pinned() -> str:
    try:
        # Without the part that marks a build of this machine: no index has it.
        return f"=={metadata.version('graph-agent').partition('+')[0]}"
    except metadata.PackageNotFoundError:
        return ""


def _texts(folder: Traversable, below: str) -> Iterator[tuple[str, str]]:
    for one in folder.iterdir():
        if one.is_dir():
            # An installation compiles every Python file it finds, those of the template included.
            if one.name != "__pycache__":
                yield from _texts(one, f"{below}{one.name}/")
        else:
            yield f"{below}{one.name}", one.read_text(encoding="utf-8")


def _see_that_it_is_empty(folder: Path, files: Mapping[str, str]) -> None:
    if folder.is_symlink() and not folder.exists():
        raise ProjectNotWritten(f"{one_line(str(folder))} is a link that leads nowhere; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise ProjectNotWritten(f"{one_line(str(folder))} is a file; choose another folder")
    if not folder.exists():
        return
    ours = {path.partition("/")[0] for path in files}
    there = sorted(one.name for one in folder.iterdir() if one.name in ours or not _may_be_there(one))
    if there:
        more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
        named = ", ".join(one_line(one) for one in there[:MOST_NAMED])
        raise ProjectNotWritten(
            f"{one_line(str(folder))} is not empty: it has {named}{more}; choose a new folder: graph-agent init FOLDER"
        )


def _may_be_there(entry: Path) -> bool:
    return entry.name.startswith(".") or (entry / "pyvenv.cfg").is_file()


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """All of it or nothing. The files are complete before the first one appears in `folder`."""
    with ExitStack() as undo:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in reversed(missing):
            undo.callback(_remove, one)
        # Inside of the folder: what is beside it may lie on another disk, and a file is moved whole on one disk only.
        staged = Path(tempfile.mkdtemp(prefix=".graph-agent-init-", dir=folder))
        undo.callback(_remove, staged)
        for path, text in files.items():
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_text(text, encoding="utf-8", newline="\n")
        for entry in sorted(staged.iterdir()):
            target = folder / entry.name
            entry.rename(target)
            undo.callback(_remove, target)
        undo.pop_all()
        _remove(staged)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _next_steps(folder: Path, count: int) -> Iterator[str]:
    yield f"wrote {count} files to {one_line(str(folder))}; next:"
    yield ""
    if os.path.abspath(folder) != os.path.abspath("."):
        yield f"  cd {one_line(shlex.quote(str(folder)))}"
    yield "  graph-agent dev                  # serve it, with a local model; Ctrl-C ends it"
    yield f'  graph-agent ask "{QUESTION}"'
    yield "  graph-agent eval                 # ask it the questions of evals/datasets, and score the answers"
    yield "  pytest                           # its test (pip install pytest)"
    yield "  git init && git add --all        # deploy uploads what git tracks"
    yield "  graph-agent deploy --dry-run     # what Databricks Apps would get"
    yield ""
    yield "README.md has the rest; graphs/agent.py is the agent."
