"""Follows a tutorial as a reader does: writes its files, runs its commands in one shell, and compares what they print.

The commands are the real ones, with a model that follows a script. A command that serves (`graph-agent dev` or `serve`)
runs on beside the others, as in a second terminal. Where the page starts one while another runs, the other is stopped
with Ctrl-C first. The page's ports stand for free ones of the machine.
"""

import ast
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import yaml
from tests.documentation.blocks import Block, Command, commands, difference, read_blocks

ROOT = Path(__file__).parents[2]
WEIGHTS = ("all-minilm-l6-v2-int8.onnx", "all-minilm-l6-v2-tokenizer.json", "use-multilingual-v3-int8.onnx")
PAGE_PORT = "8000"
SERVES = re.compile(r"graph-agent (?:dev|serve)\b")
END = "=== the command has ended ==="

LONGEST = 240.0
"""Seconds that a command may take, and a service until it has printed what the page shows."""


class WrongPage(AssertionError):
    """The page and the product differ. The message has the place in the page."""


def follow(page: Path, folder: Path, model_url: str, *, takes: Callable[[Block], bool] = lambda block: True) -> int:
    """Follow the page in a folder, and return the number of commands that were run. `takes` chooses the blocks.

    Raises:
        WrongPage: a command fails or prints something else than the page shows, or a block cannot be used.
    """
    blocks = read_blocks(page)
    with _shell(folder, model_url) as shell:
        return sum(_take(block, shell) for block in blocks if takes(block))


