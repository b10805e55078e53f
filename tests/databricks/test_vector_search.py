"""`DocumentSearch` against a stand-in, with the real clients: what is asked, with whose token, what comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.ai_search.async_utils import aclose_all_clients
from langchain_core.tools import ToolException
from tests.databricks.conftest import USERS
from tests.standin.server import INDEX, StandIn, stand_in
from tests.standin.vectors import MANUALS, SELF_MANAGED, vector_routes

from graph_agent.databricks.clients import Actor
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.errors import ConfigurationError, Unauthenticated
from graph_agent.identity.user_token import UserToken, with_user_token

pytestmark = pytest.mark.anyio

APP_AND_USER = pytest.mark.parametrize("acting_as", ["app", "user"])
MANUAL_COLUMNS: dict[str, Any] = {"text_column": "body", "chunk_id": "id", "doc_uri": "url", "title": "heading"}
QUERY = r"/query$"


@pytest.fixture(autouse=True)
async def closed_connections() -> AsyncIterator[None]:
    """The index client keeps its connections by event loop, and a test's loop ends with it."""
    yield
    await aclose_all_clients()


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """With indexes of other kinds besides the usual one."""
    with stand_in(tmp_path / "workspace", users=USERS, more=vector_routes()) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


async def found_by(search: DocumentSearch, query: str, filters: Any = None, user: str = "user00") -> list[Any]:
    """Search as that user, where the search acts for one."""
    with with_user_token(UserToken(f"user-{user}")):
        return [document for document, _ in await search.search(query, filters)]


def manuals(acting_as: Actor | None = None, **more: Any) -> DocumentSearch:
    return DocumentSearch(index=MANUALS, acting_as=acting_as, **MANUAL_COLUMNS, **more)


def body_of(standing: StandIn) -> Any:
    """The last query's body."""
    return standing.calls(QUERY)[-1].json


@APP_AND_USER
async def test_a_search_gives_documents_with_ids_addresses_titles_and_scores(
    standing: StandIn, acting_as: Actor
) -> None:
    search = DocumentSearch(index=INDEX, acting_as=acting_as, results=1)
    with with_user_token(UserToken("user-user00")):
        [(document, score)] = await search.search("what is the timeout")
    assert "thirty seconds" in document.page_content
    assert document.metadata["doc_uri"] == "documents/settings.md#timeouts"
    assert document.metadata["title"] == "Settings > Timeouts"
    assert document.metadata["chunk_id"]
    assert 0 < score <= 1


@APP_AND_USER
async def test_columns_of_any_name_become_the_names_citations_know(standing: StandIn, acting_as: Actor) -> None:
    [first, *_] = await found_by(manuals(acting_as, columns=["team"]), "the pump runs at forty bar")
    assert first.page_content == "The pump runs at forty bar."
    assert first.metadata == {"chunk_id": "m1", "doc_uri": "https://m/pump", "title": "Pump", "team": "a"}


@APP_AND_USER
@pytest.mark.parametrize("query_type", ["ANN", "HYBRID"])
async def test_an_index_with_vectors_of_its_own_is_asked_with_the_vector_of_the_query(
    standing: StandIn, acting_as: Actor, query_type: Any
) -> None:
    search = DocumentSearch(
        index=SELF_MANAGED, embedding="local-minilm", query_type=query_type, acting_as=acting_as, **MANUAL_COLUMNS
    )
    await found_by(search, "warm up")
    standing.forget()
    [first, *_] = await found_by(search, "the pump runs at forty bar")
    assert first.metadata["chunk_id"] == "m1"
    embedding, query = standing.calls()
    assert (embedding.line, embedding.json) == (
        "POST /serving-endpoints/local-minilm/invocations",
        {"input": ["the pump runs at forty bar"]},
    )
    assert len(query.json["query_vector"]) == 256
    assert ("query_text" in query.json) == (query_type == "HYBRID")
    tokens = {embedding.token, query.token}
    assert tokens == {"user-user00"} if acting_as == "user" else "user-user00" not in tokens


@APP_AND_USER
async def test_the_reranker_and_further_options_are_sent(standing: StandIn, acting_as: Actor) -> None:
    search = manuals(acting_as, rerank=["heading", "body"], options={"score_threshold": 0.1}, query_type="ANN")
    await found_by(search, "pump")
    body = body_of(standing)
    assert body["reranker"]["parameters"] == {"columns_to_rerank": ["heading", "body"]}
    assert (body["score_threshold"], body["query_type"], body["num_results"]) == (0.1, "ANN", 20)


