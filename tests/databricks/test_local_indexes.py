"""Documents of one's own: indexed under a name, and found with `DocumentSearch` in the local workspace."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from databricks.ai_search.async_utils import aclose_all_clients
from evals.scripted.rules import reply

from graph_agent.databricks.clients import Actor
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.errors import IndexUnavailable, LocalWorkspaceError, RetrievalFailed
from graph_agent.evaluating.hashing_embedder import HashingEmbedder
from graph_agent.evaluating.scripted import ScriptedReplies
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.local import preparation
from graph_agent.local.index.index import Index
from graph_agent.local.index.local_indexes import DOCUMENTATION_INDEX, OWN_INDEX, LocalIndexes, index_file, index_names
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback

pytestmark = pytest.mark.anyio

POLICY = "# Returns\n\nGoods may be returned within 45 days.\n"
Told = Callable[[], str]


@pytest.fixture(autouse=True)
async def closed_connections() -> AsyncIterator[None]:
    yield
    await aclose_all_clients()


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What the first search imports, which takes longer on a busy machine than a search may."""
    import databricks_langchain  # noqa: F401


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    (project / "README.md").write_text("# Project\n\nIt serves graphs.\n")
    (project / "docs" / "settings.md").write_text("# Settings\n\nA request may take thirty seconds.\n")
    return Settings(cache_dir=tmp_path / "cache", config=project / "langgraph.json")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "returns.md").write_text(POLICY)
    return tmp_path / "shop"


