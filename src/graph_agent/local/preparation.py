"""Everything the local workspace stands on, fetched and indexed with progress shown."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graph_agent.errors import WeightsUnavailable
from graph_agent.local import index_sync, weights
from graph_agent.local.chat_routes import ChatBackend
from graph_agent.local.embedder import Embedder, MiniLMEmbedder
from graph_agent.local.index import Index
from graph_agent.local.index_sync import IndexReport
from graph_agent.settings import Settings

DOCUMENTATION = ("README.md", "docs")
"""What is indexed when nothing else is: the project's own documentation, beside `langgraph.json`."""

console = Console(stderr=True)


def index_path(settings: Settings) -> Path:
    """The file of the index `GRAPH_AGENT_INDEX` names."""
    return settings.cache_dir / "indexes" / f"{settings.index}.sqlite"


def is_upstream(settings: Settings) -> bool:
    """Whether the model is somebody else's OpenAI-compatible server."""
    return settings.local_weights.startswith(("http://", "https://"))


def model_path(settings: Settings) -> Path:
    """The GGUF file of `GRAPH_AGENT_LOCAL_WEIGHTS`, fetched if it is known weights that are not there yet.

    Raises:
        WeightsUnavailable: no such file and no such weights, or they could not be fetched.
    """
    known = weights.WEIGHTS.get(settings.local_weights)
    if known is not None:
        with downloading(f"model {known.name}") as progress:
            return weights.fetch_weights(known, settings.cache_dir, progress=progress, hub_url=settings.hub_url or None)
    path = Path(settings.local_weights).expanduser()
    if not path.is_file():
        names = ", ".join(weights.WEIGHTS)
        raise WeightsUnavailable(
            f"GRAPH_AGENT_LOCAL_WEIGHTS={settings.local_weights} is no file; "
            f"give a path to a GGUF file, an OpenAI-compatible base URL, or one of: {names}"
        )
    return path


def chat_backend(settings: Settings) -> ChatBackend:
    """The model behind the chat endpoint: loaded here, or somebody else's OpenAI-compatible server."""
    if is_upstream(settings):
        from graph_agent.local.upstream import UpstreamModel

        return UpstreamModel(settings.local_weights, model=settings.local_model_name, api_key=settings.local_api_key)
    from graph_agent.local.model import LocalModel

    path = model_path(settings)
    console.print(f"loading {path.name}")
    return LocalModel.open(path)


def embedder(settings: Settings) -> Embedder:
    """The embedding model, fetched if need be."""
    with downloading("embedding model") as progress:
        model, tokenizer = weights.fetch_embedder(settings.cache_dir, progress=progress)
    return MiniLMEmbedder(model, tokenizer)


def index_documents(paths: Sequence[Path], *, settings: Settings, embedder: Embedder) -> IndexReport:
    """Bring the index in step with `paths`, with a progress bar and a summary of what changed."""
    index_path(settings).parent.mkdir(parents=True, exist_ok=True)
    with Index.open(index_path(settings), embedder) as index, _bar("indexing", MofNCompleteColumn()) as bar:
        task = bar.add_task("indexing documents", total=None)
        report = index.sync(
            paths,
            lambda done: bar.update(task, completed=done.done, total=done.total, description=f"indexing {done.uri}"),
        )
    _summarise(report)
    return report


def index_documentation(settings: Settings, embedder: Embedder) -> None:
    """Index the project's own documentation, unless the index holds other documents only."""
    root = settings.config.resolve().parent
    paths = [root / name for name in DOCUMENTATION if (root / name).exists()]
    index_path(settings).parent.mkdir(parents=True, exist_ok=True)
    with Index.open(index_path(settings), embedder) as index:
        known = index.files
    ours = any(index_sync.is_under(path, paths) or Path(path) in paths for path in known)
    if paths and (ours or not known):
        index_documents(paths, settings=settings, embedder=embedder)


@contextmanager
def downloading(what: str) -> Iterator[weights.Progress]:
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


def _summarise(report: IndexReport) -> None:
    counts = ", ".join(
        f"{len(files)} {name}"
        for name, files in (
            ("added", report.added),
            ("changed", report.changed),
            ("removed", report.removed),
            ("unchanged", report.unchanged),
        )
        if files
    )
    console.print(f"index: {counts or 'no documents found'}")
    for file in report.unreadable:
        console.print(f"[yellow]not indexed[/yellow]: {file.path}: {file.reason}")