@APP_AND_USER
async def test_what_the_model_filters_by_holds_together_with_what_is_fixed(standing: StandIn, acting_as: Actor) -> None:
    search = manuals(acting_as, filters={"team": "b"}, filterable={"y": int, "team": str})
    chosen = [{"key": "y", "value": 2}, {"key": "team NOT", "value": ["c"]}]
    [only] = await found_by(search, "pump", chosen)
    assert only.metadata["chunk_id"] == "m2"
    assert json.loads(body_of(standing)["filters_json"]) == {"team": "b", "y": 2, "team NOT": ["c"]}
    await found_by(search, "pump")
    assert json.loads(body_of(standing)["filters_json"]) == {"team": "b"}


SPELLED: list[tuple[Any, dict[str, Any]]] = [
    ([{"key": "y", "operator": ">=", "value": 2}], {"y >=": 2}),
    ([{"key": "y", "operator": "=", "value": 2}], {"y": 2}),
    ([{"key": "y", "operator": "eq", "value": 2}], {"y": 2}),
    ([{"key": "y", "operator": "lt", "value": 2}], {"y <": 2}),
    ([{"key": "team", "operator": "!=", "value": "a"}], {"team NOT": "a"}),
    ([{"key": "team", "operator": "not in", "value": ["a", "c"]}], {"team NOT": ["a", "c"]}),
    ([{"key": "team", "operator": "in", "value": ["a", "b"]}], {"team": ["a", "b"]}),
    ([{"key": "heading", "operator": "contains", "value": "Fan"}], {"heading LIKE": "Fan"}),
    ([{"key": "y >=", "operator": ">=", "value": 2}], {"y >=": 2}),
    ([{"key": "team not", "value": "a"}], {"team NOT": "a"}),
    ([{"key": "  y   >= ", "value": 2}], {"y >=": 2}),
    ([{"key": "y", "operator": None, "value": 2}], {"y": 2}),
    ({"key": "y", "operator": "<=", "value": 2}, {"y <=": 2}),
    ({"y >": 1, "team": "b"}, {"y >": 1, "team": "b"}),
    ('[{"key": "y", "operator": ">", "value": 1}]', {"y >": 1}),
    ([{"key": "y OR team", "value": [1, "b"]}], {"y OR team": [1, "b"]}),
]


@APP_AND_USER
@pytest.mark.parametrize(("chosen", "sent"), SPELLED)
async def test_an_operator_counts_wherever_the_model_writes_it(
    standing: StandIn, acting_as: Actor, chosen: Any, sent: dict[str, Any]
) -> None:
    search = manuals(acting_as, filterable={"y": int, "team": str, "heading": str})
    await found_by(search, "pump", chosen)
    assert json.loads(body_of(standing)["filters_json"]) == sent


LOCAL: list[tuple[dict[str, Any], set[str]]] = [
    ({"title": "Budgets"}, {"Budgets"}),
    ({"title NOT": "Budgets"}, {"Settings"}),
    ({"title": ["Budgets", "Colours"]}, {"Budgets"}),
    ({"position >=": 1}, {"Settings"}),
    ({"position <": 1}, {"Settings", "Budgets"}),
    ({"text LIKE": "budget"}, {"Budgets"}),
    ({"title OR text LIKE": ["Nothing", "budget"]}, {"Budgets"}),
    ({"title": "Budgets", "position >": 5}, set()),
]


@APP_AND_USER
@pytest.mark.parametrize(("filters", "titles"), LOCAL)
async def test_the_local_index_obeys_an_authors_operators(
    standing: StandIn, acting_as: Actor, filters: dict[str, Any], titles: set[str]
) -> None:
    found = await found_by(DocumentSearch(filters=filters, acting_as=acting_as, results=9), "timeout budget colour")
    assert {document.metadata["title"].partition(" ")[0] for document in found} == titles


@APP_AND_USER
async def test_a_storage_optimised_endpoint_is_sent_filters_as_text(standing: StandIn, acting_as: Actor) -> None:
    given: dict[str, Any] = {"storage_optimized": True, "filterable": {"y": int, "team": str}}
    chosen = [
        {"key": "y >=", "value": 2},
        {"key": "team", "value": ["a", "b"]},
        {"key": "y OR team", "value": [1, "b"]},
    ]
    by_model = "(y >= 2) AND (team IN ('a', 'b')) AND (y = 1 OR team = 'b')"
    for fixed, sent in (
        ("lang = 'en' OR lang = 'de'", f"(lang = 'en' OR lang = 'de') AND ({by_model})"),
        ({"lang NOT": "en"}, f"{by_model} AND (lang != 'en')"),
    ):
        await found_by(manuals(acting_as, filters=fixed, **given), "pump", chosen)
        assert (body_of(standing)["filter_string"], body_of(standing)["filters_json"]) == (sent, None)


