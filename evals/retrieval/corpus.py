"""The documents that are searched: those of this project, copies of many of them, and a few in other languages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index
from graph_agent.local.index.other_languages import OtherLanguages
from graph_agent.local.preparation import project_documents

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]

FOLDERS = ("archive", "backup", "site", "team-a", "team-b", "team-c")
"""With the originals there are seven of each."""

EDITED = ("site", "team-c")
"""In these folders the copies have a line of their own at the end, and so are only near-identical there."""

COPIED = (
    "approvals",
    "background",
    "budgets",
    "conversations",
    "errors",
    "events",
    "graphs",
    "identity",
    "local-workspace",
    "memory",
    "retrieval",
    "routes",
    "settings",
    "stores",
    "tools",
    "tracing",
)


@contextmanager
def indexed(folder: Path, embedder: Embedder, languages: OtherLanguages | None) -> Iterator[Index]:
    """An index of the documents in `folder`, which keeps it: only what has changed is read again."""
    copies = folder / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    for name in FOLDERS:
        (copies / name / "docs").mkdir(parents=True)
        for document in COPIED:
            text = (PROJECT / "docs" / f"{document}.md").read_text(encoding="utf-8")
            own_line = f"\n\nThis copy belongs to the folder {name}.\n" if name in EDITED else "\n"
            (copies / name / "docs" / f"{document}.md").write_text(text.rstrip() + own_line, encoding="utf-8")
    with Index.open(folder / f"{embedder.name}.sqlite", embedder, languages=languages) as index:
        index.sync([*project_documents(PROJECT), HERE / "corpus", copies])
        yield index
