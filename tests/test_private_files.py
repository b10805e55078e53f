"""Files with words of users are their owner's alone, and secrets that a graph's file sets are known."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import read_manifest
from graph_agent.errors import GraphNotLoaded
from graph_agent.local.index.store import IndexStore
from graph_agent.private_files import make_private
from graph_agent.redaction import redact

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_private_and_an_old_one_becomes_so_with_what_lies_beside_it(tmp_path: Path) -> None:
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    for name in ("old.db", "old.db-wal", "old.db-shm"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o664)
    make_private(new)
    make_private(old)
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    assert old.read_text() == "x"


def test_an_index_of_documents_is_private(tmp_path: Path) -> None:
    path = tmp_path / "indexes" / "a.sqlite"
    store = IndexStore.open(path, dimension=4, create=True)
    modes = {one.name: mode(one) for one in path.parent.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("fails", [False, True])
async def test_a_secret_that_a_graph_s_file_sets_is_known_once_it_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("SET_WHILE_LOADING_TOKEN", "")
    value, kept = f"sunflower-set-{fails}-4711", f"waterfall-kept-{fails}-4711"
    (tmp_path / "a.py").write_text(
        "import os\nfrom langgraph.graph import StateGraph, MessagesState, START, END\n"
        f"os.environ['SET_WHILE_LOADING_TOKEN'] = {value!r}\nTHEIR_API_KEY = {kept!r}\n"
        "b = StateGraph(MessagesState).add_node('n', lambda s: {}).add_edge(START, 'n').add_edge('n', END)\n"
        + ("raise RuntimeError\n" if fails else "graph = b.compile()\n")
    )
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./a.py:graph"}}')
    assert redact(value) == value
    catalog = Catalog(read_manifest(tmp_path / "langgraph.json"))
    if fails:
        with pytest.raises(GraphNotLoaded):
            await catalog.open()
    else:
        await catalog.open()
        assert redact(kept) == "[redacted known secret]"
    assert redact(f"It is {value}.") == "It is [redacted known secret]."
