"""What a message advises works where the package is installed: it names nothing that only a checkout has."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from graph_agent.commands.cli import main
from graph_agent.local import packages

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "graph_agent"

ONLY_A_CHECKOUT_HAS = re.compile(
    r"\bmake (?:setup|dev|studio|traces|test|check|lint|types|bench|batch|eval|eval-baseline|lock|deploy|clean)\b"
    r"|docs/\w+\.md|requirements-\w+\.txt|pip install (?:-e|--editable)"
)


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """The texts of a module that are no docstrings, those in f-strings included."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


def test_no_text_names_what_only_a_checkout_has() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{text.lineno}: {text.value}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if ONLY_A_CHECKOUT_HAS.search(str(text.value))
    ]
    assert found == []


def test_the_packages_that_are_looked_for_are_those_of_the_extra() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    # The ones with a marker are not for every Python, and the product works without them.
    always = [one for one in extras["local"] if ";" not in one]
    named = {re.split("[=<>]", one)[0].removesuffix("-py").replace("-", "_") for one in always}
    assert set(packages.PACKAGES) == named
    assert packages.missing_packages() == []


@pytest.mark.parametrize("command", [["workspace"], ["dev"], ["index", "."], ["model"]])
def test_without_the_extra_every_command_of_the_laptop_says_how_to_install_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "PACKAGES", ("rich", "no_such_package"))
    monkeypatch.setenv("GRAPH_AGENT_PORT", "0")
    monkeypatch.setenv("GRAPH_AGENT_WORKSPACE_PORT", "0")
    main(["init", str(tmp_path / "shop")])
    monkeypatch.chdir(tmp_path / "shop")
    told = f"the local workspace needs no_such_package; install them: {packages.INSTALL}"
    if command == ["dev"]:
        from graph_agent.errors import LocalWorkspaceError
        from graph_agent.local.workspace_process import LocalWorkspace
        from graph_agent.settings import Settings

        # `dev` ends the process itself.
        with (
            pytest.raises(LocalWorkspaceError, match=r"pip install 'FOLDER\[local\]'"),
            LocalWorkspace(Settings()),
        ):
            pass
    else:
        assert main(command) == 2
        assert told in capsys.readouterr().err