REFUSED = [
    ([{"key": "team", "value": "b"}], "'team' is fixed for this search; leave it out"),
    ([{"key": "secret", "value": "x"}], "'secret' is not a filterable column"),
    ([{"key": "y OR secret", "value": [1, "x"]}], "'secret' is not a filterable column"),
    ([{"key": "y", "value": "two"}], "the value of 'y' must be a whole number"),
    ([{"key": "y", "value": True}], "the value of 'y' must be a whole number"),
    ([{"key": "y BETWEEN", "value": 1}], "'y BETWEEN' has an operator that this search does not support"),
    ([{"key": "y LIKE", "value": 1}], "LIKE works on text only, and y is a whole number"),
    ([{"key": "y <", "value": [1, 2]}], "'y <' takes one value"),
    ([{"key": "y", "value": []}], "'y' takes a value or a short list"),
    ([{"key": "y", "value": 1}, {"key": "y", "value": 2}], "'y' is given twice"),
    ([{"key": "heading", "value": "x" * 513}], "the value of 'heading' must be short"),
    ([{"key": "heading OR y", "value": "x"}], "'heading OR y' needs a list with one value per column"),
    ("team = 'a'", "filters must be a list"),
    ([{"value": 1}], "each filter must have a key and a value"),
    ([{"key": "y", "operator": "between", "value": 1}], "'y between' has an operator that this search does not"),
    ([{"key": "y", "operator": 3, "value": 1}], "'y' has an operator that this search does not support"),
    ([{"key": "y >=", "operator": "<", "value": 1}], "'y >=' has two operators"),
    ([{"key": "y OR heading", "operator": ">", "value": [1, "x"]}], "'y OR heading' has an operator"),
    ([{"key": "y", "op": ">", "value": 1}], "a filter has no field 'op'"),
    ([{"key": "y", "value": 1, "case_sensitive": True}], "a filter has no field 'case_sensitive'"),
]


@pytest.mark.parametrize(("chosen", "problem"), REFUSED)
async def test_filters_a_model_may_not_choose_are_refused_in_words_it_can_use(
    standing: StandIn, chosen: Any, problem: str
) -> None:
    search = manuals(filters={"team": "a"}, filterable={"y": int, "team": str, "heading": str})
    with pytest.raises(ToolException) as refused:
        await search.search("pump", chosen)
    assert str(refused.value).startswith(problem)
    assert "Columns: y (whole number), team (text), heading (text)." in str(refused.value)
    assert standing.calls() == []


@pytest.mark.parametrize("value", ["x' OR team = 'a", "x\\"])
async def test_a_model_cannot_write_its_way_out_of_a_filter_text(standing: StandIn, value: str) -> None:
    search = manuals(filters="team = 'b'", filterable={"heading": str})
    with pytest.raises(ToolException, match="without quotes and backslashes"):
        await search.search("pump", [{"key": "heading", "value": value}])


@APP_AND_USER
async def test_filters_only_the_index_can_refuse_are_told_to_the_model(standing: StandIn, acting_as: Actor) -> None:
    search = manuals(acting_as, filterable={"y": str})
    with pytest.raises(ToolException, match=r"^the index refused these filters. Columns: y \(text\)\."):
        await found_by(search, "pump", [{"key": "y", "value": "refused"}])


async def test_a_search_without_declared_columns_takes_no_filters(standing: StandIn) -> None:
    assert "filters" not in manuals().schema["function"]["parameters"]["properties"]
    with pytest.raises(ToolException, match="This search takes no filters"):
        await manuals().search("pump", [{"key": "y", "value": 1}])


