"""`langgraph.json` and the graphs it names, as strangers write them."""

import asyncio
import itertools
import json
import logging
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.messages import HumanMessage

from graph_agent.catalog.cards import GraphCard
from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import GraphSpec, read_manifest
from graph_agent.errors import GraphNotLoaded, NotReady, UnknownGraph

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2"

BUILDER = """
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


def says(text):
    def answer(state):
        return {"messages": [AIMessage(text)]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder

"""

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes graph files and a `langgraph.json` that names `graph` of each; its path."""

    def write(dependencies: list[str] | None = None, **files: str) -> Path:
        for name, body in files.items():
            (tmp_path / f"{name}.py").write_text(BUILDER + textwrap.dedent(body))
        graphs = {name: f"./{name}.py:graph" for name in files}
        manifest = tmp_path / "langgraph.json"
        manifest.write_text(json.dumps({"graphs": graphs, "dependencies": dependencies or ["."]}))
        return manifest

    return write


async def catalog(manifest: Path, /, **options: Any) -> Catalog:
    opened = Catalog(read_manifest(manifest), **options)
    await opened.open()
    return opened


async def said(catalog: Catalog, name: str | None = None) -> str:
    graph = await catalog.get(name)
    state = await graph.ainvoke({"messages": [HumanMessage("?")]})
    return str(state["messages"][-1].text)


# -- what a variable may be -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        'graph = says("hello").compile()',
        'graph = says("hello")',
        """
        def graph():
            return says("hello").compile()
        """,
        """
        def graph():
            return says("hello")
        """,
        """
        async def graph():
            return says("hello").compile()
        """,
        """
        def graph(config):
            assert config["configurable"] == {}
            return says("hello").compile()
        """,
        """
        def graph(config=None, *, deep=True, **more):
            return says("hello").compile()
        """,
        """
        from contextlib import contextmanager

        @contextmanager
        def graph():
            yield says("hello").compile()
        """,
        """
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def graph(config):
            yield says("hello")
        """,
        """
        class Factory:
            def __call__(self):
                return says("hello").compile()

        graph = Factory()
        """,
    ],
    ids=[
        "compiled", "builder", "function", "builder-function", "async-function", "with-config", "with-defaults",
        "context-manager", "async-context-manager", "object",
    ],
)  # fmt: skip
async def test_every_way_to_name_a_graph_is_served(folder: Folder, body: str) -> None:
    opened = await catalog(folder(mine=body))
    assert await said(opened) == "hello"
    await opened.aclose()


async def test_a_context_manager_is_left_by_the_task_that_entered_it(folder: Folder, tmp_path: Path) -> None:
    """Clients of tool servers hold task groups, which refuse to be left by another task."""
    body = f"""
        from contextlib import asynccontextmanager
        from pathlib import Path
        import anyio

        @asynccontextmanager
        async def graph():
            async with anyio.create_task_group():
                yield says("hello").compile()
            Path({str(tmp_path / "left")!r}).touch()
    """
    opened = Catalog(read_manifest(folder(mine=body)))
    await asyncio.create_task(opened.open())
    assert await said(opened) == "hello"
    await asyncio.create_task(opened.aclose())
    assert (tmp_path / "left").exists()


async def test_a_manifest_may_describe_its_graphs(tmp_path: Path) -> None:
    manifest = tmp_path / "langgraph.json"
    manifest.write_text(
        json.dumps({"graphs": {"a": {"path": "./a.py:graph", "description": "Does a."}, "b": "sub/b.py:make"}})
    )
    card = GraphCard(description="Does a.")
    assert read_manifest(manifest) == [
        GraphSpec(name="a", path=tmp_path / "a.py", variable="graph", card=card, folders=()),
        GraphSpec(name="b", path=tmp_path / "sub" / "b.py", variable="make", card=GraphCard(), folders=()),
    ]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("title", 7, "a text of at most 100 characters"),
        ("title", " ", "a text of at most 100 characters"),
        ("description", ["x"], "a text of at most 2000 characters"),
        ("example_questions", "Why?", "a list of at most 12 texts, each of at most 500 characters"),
        ("example_questions", ["Why?", 7], "a list of at most 12 texts, each of at most 500 characters"),
        ("example_questions", ["Why?"] * 13, "a list of at most 12 texts, each of at most 500 characters"),
        ("accepts", ["images"], r'an object such as \{"images": true, "files": false\}'),
        ("accepts", {"images": "yes"}, r'an object such as \{"images": true, "files": false\}'),
        ("accepts", {"video": True}, r'an object such as \{"images": true, "files": false\}'),
    ],
)
async def test_a_manifest_that_describes_a_graph_in_a_wrong_form_names_graph_and_field(
    tmp_path: Path, field: str, value: Any, expected: str
) -> None:
    manifest = tmp_path / "langgraph.json"
    manifest.write_text(json.dumps({"graphs": {"mine": {"path": "./a.py:graph", field: value}}}))
    with pytest.raises(GraphNotLoaded, match=rf"langgraph\.json: `{field}` of graph 'mine' must be {expected}$"):
        read_manifest(manifest)


async def test_the_first_graph_is_the_default_unless_another_is_named(folder: Folder) -> None:
    manifest = folder(one='graph = says("one")', two='graph = says("two")')
    assert await said(await catalog(manifest)) == "one"
    assert await said(await catalog(manifest, default="two")) == "two"
    with pytest.raises(UnknownGraph, match="no graph named 'three'; known: one, two"):
        Catalog(read_manifest(manifest), default="three")
    with pytest.raises(UnknownGraph):
        await (await catalog(manifest)).get("three")


async def test_a_graph_imports_modules_of_its_own_folder_and_of_the_manifests_dependencies(
    folder: Folder, tmp_path: Path
) -> None:
    (tmp_path / "own_words.py").write_text('WORDS = "own"')
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "shared_words.py").write_text('WORDS = "shared"')
    body = """
        from own_words import WORDS
        from shared_words import WORDS as SHARED

        graph = says(f"{WORDS} and {SHARED}")
    """
    assert await said(await catalog(folder(mine=body, dependencies=["./library", "langchain"]))) == "own and shared"


async def test_graphs_of_two_apps_that_load_at_once_keep_modules_of_the_same_name_apart(tmp_path: Path) -> None:
    manifests = []
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        # Long enough for both to be loading.
        (tmp_path / name / "words.py").write_text(f"import time; time.sleep(0.2); WORD = {name!r}")
        body = "import time; time.sleep(0.2)\nfrom words import WORD\ngraph = says(WORD)"
        (tmp_path / name / "mine.py").write_text(BUILDER + body)
        manifests.append(tmp_path / name / "langgraph.json")
        manifests[-1].write_text(json.dumps({"graphs": {"mine": "./mine.py:graph"}}))
    opened = await asyncio.gather(*map(catalog, manifests))
    assert [await said(one) for one in opened] == ["left", "right"]


async def test_graphs_of_two_folders_keep_modules_of_the_same_name_apart(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "parts.py").write_text(f"WORDS = {name!r}")
        (tmp_path / name / "graph.py").write_text(f"from parts import WORDS\n{BUILDER}\ngraph = says(WORDS)\n")
    manifest = tmp_path / "langgraph.json"
    manifest.write_text(json.dumps({"graphs": {name: f"./{name}/graph.py:graph" for name in ("left", "right")}}))
    opened = await catalog(manifest)
    assert [await said(opened, name) for name in ("left", "right")] == ["left", "right"]


# -- what does not load -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def graph(:", r"graph 'mine' did not load: SyntaxError at mine\.py:15"),
        ("import no_such_package", "no module named 'no_such_package'; add it to the requirements"),
        ("from langgraph import no_such_name", "graph 'mine' did not load: ImportError at "),
        (f"raise ValueError('{PASSWORD}')", "graph 'mine' did not load: ValueError at "),
        ("graph = saying('')", r"did not load: the name 'saying' is not defined \(NameError at .*mine\.py:15 "),
        (
            "from graph_agent import make_tools\nmake_tools([], approve=['send'])",
            r"did not load: approve names tools that are not .*: send \(ConfigurationError at .*from mine\.py:16",
        ),
        ("raise SystemExit(3)", "graph 'mine' did not load: SystemExit at "),
        ("grahp = says('')", r"graph 'mine': mine\.py has no variable 'graph'; its graphs: grahp"),
        ("import json\njson.loads('{')", r"JSONDecodeError at .*decoder\.py:.*, called from mine\.py:16"),
        ("graph = 7", "graph 'mine': graph is a int, not a compiled LangGraph graph"),
        ("def graph():\n    return None", "graph 'mine': graph is a NoneType, not a compiled LangGraph graph"),
        (f"def graph():\n    raise ValueError('{PASSWORD}')", r"the factory of graph 'mine' failed \(ValueError\)"),
        ("def graph():\n    raise SystemExit", r"the factory of graph 'mine' failed \(SystemExit\)"),
        (
            "from langgraph.checkpoint.memory import InMemorySaver as Saver\n"
            "graph = says('').compile(checkpointer=Saver())",
            "graph 'mine' is compiled with a checkpointer; export builder.compile\\(\\) without one",
        ),
    ],
    ids=[
        "syntax", "no-module", "no-name", "raises", "no-import", "wrong-argument", "exits", "no-variable",
        "raises-elsewhere", "no-graph",
        "factory-of-nothing", "factory-raises", "factory-exits", "checkpointer",
    ],
)  # fmt: skip
async def test_a_graph_that_does_not_load_is_named_with_the_reason(
    folder: Folder, caplog: pytest.LogCaptureFixture, body: str, words: str
) -> None:
    with pytest.raises(GraphNotLoaded, match=words) as raised:
        await catalog(folder(mine=body))
    assert raised.value.param == "mine"
    assert PASSWORD not in raised.value.message
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"langgraph\.json does not exist; list your graphs there or pass --config"),
        ("{", r"langgraph\.json: not valid JSON at line 1, column 2"),
        ("[]", r"langgraph\.json lists no graph; expected"),
        ('{"graphs": {}}', r"langgraph\.json lists no graph; expected"),
        ('{"graphs": {"mine": "mine.py"}}', r"graph 'mine' must be '\./file\.py:variable'"),
        ('{"graphs": {"mine": {"description": "x"}}}', r"graph 'mine' must be '\./file\.py:variable'"),
        ('{"graphs": {"mine": 7}}', r"graph 'mine' must be '\./file\.py:variable'"),
        ('{"graphs": {"mine": "./nowhere.py:graph"}}', r"graph 'mine': .*nowhere\.py does not exist"),
    ],
)
async def test_a_manifest_that_names_no_graph_is_told_how(tmp_path: Path, content: str | None, words: str) -> None:
    manifest = tmp_path / "langgraph.json"
    if content is not None:
        manifest.write_text(content)
    with pytest.raises(GraphNotLoaded, match=words):
        await catalog(manifest)


WARM = """
import asyncio, pathlib

