"""A second Ctrl-C ends everything within two seconds, whenever it comes and whatever hangs; nothing is left behind."""

import signal
import sys
import time
from pathlib import Path

import pytest
from tests.starting.starts import ROOT, Start, project, starting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")

MOMENTS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.2, 3.2, 5.0)
"""Seconds after the start: the interpreter, our own imports, the child's start, the long import, the graphs."""

SECONDS = 2.0 + 6.0
"""Two, and what a busy machine takes to see it. What hangs would hang for good."""

HANGING = """
import sys, threading, time


class Hang:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            lock = threading.Lock()
            lock.acquire()
            print("hangs", flush=True)
            # As a wait for Python's import lock: no signal's handler runs meanwhile.
            while True:
                try:
                    lock.acquire()
                except BaseException:
                    pass


sys.meta_path.insert(0, Hang())
"""


def twice(start: Start) -> None:
    """Ctrl-C, and again."""
    start.interrupt()
    time.sleep(0.1)
    start.interrupt()


@pytest.mark.local_model
@pytest.mark.parametrize("moment", MOMENTS)
def test_twice_at_a_moment_of_dev(tmp_path: Path, moment: float) -> None:
    with starting(project(tmp_path), "dev") as start:
        time.sleep(moment)
        twice(start)
        assert start.gone(SECONDS), (start.left(), start.said)
        assert "_enter_buffered_busy" not in start.said


@pytest.mark.parametrize("moment", MOMENTS[:8:2])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_twice_at_a_moment_of_serve(tmp_path: Path, workers: str, moment: float) -> None:
    with starting(project(tmp_path), "serve", "--workers", workers) as start:
        time.sleep(moment)
        twice(start)
        assert start.gone(SECONDS), (start.left(), start.said)


@pytest.mark.local_model
@pytest.mark.parametrize("name", ["databricks_langchain", "mlflow"])
def test_twice_while_an_import_hangs_for_good(tmp_path: Path, name: str) -> None:
    (tmp_path / "hang").mkdir()
    (tmp_path / "hang" / "sitecustomize.py").write_text(HANGING.format(name=name))
    with starting(project(tmp_path), "dev", environ={"PYTHONPATH": f"{tmp_path / 'hang'}:{ROOT / 'src'}"}) as start:
        ends = time.monotonic() + 60
        while "hangs" not in start.said:
            assert time.monotonic() < ends, start.said
            time.sleep(0.05)
        twice(start)
        assert start.gone(SECONDS), (start.left(), start.said)


@pytest.mark.local_model
def test_a_question_takes_along_what_it_started(tmp_path: Path) -> None:
    with starting(project(tmp_path), "ask", "What now?") as start:
        ends = time.monotonic() + 60
        while len(start.left()) < 3:
            assert time.monotonic() < ends, start.said
            time.sleep(0.05)
        twice(start)
        assert start.gone(SECONDS), (start.left(), start.said)


@pytest.mark.local_model
def test_a_workspace_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with starting(project(tmp_path), "dev") as start:
        ends = time.monotonic() + 60
        while len(start.left()) < 2:
            assert time.monotonic() < ends, start.said
            time.sleep(0.05)
        start.process.send_signal(signal.SIGKILL)
        assert start.gone(SECONDS), (start.left(), start.said)
        assert "_enter_buffered_busy" not in start.said
