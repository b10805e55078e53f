"""Everything the local workspace stands on, fetched and indexed with progress shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graph_agent.errors import WeightsUnavailable
from graph_agent.local.documents.files import Skipped
from graph_agent.local.index import synchronization
from graph_agent.local.index.embedder import Embedder, MiniLMEmbedder
from graph_agent.local.index.index import Index
from graph_agent.local.index.local_indexes import DOCUMENTATION_INDEX, OWN_INDEX, index_file
from graph_agent.local.index.synchronization import IndexReport, Paths
from graph_agent.local.rest.chat_routes import ChatBackend
from graph_agent.local.weights import fetch
from graph_agent.settings import Settings

DOCUMENTS = ("documents",)
"""The folder beside `langgraph.json` that holds what a project's agents search."""

DOCUMENTATION = ("README.md", "docs")
"""What is indexed in a project without that folder: its own documentation."""

MOST_TOLD = 20
"""Removed documents that are named."""

console = Console(stderr=True)


def is_upstream(settings: Settings) -> bool:
    """Whether the model is somebody else's OpenAI-compatible server."""
    return settings.local_model.startswith(("http://", "https://"))


def model_path(settings: Settings) -> Path:
    """The GGUF file of `GRAPH_AGENT_LOCAL_MODEL`, fetched if it is known weights that are not there yet.

    Raises:
        WeightsUnavailable: no such file and no such weights, or they could not be fetched.
    """
    known = fetch.WEIGHTS.get(settings.local_model)
    if known is not None:
        with downloading(f"model {known.name}") as progress:
            return fetch.fetch_weights(known, settings.cache_dir, progress=progress, hub_url=settings.hub_url or None)
    path = Path(settings.local_model).expanduser()
    if not path.is_file():
        names = ", ".join(fetch.WEIGHTS)
        raise WeightsUnavailable(
            f"GRAPH_AGENT_LOCAL_MODEL={settings.local_model} is no file; "
            f"give a path to a GGUF file, an OpenAI-compatible base URL, or one of: {names}"
        )
    return path


def chat_backend(settings: Settings) -> ChatBackend:
    """The model behind the chat endpoint: loaded here, or somebody else's OpenAI-compatible server."""
    if is_upstream(settings):
        from graph_agent.local.model.upstream import UpstreamModel

        return UpstreamModel(settings.local_model, model=settings.local_model_name, api_key=settings.local_api_key)
    from graph_agent.local.model.local_model import LocalModel

    path = model_path(settings)
    console.print(f"loading {path.name}")
    return LocalModel.open(path)


def embedder(settings: Settings) -> Embedder:
    """The embedding model, fetched if need be."""
    with downloading("embedding model") as progress:
        model, tokenizer = fetch.fetch_embedder(settings.cache_dir, progress=progress)
    return MiniLMEmbedder(model, tokenizer)


def project(settings: Settings) -> Path:
    """The project's folder: the one of `langgraph.json`."""
    return settings.config.resolve().parent


def project_documents(root: Path) -> list[Path]:
    """What of a project is indexed by itself."""
    names = DOCUMENTS if (root / DOCUMENTS[0]).is_dir() else DOCUMENTATION
    return [root / name for name in names if (root / name).exists()]


def own_index(settings: Settings) -> str:
    """Where documents go that are given no index by name: not among the project's documentation."""
    return settings.index if settings.index != DOCUMENTATION_INDEX else OWN_INDEX


def index_documents(
    paths: Paths, *, settings: Settings, embedder: Embedder, name: str, hidden: bool = False
) -> IndexReport:
    """Bring the index `name` in step with `paths`, with a progress bar and a summary of what changed."""
    path = index_file(settings.cache_dir, name, project(settings))
    with Index.open(path, embedder) as index, _bar("indexing", MofNCompleteColumn()) as bar:
        task = bar.add_task("indexing documents", total=None)
        report = index.sync(
            paths,
            lambda done: bar.update(
                task, completed=done.done, total=done.total, description=f"indexing {escape(done.uri)}"
            ),
            hidden=hidden,
        )
        documents, passages, was_older = len(index.files), len(index), index.was_older
    for line in summary(name, report, documents, passages, was_older=was_older):
        console.print(line, soft_wrap=True)
    return report


def index_documentation(settings: Settings, embedder: Embedder) -> None:
    """Index the project's own documents, unless its index holds other documents only."""
    root = project(settings)
    paths = project_documents(root)
    with Index.open(index_file(settings.cache_dir, DOCUMENTATION_INDEX, root), embedder) as index:
        known = index.files
    foreign = [path for path in known if not synchronization.is_under(path, paths)]
    if paths and (not known or len(foreign) < len(known)):
        index_documents(paths, settings=settings, embedder=embedder, name=DOCUMENTATION_INDEX)
    if foreign:
        console.print(
            f"[yellow]{DOCUMENTATION_INDEX} holds {len(foreign)} other documents beside the project's own[/yellow]: "
            f"give them an index of their own with graph-agent index --name main.shop.policy PATH",
            soft_wrap=True,
        )


@contextmanager
def downloading(what: str) -> Iterator[fetch.Progress]:
    """A progress bar of bytes that only shows once there is something to wait for."""
    with _bar(what, DownloadColumn()) as bar:
        tasks: list[int] = []

        def update(done: int, total: int) -> None:
            if not tasks:
                tasks.append(bar.add_task(f"fetching {what}", total=total))
            bar.update(tasks[0], completed=done, total=total)  # type: ignore[arg-type]

        yield update


def _bar(what: str, *columns: DownloadColumn | MofNCompleteColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        # A log file gets one line at the end, not ten a second.
        disable=False,
        transient=False,
        refresh_per_second=4 if sys.stderr.isatty() else 0.2,
    )


def summary(name: str, report: IndexReport, documents: int, passages: int, *, was_older: bool) -> Iterator[str]:
    """What an indexing did, line by line: every file that gave nothing, and what was left out by rule."""
    if was_older:
        yield f"index {name}: brought up from an older format; its documents are kept"
    counts = ", ".join(
        f"{len(files)} {what}"
        for what, files in (
            ("added", report.added),
            ("changed", report.changed),
            ("removed", report.removed),
            ("unchanged", report.unchanged),
        )
        if files
    )
    yield f"index {name}: {counts or 'no documents found'}; it holds {documents} documents in {passages} passages"
    for uri in report.removed[:MOST_TOLD]:
        yield f"[yellow]removed[/yellow]: {escape(uri)}"
    if len(report.removed) > MOST_TOLD:
        yield f"[yellow]removed[/yellow]: {len(report.removed) - MOST_TOLD} more"
    for file in report.unreadable:
        yield f"[yellow]not indexed[/yellow]: {escape(file.path)}: {escape(file.reason)}"
    for note in report.notes:
        yield f"[yellow]indexed in part[/yellow]: {escape(note.path)}: {escape(note.note)}"
    if report.skipped:
        yield f"left out: {', '.join(left_out(report.skipped))}"


def left_out(skipped: Skipped) -> Iterator[str]:
    hidden = [(skipped.hidden_folders, "hidden folders"), (skipped.hidden_files, "hidden files")]
    if told := " and ".join(f"{count} {what}" for count, what in hidden if count):
        yield f"{told} (--hidden reads them too)"
    if skipped.linked_folders:
        yield f"{skipped.linked_folders} links to folders (name the folders themselves to index them)"
    if skipped.suffixes:
        most = ", ".join(f"{suffix or 'no suffix'} {count}" for suffix, count in skipped.suffixes.most_common(5))
        yield f"{skipped.suffixes.total()} files of other kinds ({escape(most)})"
