"""The page of the benchmark, which shows answers without a service: built from `page/bench`, served on loopback."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from graph_agent.serving.page_headers import PAGE

SOURCES = Path(__file__).parents[2] / "page"


class BuildBroken(Exception):
    """The page was not built. The message says why."""


def build(folder: Path) -> None:
    """Build the page of the benchmark into `folder`.

    Raises:
        BuildBroken: there is no Node.js, or the build failed.
    """
    _run(["./npm", "exec", "--", "vite", "build", "--config", "bench/vite.config.ts", "--outDir", str(folder)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildBroken(f"the page of the benchmark was not built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of `folder` with the headers of the chat page, and give the address."""

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest, directory=str(folder))

        def end_headers(self) -> None:
            for name, value in PAGE.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
