"""Which store the settings make, and what the log says about it."""

from pathlib import Path

import pytest

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.settings import Settings
from graph_agent.stores.opening import open_store
from graph_agent.stores.retention import ExpiringStore
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio


def opened_with(tmp_path: Path, *, environ: dict[str, str] | None = None, **settings: object) -> Store:
    given = Settings(cache_dir=tmp_path, **settings)  # type: ignore[arg-type]
    return open_store(given, AppContext(given, environ or {}))


async def test_without_a_project_conversations_are_in_a_file_in_the_cache_folder_and_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = opened_with(tmp_path, config=tmp_path / "langgraph.json")
    await store.open()
    await store.aclose()
    assert (tmp_path / "conversations.sqlite").exists()
    assert isinstance(store, ExpiringStore)
    assert (store.days, store.event_seconds) == (0, 3600)
    assert str(tmp_path / "conversations.sqlite") in caplog.text
    assert "lost" not in caplog.text


async def test_each_project_has_a_file_of_its_own_and_the_log_names_the_one_that_all_shared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    cache = tmp_path / "cache"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "langgraph.json").write_text("{}")

    async def files_after(config: Path) -> set[Path]:
        caplog.clear()
        store = opened_with(cache, config=config)
        await store.open()
        await store.aclose()
        return set(cache.rglob("*.sqlite"))

    shared = await files_after(tmp_path / "none" / "langgraph.json")
    one = await files_after(tmp_path / "one" / "langgraph.json")
    said = caplog.text
    two = await files_after(tmp_path / "two" / "langgraph.json")
    assert shared == {cache / "conversations.sqlite"}
    assert (len(one), len(two)) == (2, 3)
    assert f"earlier versions, of all projects, are in {cache / 'conversations.sqlite'}" in said
    # The same project, named in another way.
    monkeypatch.chdir(tmp_path / "one")
    assert await files_after(Path("langgraph.json")) == two
    assert "earlier versions" not in caplog.text


async def test_a_file_can_be_named(tmp_path: Path) -> None:
    store = opened_with(tmp_path, store=f"sqlite:{tmp_path / 'new' / 'mine.db'}")
    await store.open()
    await store.aclose()
    assert (tmp_path / "new" / "mine.db").exists()


async def test_the_log_says_what_is_lost_with_an_app_or_with_its_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    opened_with(tmp_path, environ={"DATABRICKS_APP_NAME": "agent"})
    assert "lost with this instance" in caplog.text
    caplog.clear()
    opened_with(tmp_path, store="memory")
    assert "lost when the service stops" in caplog.text


@pytest.mark.parametrize("value", ["redis://x", "sqlite:", "sqlite::memory:", "sqlite:///x", "/var/x.db"])
async def test_another_kind_of_store_is_refused_with_the_kinds_that_there_are(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadSetting) as refused:
        opened_with(tmp_path, store=value)
    assert refused.value.param == "GRAPH_AGENT_STORE"
    assert "sqlite:" in refused.value.message


async def test_days_make_a_store_that_expires(tmp_path: Path) -> None:
    store = opened_with(tmp_path, retention_days=0.5, event_log_seconds=60)
    assert isinstance(store, ExpiringStore)
    assert (store.days, store.event_seconds) == (0.5, 60)
    for days in (-1, 1e9, float("nan")):
        with pytest.raises(BadSetting, match="RETENTION_DAYS"):
            opened_with(tmp_path, retention_days=days)
