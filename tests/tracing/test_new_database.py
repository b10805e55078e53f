"""The local file of traces while it is made: by a process that dies, and by several at once."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

MAKE = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from graph_agent.tracing.mlflow_store import MlflowStore

dies_at = sys.argv[2]


@event.listens_for(Engine, "after_cursor_execute")
def executed(connection, cursor, statement, *more):
    if dies_at and statement.lstrip().startswith(dies_at):
        os.kill(os.getpid(), signal.SIGKILL)


MlflowStore(f"sqlite:///{sys.argv[1]}", experiment="tests", experiment_id=None)
"""


def making(path: Path, dies_at: str = "") -> subprocess.Popen[bytes]:
    environ = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-W", "ignore", "-c", MAKE, str(path), dies_at]
    # MLflow makes a folder for artifacts where it is.
    return subprocess.Popen(command, env=environ, cwd=path.parent.parent)


def test_processes_that_start_after_one_died_while_it_made_the_file_make_it_once(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "traces.db"
    path.parent.mkdir()
    # MLflow cannot go on with a file that has such a table.
    assert making(path, "CREATE TABLE _alembic_tmp_").wait(120) == -signal.SIGKILL
    assert not path.exists()
    assert [one.wait(120) for one in [making(path), making(path)]] == [0, 0]
    with sqlite3.connect(path) as connection:
        assert ("tests",) in connection.execute("SELECT name FROM experiments").fetchall()
    assert path.stat().st_mode & 0o077 == 0
    assert [one.name for one in path.parent.iterdir()] == [path.name]