class Slow:
    def __init__(self, name, seconds=0.0):
        self.name, self.seconds = name, seconds

    async def warm(self):
        await asyncio.sleep(self.seconds)
        if self.name == "broken":
            raise ValueError("{password}")
        (pathlib.Path(__file__).parent / self.name).touch()

class Oven:
    def warm(self):
        raise SystemExit

class Bath:
    async def warm(self, degrees):
        pass

documents, tools, kind = Slow("documents"), [Slow("tool"), Slow("broken")], Slow
oven, bath = Oven(), Bath()
graph = says("")
"""


async def test_what_a_graph_uses_is_made_ready_and_a_failure_is_logged(
    folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = folder(mine=WARM.format(password=PASSWORD))
    opened = await catalog(manifest)
    await opened.warm(seconds=5)
    assert {path.name for path in manifest.parent.rglob("*") if path.name in ("documents", "tool", "broken")} == {
        "documents",
        "tool",
    }
    assert "a model or tool of a graph is not ready: ValueError at" in caplog.text
    assert "a model or tool of a graph is not ready: TypeError at" in caplog.text
    assert PASSWORD not in caplog.text


async def test_what_is_not_ready_in_time_is_left_to_the_first_run(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await catalog(folder(mine=WARM.replace("seconds=0.0", "seconds=60").format(password=PASSWORD)))
    await opened.warm(seconds=0.05)
    assert "not ready within 0.05 s" in caplog.text


# -- reload -----------------------------------------------------------------------------------------------------


async def test_an_edited_graph_is_live_on_the_next_request(folder: Folder) -> None:
    opened = await catalog(folder(mine='graph = says("one")'), reload=True)
    assert await said(opened) == "one"
    folder(mine='graph = says("two")')
    assert await said(opened) == "two"


async def test_a_graph_that_was_not_edited_stays_the_same_object(folder: Folder) -> None:
    opened = await catalog(folder(mine='graph = says("one").compile()'), reload=True)
    assert await opened.get("mine") is await opened.get("mine")


async def test_without_reload_an_edit_changes_nothing(folder: Folder) -> None:
    opened = await catalog(folder(mine='graph = says("one")'))
    folder(mine='graph = says("two")')
    assert await said(opened) == "one"


async def test_an_edited_module_beside_the_graph_reloads_it(folder: Folder, tmp_path: Path) -> None:
    beside = tmp_path / "beside_words.py"
    beside.write_text('WORDS = "one"')
    opened = await catalog(folder(mine="from beside_words import WORDS\ngraph = says(WORDS)"), reload=True)
    assert await said(opened) == "one"
    beside.write_text('WORDS = "two"')
    assert await said(opened) == "two"


async def test_an_edit_that_does_not_load_keeps_the_last_good_graph_and_says_why(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await catalog(folder(mine='graph = says("one")'), reload=True)
    folder(mine="def graph(:")
    caplog.set_level(logging.ERROR)
    assert await said(opened) == "one"
    assert "graph 'mine' did not load: SyntaxError at mine.py:15" in caplog.text
    caplog.clear()
    assert await said(opened) == "one"
    assert caplog.text == ""
    folder(mine='graph = says("three")')
    assert await said(opened) == "three"


async def test_a_graph_broken_from_the_start_is_told_to_its_callers_until_it_is_mended(folder: Folder) -> None:
    opened = await catalog(folder(good='graph = says("good")', mine="def graph(:"), reload=True)
    assert await said(opened, "good") == "good"
    with pytest.raises(
        NotReady, match=r"SyntaxError at mine\.py:15: invalid syntax; fix it and send the request again"
    ):
        await opened.get("mine")
    folder(good='graph = says("good")', mine='graph = says("mended")')
    assert await said(opened, "mine") == "mended"


async def test_an_editor_s_lock_in_the_folder_does_not_stop_the_graph(folder: Folder, tmp_path: Path) -> None:
    opened = await catalog(folder(mine='graph = says("one")'), reload=True)
    # Emacs marks a file with unsaved edits by a link that leads nowhere.
    (tmp_path / ".#mine.py").symlink_to("somebody@laptop.1234:5678")
    assert await said(opened) == "one"
    folder(mine='graph = says("two")')
    assert await said(opened) == "two"


async def test_many_requests_after_an_edit_load_it_once(folder: Folder, tmp_path: Path) -> None:
    count = tmp_path / "count"
    body = f"""
        with open({str(count)!r}, "a") as file:
            file.write("x")
        graph = says("one")
    """
    opened = await catalog(folder(mine=body), reload=True)
    folder(mine=body.replace("one", "two"))
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(opened.get, "mine")
    assert count.read_text() == "xx"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "class State(TypedDict):\n    question: str\nbuilder = StateGraph(State)",
            "its state State has no `messages`",
        ),
        (
            "class Question(TypedDict):\n    question: str\nbuilder = StateGraph(MessagesState, input_schema=Question)",
            "its input schema Question has no `messages`",
        ),
    ],
    ids=["state", "input"],
)
@pytest.mark.parametrize("compiled", ["builder", "builder.compile()"])
async def test_a_state_without_messages_is_refused_at_start(
    folder: Folder, body: str, words: str, compiled: str
) -> None:
    nodes = "builder.add_node('answer', lambda state: {})\nbuilder.add_edge(START, 'answer')\n"
    manifest = folder(bare=f"from typing import TypedDict\n{body}\n{nodes}graph = {compiled}\n")
    with pytest.raises(GraphNotLoaded, match=words):
        await catalog(manifest)


async def test_a_graph_of_the_functional_api_has_no_state_to_lack_messages(folder: Folder) -> None:
    manifest = folder(
        works="""
        from langgraph.func import entrypoint


        @entrypoint()
        def graph(given):
            return {"messages": [AIMessage("It works.")]}
        """
    )
    assert await said(await catalog(manifest)) == "It works."


# -- reload of the manifest --------------------------------------------------------------------------------------


@pytest.fixture
def edited(folder: Folder) -> Callable[[dict[str, Any] | str], Path]:
    """Two graphs in a folder; writes the manifest anew, later than before."""
    manifest = folder(one='graph = says("one")', two='graph = says("two")\nother = says("other")')
    times = itertools.count(1)

    def edit(graphs: dict[str, Any] | str) -> Path:
        text = graphs if isinstance(graphs, str) else json.dumps({"graphs": graphs, "dependencies": ["."]})
        manifest.write_text(text)
        later = manifest.stat().st_mtime_ns + next(times) * 10**9
        os.utime(manifest, ns=(later, later))
        return manifest

    return edit


ONE, TWO = {"one": "./one.py:graph"}, {"two": "./two.py:graph"}


async def watching(manifest: Path, **options: Any) -> Catalog:
    return await catalog(manifest, reload=True, manifest=manifest, **options)


async def test_a_graph_added_to_the_manifest_is_served_without_a_restart(edited: Any) -> None:
    opened = await watching(edited(ONE))
    with pytest.raises(UnknownGraph):
        await opened.get("two")
    edited(ONE | TWO)
    await opened.refresh()
    assert opened.names == ["one", "two"]
    assert (await said(opened, "two"), await said(opened)) == ("two", "one")


async def test_a_graph_taken_from_the_manifest_is_served_no_more_and_the_first_one_is_the_default(edited: Any) -> None:
    opened = await watching(edited(ONE | TWO))
    edited(TWO)
    await opened.refresh()
    with pytest.raises(UnknownGraph, match="known: two"):
        await opened.get("one")
    assert await said(opened) == "two"


async def test_a_name_that_stands_for_another_graph_now_gives_that_one(edited: Any) -> None:
    opened = await watching(edited(TWO))
    edited({"two": {"path": "./two.py:other", "description": "Another."}})
    await opened.refresh()
    assert await said(opened, "two") == "other"
    assert next(iter(opened.cards.values())).description == "Another."


@pytest.mark.parametrize("broken", ["{", "[]", '{"graphs": {}}', '{"graphs": {"one": 7}}'])
async def test_a_manifest_that_cannot_be_read_is_logged_once_and_the_one_before_goes_on(
    edited: Any, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await watching(edited(ONE))
    edited(broken)
    await opened.refresh()
    await opened.refresh()
    assert await said(opened) == "one"
    assert [line.endswith("the previous graphs stay in use") for line in caplog.messages] == [True]
    edited(TWO)
    await opened.refresh()
    assert await said(opened) == "two"


async def test_a_new_graph_that_does_not_load_costs_no_other(edited: Any) -> None:
    opened = await watching(edited(ONE))
    edited(ONE | {"gone": "./gone.py:graph"})
    await opened.refresh()
    with pytest.raises(NotReady, match="does not exist"):
        await opened.get("gone")
    assert await said(opened, "one") == "one"


async def test_a_default_that_was_chosen_stays_while_it_is_there(edited: Any) -> None:
    opened = await watching(edited(ONE | TWO), default="two")
    edited(ONE | TWO | {"three": "./two.py:other"})
    await opened.refresh()
    assert (opened.default, opened.names[0]) == ("two", "one")
    edited(ONE)
    await opened.refresh()
    assert opened.default == "one"


async def test_a_manifest_is_not_read_again_where_nothing_is_reloaded(edited: Any) -> None:
    manifest = edited(ONE)
    opened = await catalog(manifest, manifest=manifest)
    edited(ONE | TWO)
    await opened.refresh()
    assert opened.names == ["one"]


async def test_requests_at_once_read_an_edited_manifest_once(edited: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    opened = await watching(edited(ONE))
    edited(ONE | TWO)

    async def asked(name: str) -> str:
        await opened.refresh()
        return await said(opened, name)

    assert await asyncio.gather(*map(asked, ["one", "two"] * 4)) == ["one", "two"] * 4
    assert len([line for line in caplog.messages if "was read again" in line]) == 1
