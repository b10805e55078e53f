"""The skills for coding assistants: their form, their commands through the real parsers, and what they write in a
project of `graph-agent init`."""

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from tests.documentation import examples
from tests.documentation.blocks import commands, difference, read_blocks
from tests.documentation.examples import Caller, WrongPage
from tests.documentation.following import ROOT, follow
from tests.documentation.scripted_model import Answers, scripted_model

from graph_agent import Settings, create_app
from graph_agent.commands.cli import main
from graph_agent.commands.init import init
from graph_agent.testing import Call, on_loopback

SKILLS = ROOT / ".claude" / "skills"
NAMES = sorted(one.name for one in SKILLS.iterdir())
PAGES = sorted(SKILLS.glob("*/*.md"))

FIELDS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
"""What the front matter may have: https://agentskills.io/specification."""

ANSWERS: Answers = {"What can you do?": [Call("search_docs", {"query": "help"}), "I know about returns. [1]"]}
"""What the model answers to the question of `debug-a-run`."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with on_loopback(create_app(Settings(tracing="off", store="memory"), examples.graphs(), environ={})) as url:
        yield url


def place(page: Path) -> str:
    return f"{page.parent.name}/{page.name}"


def test_the_skills_are_those_that_a_project_gets(tmp_path: Path) -> None:
    init(tmp_path / "project")
    given = tmp_path / "project" / ".claude" / "skills"
    assert [one.name for one in sorted(given.iterdir())] == NAMES
    assert len(NAMES) >= 10
    for page in PAGES:
        assert (given / page.relative_to(SKILLS)).read_text() == page.read_text().replace("my-agent", "project")


@pytest.mark.parametrize("name", NAMES)
def test_the_front_matter_says_when_to_use_a_skill(name: str) -> None:
    text = (SKILLS / name / "SKILL.md").read_text(encoding="utf-8")
    begin, front, body = text.split("---\n", 2)
    given = yaml.safe_load(front)
    assert begin == ""
    assert set(given) <= FIELDS
    assert given["name"] == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= 64
    assert " Use when " in given["description"] or " Use after " in given["description"]
    assert len(given["description"]) <= 1024
    assert len(body.splitlines()) < 200
    assert "\nDone when " in body


@pytest.mark.parametrize("folder", [ROOT, ROOT / "src" / "graph_agent" / "project_template"], ids=lambda one: one.name)
def test_the_instructions_for_agents_name_every_skill_on_one_page(folder: Path) -> None:
    text = (folder / "AGENTS.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in text] == []
    assert len(text.splitlines()) <= 50


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_links_and_names_of_other_skills_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        assert (page.parent / link).is_file(), link
    docs = [one.rstrip("/") for one in re.findall(r"<http://127\.0\.0\.1:8000/docs/([^>]*)>", text) if one]
    assert [one for one in docs if not (ROOT / "docs" / f"{one}.md").is_file()] == []
    assert set(re.findall(r"\bskill ([a-z]+-[a-z-]+)", text)) <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_blocks_can_be_read_and_commands_are_accepted(page: Path, service: str) -> None:
    with httpx.Client(timeout=60) as client:
        caller = Caller(service, client)
        for block in read_blocks(page):
            examples.check_form(block)
            if block.language in ("bash", "console"):
                assert caller.take(block) > 0
            elif block.language == "python":
                examples.check_imports(block)


def test_a_wrong_path_in_a_skill_is_found(tmp_path: Path, service: str) -> None:
    (tmp_path / "SKILL.md").write_text("```bash\npython .claude/skills/write-a-graph/add_graphs.py\n```\n")
    [block] = read_blocks(tmp_path / "SKILL.md")
    with httpx.Client() as client, pytest.raises(WrongPage, match="there is no"):
        Caller(service, client).take(block)


def test_what_the_skills_write_works_in_one_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their files, the graphs that they add, and the tests that they write, without a process."""
    init(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    added = []
    for block in [block for name in NAMES for block in read_blocks(Path(f".claude/skills/{name}/SKILL.md"))]:
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        for command in commands(block) if block.language == "console" else ():
            words = shlex.split(command.text)
            if words[1:2] == [".claude/skills/write-a-graph/add_graph.py"]:
                added.append(words[2])
                monkeypatch.setattr(sys, "argv", words[1:])
                with pytest.raises(SystemExit, match=r"^0$"):
                    runpy.run_path(words[1], run_name="__main__")
            elif words[:2] == ["graph-agent", "graph"]:
                assert main(words[1:]) == 0
            else:
                continue
            assert command.output is not None
            assert difference(command.output, capsys.readouterr().out.splitlines()) is None, command.place
    assert list(json.loads(Path("langgraph.json").read_text())["graphs"]) == ["agent", *added]
    for name in added:
        assert main(["graph", name]) == 0
    written = sorted(str(one) for one in Path("tests").glob("test_*.py"))
    assert len(written) >= 3
    plugins = ("cacheprovider", "xdist", "langsmith_plugin", "schemathesis")
    assert pytest.main(["-q", "-c", "pyproject.toml", *(f"-pno:{one}" for one in plugins), *written]) == 0


def test_the_spans_of_a_run_are_shown_as_the_skill_says(tmp_path: Path) -> None:
    """This one is followed whole, because its script reads what the service writes."""
    init(tmp_path / "project")
    page = tmp_path / "project" / ".claude" / "skills" / "debug-a-run" / "SKILL.md"
    with scripted_model(ANSWERS) as url:
        assert follow(page, tmp_path / "project", url, takes=lambda block: block.language == "console") == 5
