"""The skills for coding assistants: their form, their commands through the real parsers, and some of them followed in a
project as `graph-agent init` writes it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import yaml
from tests.documentation import examples
from tests.documentation.blocks import Block, read_blocks
from tests.documentation.examples import Caller, WrongPage
from tests.documentation.following import ROOT
from tests.documentation.scripted_model import Answers

from graph_agent import Settings, create_app
from graph_agent.commands.init import init
from graph_agent.testing import Call, on_loopback

SKILLS = ROOT / ".claude" / "skills"
NAMES = sorted(one.name for one in SKILLS.iterdir())
PAGES = sorted(SKILLS.glob("*/*.md"))

FIELDS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
"""What the front matter may have: https://agentskills.io/specification."""

ANSWERS: Mapping[str, Answers] = {
    "run-locally": {
        "What can you help me with?": [Call("search_docs", {"query": "help"}), "With returns and deliveries. [1]"]
    },
    "write-a-graph": {"What is a database?": ["A big toy box with labels."]},
    "add-a-tool": {
        "Where is order A1001?": [Call("order_status", {"order": "A1001"}), "It was sent on 3 May."],
    },
    "add-an-index": {
        "How long is a gift card valid?": [
            Call("search_docs", {"query": "validity of a gift card"}),
            "For three years. [1]",
        ]
    },
    "add-an-mcp-server": {
        "What is 48 times 17?": [Call("main__tools__calculator", {"expression": "48 * 17"}), "It is 816."]
    },
    "add-a-lakebase-store": {},
    "evaluate": {},
    "debug-a-run": {"What can you do?": [Call("search_docs", {"query": "help"}), "I know about returns. [1]"]},
    "deploy": {},
    "migrate-from-a-template": {"What can you help me with?": ["With opening hours."]},
}
"""What the model answers to the questions of a skill."""


def takes(block: Block) -> bool:
    """Whether a block is followed here. Those of `bash` have values of the reader, such as the name of a workspace."""
    return bool(block.title) or block.language == "console"


def prepared(folder: Path, name: str) -> tuple[Path, Path]:
    """The folder in which the skill begins, and its page."""
    project = folder / "project"
    if name != "migrate-from-a-template":
        init(project)
        return project, project / ".claude" / "skills" / name / "SKILL.md"
    project.mkdir()
    for block in read_blocks(ROOT / "docs" / "coming-from" / "app-templates.md"):
        if block.title.startswith("old/"):
            path = folder / "app-templates" / "agent-langgraph" / block.title.removeprefix("old/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return project, SKILLS / name / "SKILL.md"


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
