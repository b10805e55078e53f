"""Makes the local file of traces whole or not at all."""

import fcntl
import os
import shutil
from pathlib import Path

from graph_agent.private_files import make_private

OWN_DATABASE = "traces.db"
"""The name of the service's own file of traces. Only its owner may read it."""

ARTIFACTS = "./mlruns"
"""Where the default experiment of a new file keeps artifacts, as in each file that MLflow makes. Traces have none."""


def make_database(path: Path) -> None:
    """Make MLflow's tables in a new SQLite file that only its owner may read. A file with content stays as it is.

    MLflow makes its tables in many steps, which take seconds. A process that ends between them would leave a file that
    no process can open again. So the file is made in a folder beside it, and moved when it is complete.

    Raises:
        OSError: the folder cannot be written.
        MlflowException: MLflow cannot make its tables.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _has_content(path):
        # An existing file with another name may be shared on purpose, so its permissions stay as they are.
        if path.name == OWN_DATABASE:
            make_private(path)
        return
    folder = path.with_name(f"{path.name}.new")
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        # Another process of the service may be making the file. If it dies, the system gives the lock on.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _has_content(path):
            _make(folder / path.name)
            # A program that knows nothing of this lock may have made it meanwhile.
            if not _has_content(path):
                (folder / path.name).replace(path)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _make(path: Path) -> None:
    # Late: it takes seconds, and only a new file needs it.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in path.parent.iterdir():
        left.unlink()
    make_private(path)
    store = SqlAlchemyStore(f"sqlite:///{path}", ARTIFACTS)  # type: ignore[no-untyped-call]
    # All connections, because SQLite knows its files by their names.
    store.engine.dispose()
