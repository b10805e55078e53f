"""Apps that act for their users: scopes, and tokens that are forwarded or not."""

import pytest
from tests.databricks.shop import APP, BUNDLE, CHANGES, DEPLOYS, STARTS, STOPS, Shop, refused, steps
from tests.standin.apps import FAILS


def declaring(scopes: str) -> str:
    return BUNDLE.replace("[model-serving, vector-search]", scopes)


def test_changed_scopes_take_effect_by_stop_and_start_and_users_are_told_to_sign_in_again(shop: Shop) -> None:
    shop.deploy()
    assert not any("sign in" in line for line in shop.said)
    shop.write(databricks_yml=declaring("[model-serving, sql]"))
    assert shop.deploy() == 0, shop.said
    assert steps(shop) == [CHANGES, STOPS, STARTS, DEPLOYS, DEPLOYS]
    app = shop.apps.apps["shop-dev"]
    assert app["user_api_scopes"] == app["effective_user_api_scopes"] == ["model-serving", "sql"]
    assert "users must sign in to the app again, because their current tokens keep the old scopes" in shop.said
    assert shop.active() == "d3"


def test_scopes_that_are_taken_out_are_cleared(shop: Shop) -> None:
    shop.deploy()
    shop.write(databricks_yml=declaring("[]"))
    assert shop.deploy() == 0, shop.said
    [change] = [one.json for one in shop.standing.calls("/update$") if one.method == "POST"]
    assert change == {"update_mask": "user_api_scopes", "app": {"name": "shop-dev"}}
    assert "user_api_scopes" not in shop.apps.apps["shop-dev"]
    assert shop.deploy() == 0
    assert shop.said[-1].startswith("nothing to deploy")


def test_scopes_are_restored_by_stop_and_start_too(shop: Shop) -> None:
    shop.deploy()
    shop.write(databricks_yml=declaring("[sql]"))
    shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    assert steps(shop)[5:] == [CHANGES, STOPS, STARTS, DEPLOYS, DEPLOYS]
    app = shop.apps.apps["shop-dev"]
    assert app["effective_user_api_scopes"] == ["model-serving", "vector-search"]


def test_scopes_that_the_platform_does_not_give_are_told(shop: Shop) -> None:
    shop.deploy()
    shop.write(databricks_yml=declaring("[model-serving, sql]"))
    shop.apps.withheld = {"sql"}
    assert shop.deploy() == 0
    assert "warning: the platform reports that users' tokens still lack sql" in shop.said


ACTING = f"{APP}  - {{name: GRAPH_AGENT_AUTHORIZATION, value: user}}\n"


@pytest.mark.parametrize("mode", ["user", "user-required"])
@pytest.mark.parametrize("stands", [True, False])
def test_acting_for_users_without_scopes_is_refused(shop: Shop, mode: str, stands: bool) -> None:
    text = BUNDLE.replace("      user_api_scopes: [model-serving, vector-search]\n", "")
    shop.write(databricks_yml=text)
    if stands:
        assert shop.deploy() == 0
    shop.write(app_yaml=ACTING.replace("value: user", f"value: {mode}"))
    message = refused(shop)
    assert f"GRAPH_AGENT_AUTHORIZATION is {mode}, but the app has no user_api_scopes" in message
    assert "serving.serving-endpoints and vectorsearch.vector-search-indexes:read" in message


def test_scopes_that_the_app_has_beside_the_bundle_are_enough(shop: Shop) -> None:
    shop.deploy()
    shop.write(databricks_yml=BUNDLE.replace("      user_api_scopes: [model-serving, vector-search]\n", ""))
    shop.write(app_yaml=ACTING)
    assert shop.deploy() == 0, shop.said
    assert not any("warning: user_api_scopes" in line for line in shop.said)


@pytest.mark.parametrize("file", [APP, ACTING])
def test_an_app_whose_users_tokens_are_not_forwarded_is_refused(shop: Shop, file: str) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["forward_user_access_token"] = False
    shop.write(app_yaml=file)
    assert "(forward_user_access_token is false): ask a workspace admin to turn on" in refused(shop)


def test_a_workspace_without_user_authorization_is_told_from_a_wrong_bundle(shop: Shop) -> None:
    shop.apps.forwarding = False
    assert shop.deploy() == 1
    assert "user token passthrough not enabled (user authorization is off" in shop.said[-1]
    assert "shop-dev" not in shop.apps.apps


@pytest.mark.parametrize(
    ("scopes", "file", "warning"),
    [
        ("[model-serving]", ACTING, "lack vectorsearch.vector-search-indexes:read"),
        ("['vectorsearch.vector-search-indexes:read']", ACTING, "lack serving.serving-endpoints"),
        ("[model-serving]", APP, "but they have no effect while GRAPH_AGENT_AUTHORIZATION is app"),
    ],
)
def test_scopes_that_do_not_fit_what_the_app_does_are_pointed_out(
    shop: Shop, scopes: str, file: str, warning: str
) -> None:
    shop.write(databricks_yml=declaring(scopes), app_yaml=file)
    assert shop.deploy(dry_run=True) == 0
    [line] = [line for line in shop.said if "user_api_scopes" in line]
    assert warning in line