async def test_the_model_is_told_what_it_may_filter_by() -> None:
    parameters = manuals(filterable={"y": int}).schema["function"]["parameters"]
    assert parameters["required"] == ["query"]
    filters = parameters["properties"]["filters"]
    assert filters["items"]["required"] == ["key", "value"]
    assert "Columns: y (whole number)." in filters["description"]
    assert "anyOf" not in json.dumps(parameters)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"options": {"top": 3}}, "unknown search option: top"),
        ({"results": 0}, "`results` must be at least 1"),
        ({"index": "docs"}, "`index` must be `catalog.schema.index`, not 'docs'"),
        ({"filterable": {"a b": str}}, "check 'a b'"),
        ({"filterable": {"a": list}}, "check 'a'"),
        ({"filters": {"a": "it's"}, "storage_optimized": True}, "a quote or a backslash"),
        ({"filters": {"price =>": 3}}, "'price =>' has an unknown operator; use one of NOT, LIKE, <=, >=, <, >"),
        ({"filters": {"a OR b": "x"}}, "'a OR b' needs a list with one value per column"),
        ({"filters": [{"key": "a", "operator": ">", "value": 1}]}, "`filters` must be a mapping such as"),
    ],
)
async def test_a_search_that_cannot_work_is_refused_where_it_is_written(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        DocumentSearch(**given)
    assert problem in str(refused.value)


async def test_passages_below_the_least_score_are_left_out(standing: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_AGENT_MIN_SCORE", "0.9")
    found = await found_by(manuals(), "the pump runs at forty bar")
    assert [document.metadata["chunk_id"] for document in found] == ["m1"]


@APP_AND_USER
async def test_after_the_first_search_each_costs_one_request(standing: StandIn, acting_as: Actor) -> None:
    search = DocumentSearch(index=INDEX, acting_as=acting_as)
    await found_by(search, "timeout")
    standing.forget()
    await found_by(search, "colours")
    await found_by(search, "budgets")
    assert [one.path for one in standing.calls(sign_in=True)] == [f"/api/2.0/vector-search/indexes/{INDEX}/query"] * 2


async def test_a_warmed_search_has_nothing_left_to_read(standing: StandIn) -> None:
    search = DocumentSearch(index=INDEX)
    await search.warm()
    standing.forget()
    await found_by(search, "timeout")
    # The data plane's token is minted with the first query.
    assert [one.path for one in standing.calls()] == [f"/api/2.0/vector-search/indexes/{INDEX}/query"]


@pytest.mark.parametrize(
    "index", [{"index": INDEX}, {"index": SELF_MANAGED, "embedding": "local-minilm", **MANUAL_COLUMNS}]
)
async def test_twenty_users_at_once_search_each_with_their_own_token(standing: StandIn, index: Any) -> None:
    search = DocumentSearch(acting_as="user", **index)
    await found_by(search, "warm up")
    standing.forget()
    await asyncio.gather(*(found_by(search, f"timeout of {name}", user=name) for name in USERS))
    calls = standing.calls(sign_in=True)
    assert len(calls) == len(USERS) * (2 if "embedding" in index else 1)
    for call in calls:
        text = call.json.get("query_text") or call.json["input"][0]
        assert call.token == f"user-{text.removeprefix('timeout of ')}"


async def test_twenty_users_who_come_first_wait_for_one_set_up(standing: StandIn) -> None:
    search = DocumentSearch(index=INDEX, acting_as="user")
    await asyncio.gather(*(found_by(search, f"timeout of {name}", user=name) for name in USERS))
    assert {call.token for call in standing.calls()} == {f"user-{name}" for name in USERS}
    assert len(standing.calls()) == len(USERS)
    # The workspace's configuration is read once, and without credentials.
    assert [call.token for call in standing.calls(sign_in=True) if call not in standing.calls()] == ["", ""]


async def test_twenty_searches_of_the_app_build_one_tool(standing: StandIn) -> None:
    search = DocumentSearch(index=INDEX)
    await asyncio.gather(*(found_by(search, f"timeout of {name}") for name in USERS))
    assert len(standing.calls(QUERY)) == len(USERS)
    assert len(standing.calls()) == len(USERS) + 4


async def test_without_a_user_token_nothing_is_asked_and_the_app_never_stands_in(standing: StandIn) -> None:
    search = DocumentSearch(index=INDEX, acting_as="user")
    with pytest.raises(Unauthenticated):
        await search.search("timeout")
    assert standing.calls(sign_in=True) == []


async def test_the_setting_decides_whose_permissions_a_search_uses(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    await found_by(DocumentSearch(index=INDEX), "timeout", user="user07")
    assert [call.token for call in standing.calls()] == ["user-user07"]
    standing.forget()
    await found_by(DocumentSearch(index=INDEX, acting_as="app"), "timeout", user="user07")
    assert "user-user07" not in {call.token for call in standing.calls()}
