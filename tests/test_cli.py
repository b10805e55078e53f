"""The `graph-agent` command line: the list of commands, and the help of each."""

import argparse
from importlib import import_module

import pytest

from graph_agent.commands.cli import COMMANDS, main


def test_without_arguments_every_command_is_listed_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    listed = err.split("commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert max(map(len, listed)) <= 80
    assert "graph-agent COMMAND --help" in err


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"eval"}))
def test_the_help_of_a_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{COMMANDS[name].help[1:]}." in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_has_a_help_text(name: str) -> None:
    parser = argparse.ArgumentParser()
    import_module(f"graph_agent.commands.{COMMANDS[name].module}").add_arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == []
