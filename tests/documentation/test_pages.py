"""The examples of the README and of the pages that are no tutorials: they are what the product takes, and they run."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.documentation import examples
from tests.documentation.blocks import Block, read_blocks
from tests.documentation.examples import Caller, WrongPage
from tests.documentation.following import ROOT

from graph_agent import Settings, create_app
from graph_agent.serving.static_files import KINDS
from graph_agent.testing import FakeWorkspace, on_loopback

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    ("docs/studio.md", "get_sync_client"): "asks Studio's server, which has an environment of its own: tests/studio",
    ("docs/testing.md", "test_the_service_streams"): "is a test of a project: tests/testing/test_docs.py runs it there",
    ("docs/mlflow.md", "mlflow.pyfunc.load_model"): "loads a registered model: tests/test_model_package.py",
    ("docs/memory.md", "client.delete_traces"): "deletes traces of a workspace: tests/serving/test_memories.py runs it",
    (
        "docs/embedding.md",
        "dictConfig",
    ): "would replace the log of the process of the tests: tests/serving/test_logs.py",
}
"""Python that is compiled and imported, and not run: the page, a word of the block, and the reason."""


def blocks(*languages: str) -> list[Block]:
    return [one for page in PAGES for one in read_blocks(page) if not languages or one.language in languages]


def place(block: object) -> str:
    assert isinstance(block, Block)
    return str(block.page.relative_to(ROOT)) + f":{block.line}"


def reason_not_to_run(block: Block) -> str | None:
    name = str(block.page.relative_to(ROOT))
    return next((why for (page, word), why in NOT_RUN.items() if page == name and word in block.text), None)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with scripted graphs, and with the webhooks of the page about them."""
    folder = tmp_path_factory.mktemp("service")
    [webhooks] = [one.text for one in read_blocks(ROOT / "docs" / "webhooks.md") if one.language == "toml"]
    # No example may reach another machine.
    (folder / "webhooks.toml").write_text(webhooks.replace("https://example.com", "http://127.0.0.1:9"))
    settings = Settings(tracing="off", store="memory", model="databricks:a-model", webhooks=folder / "webhooks.toml")
    with FakeWorkspace() as workspace:
        environ = {"BILLING_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4, **workspace.environment()}
        with on_loopback(create_app(settings, examples.graphs(), environ=environ)) as url:
            yield url


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of a project with one graph, and a workspace for its models."""
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"assistant": "./graph.py:graph"}}))
    (tmp_path / "graph.py").write_text(
        "from tests.documentation.examples import echo, graph_of\n\ngraph = graph_of(echo)\n"
    )
    monkeypatch.chdir(tmp_path)
    with FakeWorkspace() as workspace:
        given = {"GRAPH_AGENT_MODEL": "databricks:a-model", "GRAPH_AGENT_TRACING": "off", "OPENAI_API_KEY": "none"}
        for name, value in {**workspace.environment(), **given, "GRAPH_AGENT_STORE": "memory"}.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((ROOT / "docs").glob("coming-from/*.md"))], ids=lambda page: page.stem
)
def test_every_block_can_be_read_and_names_only_settings_that_there_are(page: Path) -> None:
    for block in read_blocks(page):
        examples.check_form(block)


@pytest.mark.parametrize("block", blocks("python"), ids=place)
def test_python_runs(block: Block, service: str, project: None) -> None:
    examples.check_imports(block)
    if reason_not_to_run(block) is None:
        examples.run_python(block, service)


def test_what_is_not_run_is_there() -> None:
    found = {
        (str(one.page.relative_to(ROOT)), word) for one in blocks("python") for _, word in NOT_RUN if word in one.text
    }
    assert found == set(NOT_RUN)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_requests_are_accepted(page: Path, service: str) -> None:
    with httpx.Client(timeout=60) as client:
        caller = Caller(service, client)
        for block in read_blocks(page):
            if block.language in ("bash", "sh", "console"):
                assert caller.take(block) > 0
            elif block.language in ("", "text"):
                caller.take_plain(block)


MISTAKES = {
    "a wrong field": ("```bash\ncurl localhost:8000/responses -d '{\"inputs\": 1}'\n```", "inputs"),
    "a wrong address": ("```sh\ncurl -s localhost:8000/answers\n```", "no such address"),
    "a wrong body": ("```bash\ncurl localhost:8000/responses -H 'content-type: application/json' -d '{'\n```", "400"),
    "a wrong graph": (
        "```bash\ncurl localhost:8000/v1/responses -H 'content-type: application/json' "
        '-d \'{"model": "none", "input": "Hi"}\'\n```',
        "unknown_graph",
    ),
    "another host": ("```bash\ncurl http://example.com/responses\n```", "is not the service"),
    "a wrong flag": ('```bash\ngraph-agent ask --grph mine "Hello"\n```', "the parser refuses it"),
    "a wrong flag of the evaluation": ("```bash\ngraph-agent eval --row 1 --unknown\n```", "the parser refuses it"),
    "a wrong command": ("```bash\ngraph-agent asks\n```", "no command 'asks'"),
    "a wrong script": ("```bash\npython scripts/namess.py install\n```", "there is no scripts/namess.py"),
    "a wrong name of the templates": ("```bash\nuv run start-apps\n```", "have no start-apps"),
    "a wrong flag of such a name": ("```bash\nuv run --env-file .env start-app --prt 1\n```", "the parser refuses it"),
    "a wrong target": ("```bash\nmake develop\n```", "no target develop"),
    "a wrong variable": ("```bash\nmake deploy DRYRUN=1\n```", "does not use DRYRUN"),
    "an unset variable": ("```bash\ncurl $SERVICE/health\n```", "$SERVICE is not set"),
    "an unknown program": ("```bash\nwget localhost:8000\n```", "nothing checks commands of wget"),
    "a wrong import": ("```python\nfrom graph_agent import make_plan\n```", "graph_agent has no make_plan"),
    "a wrong module": ("```python\nimport graph_agents\n```", "graph_agents has no module"),
    "a wrong argument": ('```python\nDocumentSearch(indx="a.b.c")\n```', "TypeError"),
    "a wrong name": ("```python\nbuilder.add_nodes(1)\n```", "AttributeError"),
    "wrong Python": ("```python\ndef :\n```", "this is not python"),
    "wrong JSON": ('```json\n{"a": }\n```', "this is not json"),
    "wrong TOML": ("```toml\na = \n```", "this is not toml"),
    "a wrong setting": ("```bash\nexport GRAPH_AGENT_PROT=1\n```", "no setting GRAPH_AGENT_PROT"),
    "an unknown language": ("```pyhton\n1\n```", "blocks of pyhton are not known"),
    "a wrong route": ("```text\nPOST /responses/{id}/stop\n```", "not_found"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_page_is_found(mistake: str, tmp_path: Path, service: str, project: None) -> None:
    text, told = MISTAKES[mistake]
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    [block] = read_blocks(tmp_path / "page.md")
    with pytest.raises(WrongPage, match=r"page\.md:") as wrong:
        check(block, service)
    assert told in str(wrong.value)


def check(block: Block, service: str) -> None:
    examples.check_form(block)
    if block.language == "python":
        examples.check_imports(block)
        examples.run_python(block, service)
        return
    with httpx.Client(timeout=60) as client:
        caller = Caller(service, client)
        if block.language == "text":
            caller.take_plain(block)
        else:
            caller.take(block)


LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_every_file_of_the_documentation_is_of_a_kind_that_the_service_serves() -> None:
    kinds = {one.suffix for one in (ROOT / "docs").rglob("*") if one.is_file()}
    assert kinds - {".md"} <= set(KINDS)


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """Those of the other pages are checked when the site is built."""
    text = re.sub(r"^```.*?^```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        if "://" not in path:
            page = ROOT / (path or "README.md")
            assert page.exists(), link
            assert not anchor or anchor in _anchors(page), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
