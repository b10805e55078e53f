import signal
import subprocess
import sys
from pathlib import Path

from bench.processes import ROOT


def test_when_the_bench_is_gone_its_servers_are_killed_and_its_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "server.log").write_text("ready")
    # A server that would not go by itself: it waits for input that never comes.
    server = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True, stderr=subprocess.DEVNULL
    )
    guard = subprocess.Popen([sys.executable, str(ROOT / "bench" / "guard.py"), str(folder)], stdin=subprocess.PIPE)
    guard.communicate(b"%d\n" % server.pid, timeout=5)
    assert guard.returncode == 0
    assert server.wait(timeout=5) == -signal.SIGKILL
    assert not folder.exists()
    assert server.stdin is not None
    server.stdin.close()