@pytest.fixture
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The local workspace over the cache folder, named in the environment."""
    embedder, credentials = HashingEmbedder(), Credentials.generate()
    preparation.index_documentation(settings, embedder)
    indexes = LocalIndexes(settings.cache_dir, embedder, project=preparation.project(settings))
    app = create_workspace(
        ScriptedReplies(reply), indexes, embedder=embedder, credentials=credentials, users={"user-ada": "ada"}
    )
    with on_loopback(app) as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        monkeypatch.setenv("DATABRICKS_CLIENT_ID", credentials.client_id)
        monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", credentials.client_secret)
        yield url
    indexes.close()


def index(settings: Settings, path: Path, name: str) -> None:
    preparation.index_documents([str(path)], settings=settings, embedder=HashingEmbedder(), name=name)


def indexes_of(settings: Settings) -> LocalIndexes:
    return LocalIndexes(settings.cache_dir, HashingEmbedder(), project=preparation.project(settings))


async def found(name: str, query: str, acting_as: Actor = "app") -> list[str]:
    with with_user_token(UserToken("user-ada")):
        hits = await DocumentSearch(index=name, acting_as=acting_as).search(query)
    return [document.metadata["doc_uri"] for document, _ in hits]


@pytest.mark.parametrize("acting_as", ["app", "user"])
async def test_an_index_made_under_a_name_is_searched_by_that_name_and_holds_nothing_else(
    workspace: str, settings: Settings, shop: Path, acting_as: Actor
) -> None:
    index(settings, shop, "main.shop.policy")
    assert await found("main.shop.policy", "returned days request seconds", acting_as) == ["shop/returns.md#returns"]
    assert "docs/settings.md#settings" in await found(DOCUMENTATION_INDEX, "request seconds", acting_as)
    assert "shop/returns.md#returns" not in await found(DOCUMENTATION_INDEX, "returned days", acting_as)


async def test_a_document_that_is_added_while_the_workspace_runs_is_found(
    workspace: str, settings: Settings, shop: Path
) -> None:
    index(settings, shop, "main.shop.policy")
    await found("main.shop.policy", "days")
    (shop / "gifts.md").write_text("# Gifts\n\nWrapping costs two euros.\n")
    index(settings, shop, "main.shop.policy")
    assert (await found("main.shop.policy", "wrapping euros"))[:1] == ["shop/gifts.md#gifts"]


async def test_an_index_that_is_deleted_and_made_anew_is_the_new_one(
    workspace: str, settings: Settings, shop: Path
) -> None:
    index(settings, shop, "main.shop.policy")
    await found("main.shop.policy", "days")
    for file in index_file(settings.cache_dir, "main.shop.policy", preparation.project(settings)).parent.glob(
        "main.shop.policy.*"
    ):
        file.unlink()
    with pytest.raises(RetrievalFailed, match="does not exist"):
        await found("main.shop.policy", "days")
    (shop / "returns.md").write_text("# Exchange\n\nExchanged within 10 days.\n")
    index(settings, shop, "main.shop.policy")
    assert await found("main.shop.policy", "exchanged days") == ["shop/returns.md#exchange"]


@pytest.mark.parametrize("acting_as", ["app", "user"])
async def test_a_name_that_is_none_is_told_with_those_there_are_and_the_command(
    workspace: str, settings: Settings, shop: Path, acting_as: Actor
) -> None:
    index(settings, shop, "main.shop.policy")
    with pytest.raises(RetrievalFailed) as raised:
        await found("main.shop.polcy", "days", acting_as)
    assert "main.shop.polcy does not exist" in raised.value.message
    assert raised.value.message.endswith(
        "There are: main.docs.project, main.shop.policy. To make one: graph-agent index --name main.shop.polcy PATH"
    )


async def test_a_name_that_is_a_path_reaches_no_file(workspace: str, settings: Settings) -> None:
    with pytest.raises(KeyError):
        indexes_of(settings)["../indexes/main.docs.project"]
    with pytest.raises(LocalWorkspaceError, match="not an index name"):
        index_file(settings.cache_dir, "../main.docs.project", preparation.project(settings))


async def test_an_index_file_that_is_damaged_is_told_as_such(workspace: str, settings: Settings) -> None:
    index_file(settings.cache_dir, "main.shop.broken", preparation.project(settings)).write_text(
        "not a database at all, but long enough " * 50
    )
    with pytest.raises(IndexUnavailable, match=r"main.shop.broken.sqlite cannot be used: it is not an index"):
        indexes_of(settings)["main.shop.broken"]


async def test_documents_without_a_name_go_beside_the_projects_own(settings: Settings) -> None:
    assert preparation.own_index(settings) == OWN_INDEX != DOCUMENTATION_INDEX
    assert preparation.own_index(replace(settings, index="main.shop.policy")) == "main.shop.policy"


async def test_the_projects_documentation_has_its_index_whatever_the_graphs_search(settings: Settings) -> None:
    preparation.index_documentation(replace(settings, index="main.shop.policy"), HashingEmbedder())
    assert index_names(settings.cache_dir, preparation.project(settings)) == [DOCUMENTATION_INDEX]


async def test_projects_that_share_a_cache_folder_do_not_search_each_others_documentation(
    settings: Settings, tmp_path: Path
) -> None:
    preparation.index_documentation(settings, HashingEmbedder())
    (tmp_path / "other" / "docs").mkdir(parents=True)
    (tmp_path / "other" / "docs" / "tea.md").write_text("# Tea\n\nTea is served at four.\n")
    other = replace(settings, config=tmp_path / "other" / "langgraph.json")
    preparation.index_documentation(other, HashingEmbedder())
    held = [set(indexes_of(one)[DOCUMENTATION_INDEX].files.values()) for one in (settings, other)]
    assert held[1] == {"docs/tea.md"}
    assert "docs/settings.md" in held[0]
    assert not held[0] & held[1]


async def test_a_folder_of_documents_is_indexed_in_place_of_the_projects_documentation(settings: Settings) -> None:
    documents = preparation.project(settings) / "documents"
    documents.mkdir()
    (documents / "tea.md").write_text("# Tea\n\nTea is served at four.\n")
    preparation.index_documentation(settings, HashingEmbedder())
    assert set(indexes_of(settings)[DOCUMENTATION_INDEX].files.values()) == {"documents/tea.md"}


async def test_the_report_names_the_index_what_was_left_out_and_what_gave_nothing(
    settings: Settings, shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / ".hidden").mkdir()
    (shop / "empty.md").touch()
    (shop / "[bold]x.docx").touch()
    index(settings, shop, "main.shop.policy")
    told = " ".join(capsys.readouterr().err.split())
    assert "index main.shop.policy: 1 added; it has 1 document in 1 passage" in told
    assert f"not indexed: {shop}/empty.md: it contains no text" in told
    assert "skipped: 1 hidden folders (use --hidden to include them), 1 files of other kinds (.docx 1)" in told


async def test_documents_of_ones_own_among_the_projects_are_told_of_and_stay(
    settings: Settings, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(settings, shop, DOCUMENTATION_INDEX)
    preparation.index_documentation(settings, HashingEmbedder())
    assert "main.docs.project contains 1 document not of the project" in " ".join(capsys.readouterr().err.split())
    with Index.open(
        index_file(settings.cache_dir, DOCUMENTATION_INDEX, preparation.project(settings)), HashingEmbedder()
    ) as held:
        assert "shop/returns.md" in held.files.values()


async def test_the_answer_over_http_says_the_same(workspace: str, settings: Settings) -> None:
    async with httpx.AsyncClient(base_url=workspace, headers={"authorization": "Bearer user-ada"}) as http:
        reply = await http.get("/api/2.0/vector-search/indexes/main.no.such")
        odd = await http.get("/api/2.0/vector-search/indexes/a b")
    assert (reply.status_code, reply.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "There are: main.docs.project." in reply.json()["message"]
    assert "graph-agent index --name catalog.schema.index PATH" in odd.json()["message"]


@pytest.mark.parametrize("acting_as", ["app", "user"])
async def test_copies_of_a_passage_are_one_result_that_lists_where_they_are(
    workspace: str, settings: Settings, shop: Path, acting_as: Actor
) -> None:
    for number in range(40):
        (shop / f"copy{number:02}").mkdir()
        (shop / f"copy{number:02}" / "returns.md").write_text(POLICY)
    (shop / "gifts.md").write_text("# Gifts\n\nGifts may be wrapped within two days.\n")
    index(settings, shop, "main.shop.policy")
    with with_user_token(UserToken("user-ada")):
        search = DocumentSearch(index="main.shop.policy", acting_as=acting_as, results=2)
        [(returns, _), (gifts, _)] = await search.search("goods returned within days")
        kept = await replace(search, collapse_copies=False).search("goods returned within days")
    assert "Goods may be returned within 45 days." in returns.page_content
    assert gifts.metadata["doc_uri"] == "shop/gifts.md#gifts"
    # The original, and not the first by name.
    assert returns.metadata["doc_uri"] == "shop/returns.md#returns"
    assert "also_in" not in gifts.metadata
    assert len(set(returns.metadata["also_in"])) == 20
    assert [document.metadata["title"] for document, _ in kept] == ["Returns", "Returns"]
