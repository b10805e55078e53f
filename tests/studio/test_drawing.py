"""`graph-agent graph`: every graph drawn whole, without a network; and the README's picture is the flagship's."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.studio.conftest import PROJECT, ROOT

from graph_agent.commands.cli import main

EDGE = re.compile(r"^\t(\S+) (?:-->|-\.->|-\. .* \.->) (\S+);$", re.M)
NODE = re.compile(r"^\t(\w+)\(", re.M)
PICTURE = re.compile(r"<!-- picture of the assistant: begin -->\n(.*)<!-- picture of the assistant: end -->", re.S)


Draw = Callable[..., str]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Draw:
    """What `graph-agent graph` prints in the folder of the project."""
    monkeypatch.chdir(ROOT)

    def draw(*arguments: str) -> str:
        assert main(["graph", *arguments]) == 0
        return capsys.readouterr().out

    return draw


def graph_agent_graph(
    *arguments: str, folder: Path = ROOT, before: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """`graph-agent graph` as a process in `folder`; what is in `before` is imported in place of what is installed."""
    # Whoever tried the network would fail here.
    nowhere = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
    path = [str(one) for one in (before, ROOT / "src", os.environ.get("PYTHONPATH")) if one]
    environ = os.environ | nowhere | {"PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-W", "ignore", "-m", "graph_agent", "graph", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=environ)


@pytest.mark.parametrize("graph", PROJECT)
def test_every_node_of_a_graph_is_reached_and_left(drawn: Draw, graph: str) -> None:
    mermaid = drawn(graph)
    edges = EDGE.findall(mermaid)
    nodes = set(NODE.findall(mermaid))
    assert nodes > {"__start__", "__end__"}
    assert {begin for begin, _ in edges} == nodes - {"__end__"}
    assert {end for _, end in edges} == nodes - {"__start__"}


def test_a_look_inside_shows_the_nodes_of_agents(drawn: Draw, tmp_path: Path) -> None:
    file = tmp_path / "supervisor.mmd"
    assert drawn("supervisor", "--xray", "--output", str(file)) == ""
    assert re.findall(r"^\tsubgraph (\w+)$", file.read_text(), re.M) == ["documents", "data"]
    assert "planner" not in drawn("supervisor")


def test_the_readme_shows_the_flagship_as_it_is(drawn: Draw) -> None:
    shown = PICTURE.search((ROOT / "README.md").read_text())
    assert shown is not None
    assert shown[1] == f"```mermaid\n{drawn('assistant')}```\n"


def test_what_cannot_be_drawn_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    wrong = {
        ("nobody",): "graph-agent: no graph named 'nobody'; known: assistant, supervisor, starter, starter_search\n",
        ("assistant", "--format", "png"): "graph-agent: a PNG needs a file: pass --output FILE\n",
        ("starter", "--output", str(tmp_path)): f"graph-agent: {tmp_path} cannot be written (IsADirectoryError)\n",
    }
    for arguments, message in wrong.items():
        assert main(["graph", *arguments]) == 2
        assert capsys.readouterr() == ("", message)


def test_a_picture_needs_no_network_and_no_site(drawn: Draw, tmp_path: Path) -> None:
    ended = graph_agent_graph("assistant", "--format", "png", "--output", str(tmp_path / "assistant.png"))
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert (tmp_path / "assistant.png").read_bytes().startswith(b"\x89PNG")
    letters = drawn("assistant", "--format", "ascii")
    assert all(f"| {node} |" in letters for node in ("planner", "retriever", "tools"))


@pytest.mark.parametrize(("form", "package"), [("png", "pygraphviz"), ("ascii", "grandalf")])
def test_a_form_that_needs_a_package_names_it(tmp_path: Path, form: str, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise ImportError('no {package} here')\n")
    file = tmp_path / "drawing"
    ended = graph_agent_graph("starter", "--format", form, "--output", str(file), before=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        f"graph-agent: --format {form} needs the package {package}: run `pip install {package}`,"
    )
    assert not file.exists()


def test_a_graph_of_anybody_is_drawn_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "graph = StateGraph(MessagesState).add_node('say', lambda state: {}).add_edge(START, 'say')\n"
    )
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"mine": "./mine.py:graph"}}))
    ended = graph_agent_graph("mine", folder=tmp_path)
    assert EDGE.findall(ended.stdout) == [("__start__", "say"), ("say", "__end__")]
