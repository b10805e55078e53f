"""A platform that starts, stops, deletes and deploys by itself, and does one thing at a time."""

import pytest
from tests.databricks.shop import BUNDLE, CHANGES, DEPLOYS, FILES, STARTS, Shop, steps
from tests.standin.apps import FAILS


@pytest.mark.parametrize("said", ["STOPPED", "ERROR"])
def test_a_stopped_app_is_deployed_only_after_what_its_start_deploys(shop: Shop, said: str) -> None:
    shop.deploy()
    shop.apps.stop("shop-dev")
    shop.apps.apps["shop-dev"]["compute_status"] = {"state": said}
    assert shop.deploy() == 0, shop.said
    # The start deploys d1 again, as d2. For a moment that does not show, and a deployment is refused.
    assert steps(shop) == [STARTS, DEPLOYS, DEPLOYS]
    assert "the platform is busy with another operation on this app; trying again" in shop.said
    assert "waiting for deployment d2 to end" in shop.said
    assert shop.active() == "d3" == shop.manifest()["deployment"]


@pytest.mark.parametrize("state", ["STARTING", "UPDATING"])
def test_an_app_that_somebody_just_started_is_waited_for_before_anything_is_uploaded(shop: Shop, state: str) -> None:
    shop.deploy()
    shop.write(a_py="graph = 2\n")
    again = {**shop.apps.deployments["d1"], "deployment_id": "d2", "status": {"state": "IN_PROGRESS"}, "outcome": "x"}
    shop.apps.deployments["d2"] = again
    shop.apps.apps["shop-dev"]["compute_status"] = {"state": state}
    active = {"compute_status": {"state": "ACTIVE"}, "pending_deployment": again}
    shop.apps.to_come["shop-dev"] = [{}, active, {}, {"live": "d2"}]
    assert shop.deploy() == 0, shop.said
    assert steps(shop) == [DEPLOYS]
    assert shop.said.index(f"waiting for the compute of shop-dev, which is {state.lower()}") < shop.said.index(
        "waiting for deployment d2 to end"
    )
    assert shop.active() == "d3"


def test_a_stopping_app_is_started_once_it_has_stopped(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["compute_status"] = {"state": "STOPPING"}
    shop.apps.to_come["shop-dev"] = [{}, {"compute_status": {"state": "STOPPED"}, "active_deployment": None}]
    assert shop.deploy() == 0, shop.said
    assert steps(shop) == [STARTS, DEPLOYS, DEPLOYS]


def test_an_app_that_is_being_deleted_is_made_anew_once_it_is_gone(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["compute_status"] = {"state": "DELETING"}
    shop.apps.to_come["shop-dev"] = [{}, {}, {"gone": True}]
    assert shop.deploy() == 0, shop.said
    assert "waiting for the compute of shop-dev, which is deleting" in shop.said
    assert steps(shop) == ["POST /api/2.0/apps", DEPLOYS]


@pytest.mark.parametrize(
    "words",
    [
        "Cannot deploy app shop-dev as there is an active deployment in progress.",
        "Cannot update app shop-dev as another operation is in progress.",
    ],
)
def test_a_platform_that_is_at_something_else_is_asked_again(shop: Shop, words: str) -> None:
    shop.deploy()
    shop.put("databricks.yml", BUNDLE.replace("A shop.", "Another shop."))
    shop.write(a_py="graph = 2\n")
    shop.apps.refusals[:] = [words, words]
    assert shop.deploy() == 0, shop.said
    assert steps(shop) == [CHANGES, CHANGES, CHANGES, DEPLOYS]
    shop.write(a_py="graph = 3\n")
    shop.apps.refusals[:] = [words]
    assert shop.deploy() == 0, shop.said
    assert steps(shop) == [DEPLOYS, DEPLOYS]


def test_a_platform_that_refuses_for_another_reason_is_not_asked_again(shop: Shop) -> None:
    shop.deploy()
    shop.write(a_py="graph = 2\n")
    shop.apps.refusals[:] = ["The quota of apps is used up."]
    assert shop.deploy() == 1
    assert "the workspace refused: The quota of apps is used up; rolled back to deployment d1" in shop.said[-1]


def test_a_platform_that_is_always_at_something_else_is_given_up(shop: Shop) -> None:
    shop.deploy()
    shop.write(a_py="graph = 2\n")
    shop.apps.refusals[:] = ["another operation is in progress"] * 99
    assert shop.deploy() == 1
    assert "the workspace refused: another operation is in progress" in shop.said[-1]
    assert 2 < len(steps(shop)) < 20


def test_a_start_that_ends_in_an_error_is_told_with_the_platforms_words(shop: Shop) -> None:
    shop.deploy()
    shop.apps.stop("shop-dev")
    broken = {"compute_status": {"state": "ERROR", "message": "No capacity for this size."}}
    shop.apps.of_a_start = [{}, broken]
    shop.write(a_py="graph = 2\n")
    assert shop.deploy() == 1
    assert "the app's compute does not start: No capacity for this size" in shop.said[-1]
    assert DEPLOYS not in steps(shop)


def test_a_stopped_app_goes_back_to_the_last_deployment_that_succeeded(shop: Shop) -> None:
    shop.deploy()
    first = shop.apps.below(FILES)
    # Newer than the last that succeeded, and nothing to go back to.
    failed = {**shop.apps.deployments["d1"], "deployment_id": "d2", "status": {"state": "FAILED"}}
    shop.apps.deployments["d2"] = failed
    shop.apps.stop("shop-dev")
    shop.write(a_py="graph = 'broken'\n")
    shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    assert "rolled back to deployment d1" in shop.said[-1]
    assert shop.apps.below(FILES) == first == shop.apps.snapshots[shop.active()]


def test_a_dry_run_does_not_wait_for_the_platform(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["compute_status"] = {"state": "STARTING"}
    assert shop.deploy(dry_run=True) == 0
    assert "a deployment would first wait for the compute of shop-dev, which is starting" in shop.said
