"""An import in a thread, beside whatever takes a lock and imports, holds up no start."""

import sys
from pathlib import Path

import pytest
from tests.starting.starts import ROOT, project, starting

OVERLAP = {"PYTHONPATH": f"{Path(__file__).parent / 'overlap'}:{ROOT / 'src'}"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")


@pytest.mark.local_model
def test_dev_starts_although_a_thread_imports_while_logging_is_configured(tmp_path: Path) -> None:
    with starting(project(tmp_path), "dev", environ=OVERLAP) as start:
        assert start.ready(), start.said
        assert "overlap forced" in start.said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_answers_while_a_thread_holds_the_import_lock(tmp_path: Path, workers: str) -> None:
    with starting(project(tmp_path), "serve", "--workers", workers, environ=OVERLAP) as start:
        assert start.ready(), start.said
        assert "overlap forced" in start.said