def _take(block: Block, shell: "Shell") -> int:
    if block.title:
        _must_parse(block)
        path = shell.folder() / block.title
        if not path.resolve().is_relative_to(shell.home):
            raise WrongPage(f"{block.place}: {block.title} is outside the reader's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shell.with_ports(block.text), encoding="utf-8")
        return 0
    if block.language not in ("bash", "console"):
        _must_parse(block)
        return 0
    found = commands(block)
    for command, after in pairwise([*found, None]):
        assert command is not None
        shell.run(command, may_fail=after is not None and after.text == "echo $?")
    return len(found)


READERS: Mapping[str, Callable[[str], object]] = {
    "python": ast.parse,
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "text": str,
    "markdown": str,
    "jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
}


def _must_parse(block: Block) -> None:
    reader = READERS.get(block.language)
    if reader is None:
        raise WrongPage(
            f"{block.place}: a block of {block.language or 'no language'}; use one of: {', '.join(READERS)}"
        )
    try:
        reader(block.text)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        raise WrongPage(f"{block.place}: this is not {block.language}: {error}") from error


@contextmanager
def _shell(folder: Path, model_url: str) -> Iterator["Shell"]:
    shell = Shell(folder, model_url)
    try:
        yield shell
    finally:
        shell.close()


class Shell:
    """The reader's terminals: one shell, and one service beside it."""

    def __init__(self, home: Path, model_url: str) -> None:
        self.home = home.resolve()
        self._ports = {PAGE_PORT: str(_free_port())}
        self._status = 0
        self._service: subprocess.Popen[bytes] | None = None
        # Beside the folder, which is empty as the reader's is.
        self._aside = home.parent / "aside"
        self._log = self._aside / "service.log"
        cache = self._aside / "cache"
        cache.mkdir(parents=True)
        self._link_weights(cache)
        # An answer that is an error is a failed command, also where the page shows no output.
        (self._aside / ".curlrc").write_text("fail-with-body\n")
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=home,
            env=self._environment(cache, model_url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _environment(self, cache: Path, model_url: str) -> dict[str, str]:
        ours = ("GRAPH_AGENT_", "DATABRICKS_", "BUNDLE_VAR_", "MLFLOW_", "PYTHON", "GIT_", "PYTEST_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return environment | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
            "HOME": str(self._aside),
            "COLUMNS": "120",
            "GRAPH_AGENT_CACHE_DIR": str(cache),
            "GRAPH_AGENT_LOCAL_MODEL": model_url,
            "GRAPH_AGENT_PORT": self._ports[PAGE_PORT],
            "GRAPH_AGENT_WORKSPACE_PORT": str(_free_port()),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # No page shows a trace. To make the file of traces takes a third of the time of each start.
            "GRAPH_AGENT_TRACING": "off",
            # Plugins that this environment has for other tests, and a reader has not.
            "PYTEST_ADDOPTS": "-p no:langsmith_plugin -p no:schemathesis",
            "GIT_AUTHOR_NAME": "Reader",
            "GIT_AUTHOR_EMAIL": "reader@example.com",
            "GIT_COMMITTER_NAME": "Reader",
            "GIT_COMMITTER_EMAIL": "reader@example.com",
        }

    @staticmethod
    def _link_weights(cache: Path) -> None:
        """Take the embedding model of this machine's cache. Without it, the first service downloads it."""
        own = os.environ.get("GRAPH_AGENT_CACHE_DIR")
        kept = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graph-agent"
        for name in WEIGHTS:
            for path in (kept / name, kept / f"{name}.verified"):
                if path.is_file():
                    (cache / path.name).symlink_to(path)

    def with_ports(self, text: str) -> str:
        """The page's text with the ports that are used here."""
        for shown, used in self._ports.items():
            text = re.sub(rf"(?<=:){shown}\b", used, text)
        return text

    def folder(self) -> Path:
        """The folder that the reader is in."""
        return Path("\n".join(self._ask("pwd")))

    def run(self, command: Command, *, may_fail: bool) -> None:
        """Run the command, and compare what it prints with what the page shows."""
        if SERVES.match(command.text):
            self._serve(command)
            return
        printed = self._ask(self.with_ports(command.text))
        if command.output is not None and (found := difference(command.output, printed)) is not None:
            raise WrongPage(
                f"{command.place}: {command.text}\n{found}\n\nIt printed:\n{_joined(printed)}{self._told()}"
            )
        if self._status != 0 and not may_fail:
            raise WrongPage(
                f"{command.place}: {command.text}\nexit status {self._status}\n\n{_joined(printed)}{self._told()}"
            )

    def _ask(self, text: str) -> list[str]:
        """What the command prints, with the page's ports. Its exit status is kept for the next command."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        script = f"(exit {self._status})\n{{ {text}\n}} </dev/null\nprintf '\\n{END} %d\\n' $?\n"
        self._shell.stdin.write(script.encode())
        self._shell.stdin.flush()
        lines: list[str] = []
        # A command that hangs is ended by pytest, which prints where the page was.
        for line in self._shell.stdout:
            told = line.decode().rstrip("\n")
            if told.startswith(END):
                self._status = int(told.removeprefix(END))
                return self._as_shown(lines)
            lines.append(told)
        raise WrongPage(f"the shell has ended: {text}\n{_joined(lines)}")

    def _as_shown(self, lines: list[str]) -> list[str]:
        for shown, used in self._ports.items():
            lines = [re.sub(rf"(?<=:){used}\b", shown, line) for line in lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _serve(self, command: Command) -> None:
        self._stop()
        environment = dict(one.split("=", 1) for one in "\n".join(self._ask("env -0")).split("\0") if "=" in one)
        with self._log.open("wb") as log:
            self._service = subprocess.Popen(
                shlex.split(self.with_ports(command.text)),
                cwd=self.folder(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        shown = command.output or ("…",)
        ends = time.monotonic() + LONGEST
        while (found := difference(shown, printed := self._logged())) is not None or not self._ready(environment):
            if self._service.poll() is not None or time.monotonic() > ends:
                raise WrongPage(f"{command.place}: {command.text}\n{found}\n\nIt printed:\n{_joined(printed)}")
            time.sleep(0.3)

    def _ready(self, environment: Mapping[str, str]) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", int(environment["GRAPH_AGENT_PORT"])), timeout=5).close()
            return True
        return False

    def _logged(self) -> list[str]:
        return self._as_shown(self._log.read_text(encoding="utf-8", errors="replace").splitlines())

    def _told(self) -> str:
        return f"\n\nThe service printed:\n{_joined(self._logged())}" if self._service is not None else ""

    def _stop(self) -> None:
        """Press Ctrl-C, and wait until the service has ended."""
        if self._service is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._service.pid, signal.SIGINT)
        try:
            self._service.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._service.pid, signal.SIGKILL)
            self._service.wait()
        self._service = None

    def close(self) -> None:
        """End both terminals."""
        self._stop()
        # With what a command has left running.
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _joined(lines: list[str]) -> str:
    return "\n".join(lines)
