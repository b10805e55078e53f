"""What an index of the app needs beside itself."""

from typing import Any

import pytest
from tests.databricks.shop import BUNDLE, Shop

SP = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("privileges", "warned"),
    [
        (None, []),
        ({}, ["catalog main", "schema main.docs"]),
        ({"main": {"me@localhost": ["USE_CATALOG"]}}, ["catalog main", "schema main.docs"]),
        ({"main": {"account users": ["USE_CATALOG"]}}, ["schema main.docs"]),
        ({"main": {"account users": ["USE_CATALOG"]}, "main.docs": {"me@localhost": ["MANAGE"]}}, []),
        ({"main": {"me@localhost": ["ALL_PRIVILEGES"]}, "main.docs": {SP: ["USE_SCHEMA"]}}, ["catalog main"]),
    ],
)
def test_a_deployer_who_cannot_open_the_way_to_an_index_is_told(
    shop: Shop, privileges: dict[str, dict[str, list[str]]] | None, warned: list[str]
) -> None:
    # An app that is there already has a service principal.
    shop.deploy()
    shop.apps.privileges = privileges
    assert shop.deploy(dry_run=True) == 0
    assert [line.split(", so the app")[0] for line in shop.said if "MANAGE" in line] == [
        f"warning: you do not have MANAGE on {one}" for one in warned
    ]
    if privileges is not None:
        kinds = [one.path.split("/")[-2:] for one in shop.standing.calls("effective-permissions")]
        assert kinds == [["CATALOG", "main"], ["SCHEMA", "main.docs"]]


def test_the_endpoint_that_embeds_an_indexs_questions_is_a_resource_too(shop: Shop) -> None:
    assert shop.deploy(dry_run=True) == 0
    [line] = [line for line in shop.said if "searches of index" in line]
    endpoint = line.split("serving endpoint ")[1].split(",")[0]
    assert f"{{name: embedding, serving_endpoint: {{name: {endpoint}, permission: CAN_QUERY}}}}" in line
    more = f"        - {{name: embedding, serving_endpoint: {{name: {endpoint}, permission: CAN_QUERY}}}}\n"
    shop.write(databricks_yml=BUNDLE.replace("      resources:\n", f"      resources:\n{more}"))
    assert shop.deploy(dry_run=True) == 0
    assert not any("searches of index" in line for line in shop.said)


def test_an_index_that_two_resources_name_is_warned_of_once(shop: Shop) -> None:
    again = "{securable_full_name: main.docs.project, securable_type: TABLE, permission: MODIFY}"
    more = f"        - {{name: again, uc_securable: {again}}}\n"
    shop.write(databricks_yml=BUNDLE.replace("      resources:\n", f"      resources:\n{more}"))
    assert shop.deploy(dry_run=True) == 0
    assert len([line for line in shop.said if "searches of index" in line]) == 1


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"embedding_model_endpoint_name": "databricks-gte-large-en"}, []),
        ({"embedding_model_endpoint_name": "mine"}, ["mine"]),
        ({"embedding_model_endpoint_name": "mine", "model_endpoint_name_for_query": "other"}, ["other"]),
        (None, []),
    ],
)
def test_only_an_endpoint_of_ones_own_that_embeds_questions_is_named(
    shop: Shop, spec: dict[str, str] | None, named: list[str]
) -> None:
    index: dict[str, Any] = {
        "name": "main.docs.project",
        "direct_access_index_spec": {"embedding_source_columns": [spec]},
    }
    if spec is None:
        index = {"name": "main.docs.project", "delta_sync_index_spec": {"embedding_vector_columns": [{"name": "v"}]}}
    shop.standing.fail("/vector-search/indexes/", 200, body=index)
    assert shop.deploy(dry_run=True) == 0
    found = [line.split("serving endpoint ")[1].split(",")[0] for line in shop.said if "searches of index" in line]
    assert found == named
