"""`graph-agent index` and `graph-agent workspace` as processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from graph_agent.commands.cli import main


def test_an_empty_path_is_refused_and_not_taken_for_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "docs", ""]) == 2
    assert "a path is empty; to index the current folder, write ." in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["", "policy", "shop.policy", "a.b.c.d", "main.shop.po/licy", "main..policy", "../a.b"]
)
def test_a_name_that_is_none_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "--name", name, "docs"]) == 2
    assert "catalog.schema.index" in capsys.readouterr().err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("GRAPH_AGENT_", "DATABRICKS_"))}
    cache = Path(os.environ.get("GRAPH_AGENT_CACHE_DIR") or Path.home() / ".cache" / "graph-agent")
    own = tmp_path / "cache"
    own.mkdir()
    for file in [*cache.glob("all-minilm*"), *cache.glob("use-multilingual*")]:
        (own / file.name).symlink_to(file)
    return {
        **bare,
        "GRAPH_AGENT_CACHE_DIR": str(own),
        "GRAPH_AGENT_WORKSPACE_PORT": str(free_port()),
        # Somebody else's model, so that none is loaded.
        "GRAPH_AGENT_LOCAL_MODEL": "http://127.0.0.1:9/v1",
    }


@pytest.mark.local_model
def test_a_workspace_without_an_input_keeps_running(environment: Mapping[str, str], tmp_path: Path) -> None:
    from graph_agent.local.ports import answers

    command = [sys.executable, "-m", "graph_agent", "workspace"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path
    )
    try:
        # Its own word that it is up: whoever starts it reads the credentials first.
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"export DATABRICKS_CLIENT_ID=")
        while not answers(int(environment["GRAPH_AGENT_WORKSPACE_PORT"])):
            assert process.poll() is None, process.communicate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
    finally:
        process.terminate()
        process.communicate()
