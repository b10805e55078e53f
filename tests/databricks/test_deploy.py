"""`graph-agent deploy` against a stand-in workspace: the calls it makes, in order, and what it leaves behind."""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.databricks.shop import APP, BUNDLE, FILES, MANIFEST, READING, ROOT, Shop, git, refused
from tests.standin.apps import ANSWERS, FAILS

from graph_agent.deploying.deploy import Waits
from graph_agent.deploying.rehearsal import rehearse
from graph_agent.errors import AgentError, BadBundle
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback
from graph_agent.tracing.version import version_of


def test_the_first_deploy_uploads_creates_deploys_asks_and_then_lets_people_in(shop: Shop) -> None:
    assert shop.deploy() == 0
    lines = shop.lines()
    assert lines[:5] == READING
    writing = shop.lines(writing=True)
    imports = "POST /api/2.0/workspace/import"
    made = writing.index("POST /api/2.0/apps")
    assert writing[:2] == ["POST /api/2.0/workspace/mkdirs", imports]
    assert sorted(writing[2:made]) == [imports] * 5 + ["POST /api/2.0/workspace/mkdirs"]
    assert writing[made:] == [
        "POST /api/2.0/apps",
        "POST /api/2.0/apps/shop-dev/deployments",
        imports,
        "POST /api/2.0/workspace/delete",
        "PUT /api/2.0/permissions/apps/shop-dev",
    ]
    assert shop.uploads()[0] == shop.uploads()[-1] == MANIFEST
    assert shop.apps.below(FILES) == shop.rehearsed[0]
    assert sorted(shop.apps.below(FILES)) == ["a.py", "app.yaml", "langgraph.json", "src/deep/b.py"]
    [created] = shop.standing.calls("^/api/2.0/apps$")
    assert created.json == {
        "name": "shop-dev",
        "description": "A shop.",
        "compute_size": "MEDIUM",
        "resources": [
            {"name": "model", "serving_endpoint": {"name": "local-model", "permission": "CAN_QUERY"}},
            {
                "name": "index",
                "uc_securable": {
                    "securable_full_name": "main.docs.project",
                    "securable_type": "TABLE",
                    "permission": "SELECT",
                },
            },
            {"name": "experiment", "experiment": {"experiment_id": "123", "permission": "CAN_EDIT"}},
        ],
        "user_api_scopes": ["model-serving", "vector-search"],
    }
    [deployed] = shop.standing.calls("deployments$")
    assert deployed.json == {"source_code_path": FILES, "mode": "SNAPSHOT"}
    assert shop.apps.permissions["shop-dev"] == [
        {"group_name": "users", "permission_level": "CAN_USE"},
        {"user_name": "me@localhost", "permission_level": "CAN_MANAGE"},
    ]
    assert shop.manifest()["deployment"] == "d1" == shop.active()
    # The app is asked with the OAuth token the workspace minted, and streams.
    assert shop.app.questions == [{"input": "Say in one sentence what you can do.", "stream": True, "store": False}]
    assert set(shop.app.tokens) == {f"Bearer {deployed.token}"}
    assert any("GRANT SELECT ON TABLE main.docs.project TO `11111111-" in line for line in shop.said)


def test_a_redeploy_uploads_what_changed_and_deletes_what_is_gone(shop: Shop) -> None:
    shop.deploy()
    (shop.folder / "src/deep/b.py").unlink()
    shop.put("a.py", "graph = 1\n")
    shop.put("new/c.py", "c = 1\n")
    shop.commit()
    assert shop.deploy() == 0
    before = f"{ROOT}/before"
    uploads = shop.uploads()
    assert sorted(uploads[:2]) == [f"{before}/a.py", f"{before}/src/deep/b.py"]
    assert uploads[2] == MANIFEST
    assert sorted(uploads[3:5]) == [f"{FILES}/a.py", f"{FILES}/new/c.py"]
    assert uploads[5:] == [MANIFEST, MANIFEST]
    assert [one.json for one in shop.standing.calls("workspace/delete")] == [
        {"path": f"{FILES}/src/deep/b.py"},
        {"path": before, "recursive": True},
    ]
    assert shop.apps.snapshots["d2"] == shop.rehearsed[-1]
    assert shop.manifest()["deployment"] == "d2" == shop.active()
    assert not shop.standing.calls("/permissions/", sign_in=True)[1:]
    assert not [one for one in shop.standing.calls("/apps/shop-dev$") if one.method == "PATCH"]


def test_what_is_uploaded_is_told_in_order_by_one_thread(shop: Shop) -> None:
    told: list[tuple[str, int]] = []
    assert shop.deploy(say=lambda line: told.append((line, threading.get_ident()))) == 0
    uploaded = [re.fullmatch(r"uploaded \S+ \((\d+) of (\d+)\)", line) for line, _ in told]
    numbers = [(int(one[1]), int(one[2])) for one in uploaded if one]
    assert len(numbers) > 2
    assert numbers == [(at, len(numbers)) for at in range(1, len(numbers) + 1)]
    assert {thread for _, thread in told} == {threading.get_ident()}


def test_an_unchanged_redeploy_changes_nothing(shop: Shop) -> None:
    shop.deploy()
    assert shop.deploy() == 0
    assert shop.lines(writing=True) == []
    assert shop.said[-1] == "nothing to deploy: shop-dev already runs with the same files and configuration"
    assert len(shop.app.questions) == 1
    assert shop.deploy(force=True) == 0
    assert [path for path in shop.uploads() if path != MANIFEST] == []
    assert shop.active() == "d2"


def test_the_app_is_told_which_commit_it_is(shop: Shop, tmp_path: Path) -> None:
    shop.write(databricks_yml=BUNDLE.replace(", /graph-agent-version.txt", ""))
    assert shop.deploy() == 0
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=shop.folder, capture_output=True, text=True, check=True)
    (tmp_path / "graph-agent-version.txt").write_bytes(shop.apps.below(FILES)["graph-agent-version.txt"])
    assert version_of({}, tmp_path)["mlflow.source.git.commit"] == head.stdout.strip()
    assert shop.deploy() == 0
    assert shop.uploads() == []
    shop.write(notes__more_md="not needed either")
    assert shop.deploy() == 0
    assert [path for path in shop.uploads() if path.startswith(FILES)] == [f"{FILES}/graph-agent-version.txt"]


def test_a_workspace_may_list_its_paths_without_the_first_folder(shop: Shop) -> None:
    shop.apps.short_paths = True
    shop.deploy()
    assert shop.deploy() == 0
    assert shop.lines(writing=True) == []


def test_files_changed_or_deleted_by_hand_in_the_workspace_are_uploaded_again(shop: Shop) -> None:
    shop.deploy()
    del shop.apps.files[f"{FILES}/a.py"]
    shop.apps.files[f"{FILES}/app.yaml"] = b"command: [evil]", 1
    assert shop.deploy() == 0
    assert shop.apps.below(FILES) == shop.rehearsed[-1]
    assert sorted(path for path in shop.uploads() if path.startswith(FILES)) == [f"{FILES}/a.py", f"{FILES}/app.yaml"]


def a_teams_folder(shop: Shop) -> dict[str, bytes]:
    """Two files of others where the app's are to go."""
    theirs = {"analysis": b"# Databricks notebook source\n", "old/numbers.csv": b"1,2"}
    shop.apps.folders |= {FILES, f"{FILES}/old"}
    shop.apps.files |= {f"{FILES}/{path}": (content, 1) for path, content in theirs.items()}
    return theirs


@pytest.mark.parametrize("before", [True, False])
def test_files_that_no_deployment_put_there_are_named_and_not_deleted(shop: Shop, before: bool) -> None:
    if before:
        shop.deploy()
    theirs = a_teams_folder(shop)
    message = refused(shop)
    assert f"{FILES} has files that no deployment uploaded: analysis, old/numbers.csv;" in message
    assert "--force" in message
    assert theirs.items() <= shop.apps.below(FILES).items()
    assert refused(shop, dry_run=True) == message


@pytest.mark.parametrize("before", [True, False])
def test_force_deletes_files_of_others_and_keeps_copies(shop: Shop, before: bool) -> None:
    if before:
        shop.deploy()
    theirs = a_teams_folder(shop)
    assert shop.deploy(force=True) == 0
    assert "  delete old/numbers.csv" in shop.said
    assert shop.apps.below(FILES) == shop.rehearsed[-1]
    copies = shop.apps.below(f"{ROOT}/removed")
    assert {path.partition("/")[2]: content for path, content in copies.items()} == theirs
    [said] = [line for line in shop.said if line.startswith("copied 2 files that no deployment uploaded to ")]
    assert {path.partition("/")[0] for path in copies} == {said.rpartition("/")[2]}
    assert shop.deploy() == 0
    assert shop.apps.below(f"{ROOT}/removed") == copies


def test_a_copy_is_kept_of_a_file_of_others_that_is_overwritten(shop: Shop) -> None:
    shop.apps.folders |= {FILES}
    same = (shop.folder / "langgraph.json").read_bytes()
    shop.apps.files |= {f"{FILES}/a.py": (b"theirs = 1\n", 1), f"{FILES}/langgraph.json": (same, 1)}
    assert shop.deploy() == 0
    [(path, content)] = shop.apps.below(f"{ROOT}/removed").items()
    assert (path.partition("/")[2], content) == ("a.py", b"theirs = 1\n")
    shop.write(a_py="graph = 2\n")
    assert shop.deploy() == 0
    assert len(shop.apps.below(f"{ROOT}/removed")) == 1


def test_files_of_others_are_back_after_a_rollback_and_still_not_ours(shop: Shop) -> None:
    shop.deploy()
    theirs = a_teams_folder(shop)
    shop.app.answers[:] = [FAILS]
    assert shop.deploy(force=True) == 1
    assert "rolled back to deployment d1" in shop.said[-1]
    assert theirs.items() <= shop.apps.below(FILES).items()
    assert "no deployment uploaded: analysis, old/numbers.csv;" in refused(shop)


def test_what_a_first_deployment_left_when_it_broke_off_is_known_as_its_own(shop: Shop) -> None:
    # The manifest and two of the sources arrive.
    shop.standing.slow("workspace/import", 0, times=3)
    break_imports(shop)
    assert shop.deploy() == 1
    left = sorted(shop.apps.below(FILES))
    assert len(left) == 2
    shop.standing.clear_faults()
    for path in ("a.py", "src/deep/b.py"):
        (shop.folder / path).unlink()
    shop.put("langgraph.json", '{"graphs": {"a": "./c.py:graph"}}')
    shop.put("c.py", "graph = None\n")
    shop.commit()
    shop.apps.files[f"{FILES}/a.py"] = b"graph = None\n", 1
    assert shop.deploy() == 0
    assert shop.apps.below(FILES) == shop.rehearsed[-1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (FAILS, "the deployed app's answer ended as response.failed (model_failed)"),
        (("response.created", "response.completed"), "the deployed app answered, but streamed no text"),
        (("response.output_text.delta",), "the deployed app's answer ended without response.completed"),
        (502, "the deployed app did not answer within 2 s (status 502)"),
        (500, "the deployed app answered with status 500"),
        (0, "the app's answer was cut off (RemoteProtocolError)"),
        (401, "did not accept your token (status 401)"),
    ],
)
def test_a_failing_smoke_test_brings_the_deployment_before_back(shop: Shop, answer: Any, why: str) -> None:
    shop.deploy()
    first, app_before = shop.apps.below(FILES), dict(shop.apps.apps["shop-dev"])
    (shop.folder / "src/deep/b.py").unlink()
    shop.put("a.py", "graph = 'broken'\n")
    shop.put("c.py", "c = 1\n")
    shop.put("databricks.yml", BUNDLE.replace("A shop.", "Another shop.").replace("MEDIUM", "LARGE"))
    shop.commit()
    shop.app.answers[:] = [answer]
    assert shop.deploy() == 1
    assert shop.apps.below(FILES) == first == shop.apps.snapshots["d3"]
    assert [one.json for one in shop.standing.calls("deployments$")] == [
        {"source_code_path": FILES, "mode": "SNAPSHOT"},
        {"source_code_path": FILES, "mode": "SNAPSHOT"},
    ]
    put = [one for one in shop.standing.calls("/apps/shop-dev") if one.method != "GET"]
    assert [one.line.removeprefix("POST /api/2.0/apps/") for one in put] == [
        "shop-dev/update",
        "shop-dev/deployments",
        "shop-dev/update",
        "shop-dev/deployments",
    ]
    # What differs and nothing else is changed, so that no field is cleared that this SDK does not know.
    changed = {"name": "shop-dev", "description": "Another shop.", "compute_size": "LARGE"}
    assert put[0].json == {"update_mask": "description,compute_size", "app": changed}
    back = {**changed, "description": "A shop.", "compute_size": "MEDIUM"}
    assert put[2].json == {"update_mask": "description,compute_size", "app": back}
    for name in ("description", "resources", "user_api_scopes", "compute_size"):
        assert shop.apps.apps["shop-dev"][name] == app_before[name]
    assert why in shop.said[-1]
    assert "rolled back to deployment d1: its files and the app's configuration are restored" in shop.said[-1]
    assert not any("secret" in line for line in shop.said)
    # What was restored is known: the next deploy uploads the same three again, and no more.
    assert shop.manifest()["deployment"] == "d3" == shop.active()
    shop.app.answers[:] = [ANSWERS]
    assert shop.deploy() == 0
    assert sorted(path for path in shop.uploads() if path.startswith(FILES)) == [f"{FILES}/a.py", f"{FILES}/c.py"]


def test_an_app_that_is_still_being_exchanged_is_waited_for(shop: Shop) -> None:
    shop.app.answers[:] = [503, 502, ANSWERS]
    assert shop.deploy() == 0
    assert len(shop.app.questions) == 3


def test_a_deployment_the_platform_refuses_is_rolled_back_with_its_command_and_variables(shop: Shop) -> None:
    shop.deploy()
    active = shop.apps.apps["shop-dev"]["active_deployment"]
    active |= {"command": ["old"], "env_vars": [{"name": "A", "value_from": "model"}]}
    shop.write(a_py="graph = 2\n")
    shop.apps.outcomes[:] = ["FAILED"]
    shop.apps.why = "pip found\x1b[2J no such  package."
    assert shop.deploy() == 1
    assert [one.json for one in shop.standing.calls("deployments$")][1] == {
        "source_code_path": FILES,
        "mode": "SNAPSHOT",
        "command": ["old"],
        "env_vars": [{"name": "A", "value_from": "model"}],
    }
    assert "the deployment failed on the platform: pip found [2J no such package;" in shop.said[-1]
    assert "rolled back to deployment d1: its files are restored" in shop.said[-1]
    assert len(shop.app.questions) == 1


@pytest.mark.parametrize("outcome", ["IN_PROGRESS", "CANCELLED"])
def test_a_deployment_that_never_succeeds_is_waited_for_no_longer_than_told(shop: Shop, outcome: str) -> None:
    shop.deploy()
    shop.write(a_py="graph = 2\n")
    shop.apps.outcomes[:] = [outcome]
    assert shop.deploy() == 1
    why = "did not end within 1.5 s" if outcome == "IN_PROGRESS" else "was cancelled"
    assert why in shop.said[-1]
    if outcome == "CANCELLED":
        assert "rolled back to deployment d1" in shop.said[-1]
        return
    assert "deployment d2 was still in progress after another 1.5 s and may still go live" in shop.said[-1]
    assert len(shop.standing.calls("deployments$")) == 1
    # Nothing is taken from below a deployment that goes on.
    assert shop.apps.below(FILES) == shop.apps.snapshots["d2"]


def interrupting(shop: Shop) -> Callable[[str], None]:
    """Ctrl-C as soon as the deployment is under way."""

    def say(line: str) -> None:
        shop.said.append(line)
        if line == "deployment d2: in progress":
            raise KeyboardInterrupt

    return say


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_rollback_waits_for_the_deployment_that_is_under_way(shop: Shop, interrupted: bool) -> None:
    shop.deploy()
    first = shop.apps.below(FILES)
    shop.put("databricks.yml", BUNDLE.replace("A shop.", "Another shop."))
    shop.write(a_py="graph = 2\n")
    shop.apps.outcomes[:] = ["LATE"]
    assert shop.deploy(**({"say": interrupting(shop)} if interrupted else {})) == 1
    assert ("it was interrupted" if interrupted else "did not end within 1.5 s") in shop.said[-1]
    assert "waiting for deployment d2 to end" in shop.said
    assert "rolled back to deployment d1: its files and the app's configuration are restored" in shop.said[-1]
    assert shop.active() == "d3" == shop.manifest()["deployment"]
    assert shop.apps.below(FILES) == first == shop.apps.snapshots["d3"]
    assert shop.apps.apps["shop-dev"]["description"] == "A shop."


def test_a_first_deployment_that_fails_says_that_there_is_nothing_to_go_back_to(shop: Shop) -> None:
    shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    assert "there is no earlier deployment to roll back to" in shop.said[-1]
    assert len(shop.standing.calls("deployments$")) == 1
    assert "shop-dev" not in shop.apps.permissions
    # It runs, but was not seen to work: the next one deploys again.
    shop.app.answers[:] = [ANSWERS]
    assert shop.deploy() == 0
    assert shop.active() == "d2"


def test_a_rollback_that_fails_too_says_so(shop: Shop) -> None:
    shop.deploy()
    shop.write(a_py="graph = 2\n")
    shop.apps.outcomes[:] = ["FAILED", "FAILED"]
    assert shop.deploy() == 1
    assert "the rollback to deployment d1 failed too" in shop.said[-1]
    assert shop.deploy() == 0
    assert shop.apps.snapshots[shop.active()] == shop.rehearsed[-1]


def break_imports(shop: Shop) -> None:
    shop.standing.fail(r"workspace/import", 500, times=99)


def cut_imports(shop: Shop) -> None:
    shop.standing.hang_up(r"workspace/import", after=0, times=99)


@pytest.mark.parametrize(
    ("fault", "after"),
    [(break_imports, 1), (break_imports, 2), (break_imports, 3), (break_imports, 5), (cut_imports, 4)],
)
def test_an_interrupted_upload_is_healed_by_the_next_deploy(
    shop: Shop, fault: Callable[[Shop], None], after: int
) -> None:
    shop.deploy()
    first = shop.apps.below(FILES)
    for name in ("a.py", "src/deep/b.py", "c.py", "d.py"):
        shop.put(name, f"changed = {name!r}\n")
    shop.commit()
    # Of the imports the first two keep contents aside, the third is the manifest, and four are sources.
    shop.standing.slow("workspace/import", 0, times=after)
    fault(shop)
    assert shop.deploy() == 1
    assert "the app was not changed, and the next deployment uploads the rest" in shop.said[-1]
    assert shop.standing.calls("deployments$") == []
    shop.standing.clear_faults()

    # Even a next deploy that fails goes back to what runs, not to the half-uploaded folder.
    shop.app.answers[:] = [FAILS]
    shop.put("a.py", "changed = 'again'\n")
    shop.put("e.py", "e = 1\n")
    shop.commit()
    assert shop.deploy() == 1
    assert "rolled back to deployment d1" in shop.said[-1]
    assert shop.apps.below(FILES) == first == shop.apps.snapshots[shop.active()]

    shop.app.answers[:] = [ANSWERS]
    assert shop.deploy() == 0
    assert shop.apps.below(FILES) == shop.rehearsed[-1] == shop.apps.snapshots[shop.active()]


@pytest.mark.parametrize("clock", [True, False])
def test_an_interrupted_upload_is_healed_when_the_change_is_taken_back(shop: Shop, clock: bool) -> None:
    shop.apps.clock = clock
    shop.deploy()
    first = shop.apps.below(FILES)
    shop.write(a_py="graph = 'half'\n")
    # The contents kept aside, the manifest and the file arrive; what comes after them does not.
    shop.standing.slow("workspace/import", 0, times=3)
    break_imports(shop)
    assert shop.deploy() == 1
    assert shop.apps.below(FILES) != first
    shop.standing.clear_faults()
    shop.write(a_py="graph = None\n")
    assert shop.deploy() == 0
    assert f"{FILES}/a.py" in shop.uploads()
    assert shop.apps.below(FILES) == first


def test_a_deployment_somebody_else_made_is_replaced(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["active_deployment"] |= {"deployment_id": "theirs"}
    assert shop.deploy() == 0
    assert len(shop.standing.calls("deployments$")) == 1


def test_an_app_that_crashed_is_deployed_again(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["app_status"] = {"state": "CRASHED"}
    assert shop.deploy() == 0
    assert len(shop.standing.calls("deployments$")) == 1


def test_an_upload_told_to_wait_is_tried_again(shop: Shop) -> None:
    shop.standing.fail("workspace/import", 429, headers={"retry-after": "0"})
    assert shop.deploy() == 0, shop.said


def test_a_dry_run_prints_the_plan_and_writes_nothing(shop: Shop) -> None:
    assert shop.deploy(dry_run=True) == 0
    assert shop.lines(writing=True) == []
    assert "create app shop-dev (target dev)" in shop.said
    assert any(line.startswith("  upload src/deep/b.py (") for line in shop.said)
    assert shop.said[-1] == "dry run: nothing was changed"
    assert len(shop.rehearsed) == 1


def test_a_target_and_another_name_have_a_folder_of_their_own(shop: Shop) -> None:
    assert shop.deploy(target="prod", app="other") == 0
    [created] = shop.standing.calls("^/api/2.0/apps$")
    assert (created.json["name"], created.json["compute_size"]) == ("other", "LARGE")
    [deployed] = shop.standing.calls("deployments$")
    assert deployed.json["source_code_path"] == ROOT.replace("dev", "prod-other/files")


def test_fields_the_bundle_does_not_declare_are_kept(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"] |= {"budget_policy_id": "b", "newer_than_the_sdk": 1, "description": "Changed by hand."}
    assert shop.deploy() == 0
    [change] = [one.json for one in shop.standing.calls("/apps/shop-dev/update$") if one.method == "POST"]
    assert change == {"update_mask": "description", "app": {"name": "shop-dev", "description": "A shop."}}
    kept = shop.apps.apps["shop-dev"]
    assert (kept["budget_policy_id"], kept["newer_than_the_sdk"], kept["description"]) == ("b", 1, "A shop.")


GRANTED = "        - {level: CAN_USE, group_name: users}\n"


USERS = {"group_name": "users", "permission_level": "CAN_USE"}


MINE = {"user_name": "me@localhost", "permission_level": "CAN_MANAGE"}


@pytest.mark.parametrize("left", [True, False])
def test_access_that_is_taken_out_of_the_bundle_is_taken_away(shop: Shop, left: bool) -> None:
    analysts = GRANTED.replace("users", "analysts") if left else ""
    shop.write(databricks_yml=BUNDLE.replace(GRANTED, analysts + GRANTED))
    shop.deploy()
    assert USERS in shop.apps.permissions["shop-dev"]
    shop.write(databricks_yml=BUNDLE.replace(GRANTED, analysts))
    assert shop.deploy(dry_run=True) == 0
    assert "  remove permission: CAN_USE for users" in shop.said
    assert shop.deploy() == 0
    others = [{**USERS, "group_name": "analysts"}] if left else []
    assert shop.apps.permissions["shop-dev"] == [*others, MINE]
    assert "setting permissions; removed: CAN_USE for users" in shop.said
    # The inherited ones of the administrators are no difference.
    assert shop.deploy() == 0
    assert shop.said[-1].startswith("nothing to deploy")


def test_who_made_the_app_keeps_managing_it_and_nobody_else_does(shop: Shop) -> None:
    shop.deploy()
    shop.apps.apps["shop-dev"]["creator"] = "Owner@localhost"
    owner = {"user_name": "owner@localhost", "permission_level": "CAN_MANAGE"}
    shop.apps.permissions["shop-dev"] += [owner]
    assert shop.deploy() == 0
    assert shop.said[-1].startswith("nothing to deploy")
    robot = {"service_principal_name": "r-1", "permission_level": "CAN_MANAGE"}
    shop.apps.permissions["shop-dev"] += [robot, {**USERS, "permission_level": "CAN_MANAGE"}]
    assert shop.deploy() == 0
    assert "  remove permission: CAN_MANAGE for r-1" in shop.said
    assert "  remove permission: CAN_MANAGE for users" in shop.said
    assert shop.apps.permissions["shop-dev"] == [USERS, owner, MINE]


def test_a_bundle_without_permissions_leaves_those_of_the_app_alone(shop: Shop) -> None:
    shop.deploy()
    shop.write(databricks_yml=BUNDLE.replace(f"      permissions:\n{GRANTED}", ""))
    assert shop.deploy(force=True) == 0
    assert "the bundle does not list permissions, so the app's permissions are not changed" in shop.said
    assert shop.apps.permissions["shop-dev"] == [USERS, MINE]


def test_resources_that_are_not_there_are_all_named(shop: Shop) -> None:
    environ = {"BUNDLE_VAR_endpoint": "gone", "BUNDLE_VAR_index": "main.docs.gone", "BUNDLE_VAR_experiment": "7"}
    assert refused(shop, environ=environ) == (
        "the app needs resources that are not available: model: serving endpoint gone does not exist;"
        " index: uc securable main.docs.gone does not exist; experiment: experiment 7 does not exist"
    )


def test_a_file_over_10_mb_is_refused_by_name(shop: Shop) -> None:
    (shop.folder / "large.bin").write_bytes(b"x" * 10_000_001)
    shop.commit()
    assert "files over 10 MB: large.bin (10.0 MB)" in refused(shop)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".env", "A=1"),
        ("conf/server.pem", "x"),
        ("a.py", "TOKEN = 'dapi" + "0" * 32 + "'"),
        ("k.txt", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ],
)
def test_what_looks_like_a_secret_is_not_uploaded(shop: Shop, path: str, text: str) -> None:
    shop.put(path, text)
    shop.commit()
    message = refused(shop)
    assert f"these look like secrets and are not uploaded: {path}" in message
    assert "dapi0" not in message


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        (".git-credentials", "x", "by its name"),
        ("home/.aws/credentials", "x", "by its name"),
        ("prod.env", "A=1", "by its name"),
        ("terraform.tfstate", "{}", "by its name"),
        ("config.yaml", "url: postgres://app:tulip7-9d1e@db/main", "a password in line 1"),
        ("a.py", "# a\nKEY = 'ghp_" + "a1B2" * 9 + "'", "a GitHub token in line 2"),
    ],
    # pytest puts the name of a test into the environment, where the password of a URL counts as a known secret.
    ids=["git", "home", "env", "terraform", "url", "token"],
)
def test_what_of_a_secret_a_file_holds_is_told(shop: Shop, path: str, text: str, kind: str) -> None:
    shop.put(path, text)
    shop.commit()
    message = refused(shop)
    assert f"{path} ({kind})" in message
    assert "hunter2" not in message
    assert ".secrets-allowed" in message


def test_a_false_alarm_can_be_allowed_by_a_line_or_for_a_file(shop: Shop) -> None:
    shop.put("a.py", "KEY = 'ghp_" + "a1B2" * 9 + "'  # pragma: allowlist secret\n")
    shop.put("fixtures/b.json", '{"client_secret": "a8f3b2c1d4e5f6a7"}')
    shop.put(".secrets-allowed", "fixtures/*\n")
    shop.commit()
    assert shop.deploy() == 0


@pytest.mark.parametrize("leads_to", ["outside", "untracked", "folder", "nowhere", "itself"])
def test_a_link_is_not_followed_out_of_what_is_uploaded(shop: Shop, tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "outside.txt").write_text("from outside of the project")
    (shop.folder / "ignored.txt").write_text("never added to git")
    (shop.folder / "sub").mkdir()
    targets = {
        "outside": tmp_path / "outside.txt",
        "untracked": Path("ignored.txt"),
        "folder": Path("sub"),
        "nowhere": Path("gone.txt"),
        "itself": Path("link.txt"),
    }
    (shop.folder / ".gitignore").write_text("ignored.txt\n")
    (shop.folder / "link.txt").symlink_to(targets[leads_to])
    shop.commit()
    assert "these links point to files that are not uploaded: link.txt" in refused(shop)


def test_a_link_to_a_file_that_is_uploaded_becomes_that_file(shop: Shop) -> None:
    shop.put("real.txt", "the words")
    (shop.folder / "link.txt").symlink_to("real.txt")
    shop.commit()
    assert shop.deploy() == 0


def test_a_personal_access_token_is_refused_before_anything_is_called(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_CLIENT_ID")
    monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
    monkeypatch.setenv("DATABRICKS_TOKEN", shop.standing.credentials.token)
    message = refused(shop)
    assert "accepts OAuth tokens only" in message
    assert shop.standing.credentials.token not in message
    assert shop.standing.calls() == []


def test_without_credentials_the_way_to_sign_in_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "could not sign in to a workspace" in refused(shop)


def test_an_app_of_somebody_else_is_refused(shop: Shop) -> None:
    shop.deploy()
    shop.standing.fail("/permissions/", 403)
    assert "you may not manage the app 'shop-dev'" in refused(shop)


@pytest.mark.parametrize("environ", [{}, {"BUNDLE_VAR_experiment": ""}])
def test_a_variable_without_a_value_is_named_before_anything_is_called(shop: Shop, environ: dict[str, str]) -> None:
    assert "set BUNDLE_VAR_experiment" in refused(shop, BadBundle, environ=environ)
    assert shop.standing.calls() == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("databricks.yml", "${var.size}", "${var.sise}", "has no variable 'sise'"),
        ("databricks.yml", "A shop.", "${resources.jobs.x.id}", "unsupported reference: ${resources.jobs.x.id}"),
        ("databricks.yml", "A shop.", "${var.loop}", "form a cycle"),
        ("databricks.yml", "A shop.", "A: [shop", "is not valid YAML"),
        (
            "databricks.yml",
            "description: A shop.",
            "config: {cmd: [x]}",
            "the app's config may have only command and env",
        ),
        (
            "databricks.yml",
            "description: A shop.",
            "config: {command: x y}",
            "config: command must be a list of strings",
        ),
        (
            "databricks.yml",
            "description: A shop.",
            "config: {env: [{name: A, valueFrom: model}]}",
            "config: A needs either value or value_from",
        ),
        (
            "databricks.yml",
            "description: A shop.",
            "config: {env: [{name: A, value_from: modle}]}",
            "databricks.yml, config: A takes its value from 'modle', which is not a resource of the bundle's app",
        ),
        ("databricks.yml", "A shop.", "A ${var.many}", "${var.many} is not a single value"),
        ("databricks.yml", "A shop.", "${var.round}", "form a cycle"),
        ("databricks.yml", "bundle: {", "include: [more.yml]\nbundle: {", "`include` is not supported by this command"),
        ("databricks.yml", "MEDIUM", "SMALL", "does not accept this compute_size: SMALL"),
        ("databricks.yml", "CAN_QUERY", "CAN_QEURY", "does not accept this resources: {'name': 'model'"),
        ("databricks.yml", "name: experiment, ", "", "every resource of the app needs a unique name"),
        ("databricks.yml", "CAN_USE", "CAN_ABUSE", "a permission needs a level (CAN_MANAGE or CAN_USE)"),
        ("databricks.yml", "resources:\n  apps:", "resources: [x]\nx:\n  apps:", "is not a valid bundle"),
        ("databricks.yml", "name: shop-$", "name: Shop-$", "only lowercase letters, digits and hyphens: 'Shop-dev'"),
        ("databricks.yml", "name: shop-$", "name: s" + "-o" * 13 + "-$", "must have 2 to 30 characters"),
        ("databricks.yml", "name: shop-$", "name: -shop-$", "begin and end with a letter or digit"),
        ("databricks.yml", "name: shop-${bundle.target}", "name: s", "'s' has 1"),
        (
            "app.yaml",
            "valueFrom: model",
            "valueFrom: modle",
            "not a resource of the bundle's app; the resources are: model, index",
        ),
        ("app.yaml", "[python, -m, graph_agent, serve]", "python serve", "command must be a list of strings"),
        ("langgraph.json", "graphs", "graph", "langgraph.json"),
    ],
)
def test_a_broken_project_is_refused(shop: Shop, file: str, old: str, new: str, message: str) -> None:
    text = (shop.folder / file).read_text().replace(old, new)
    more = "  loop: {default: 'x${var.loop}'}\n  round: {default: ['${var.round}']}\n  many: {default: [x]}\n"
    shop.put(file, text.replace("  size:", f"{more}  size:"))
    shop.commit()
    assert message in refused(shop, AgentError)


def test_the_workspaces_own_words_are_told_without_secrets(shop: Shop) -> None:
    words = "Preview is off for token dapi" + "0123456789abcdef" * 2
    shop.standing.fail("^/api/2.0/apps$", 400, method="POST", body={"error_code": "BAD_REQUEST", "message": words})
    assert shop.deploy() == 1
    assert "the workspace refused: Preview is off for token [redacted" in shop.said[-1]
    assert "0123456789abcdef" not in shop.said[-1]


@pytest.mark.parametrize("path", ["/apps/shop-dev$", "workspace/list"])
def test_a_workspace_that_fails_before_anything_is_changed_is_an_error_of_ours(shop: Shop, path: str) -> None:
    shop.standing.fail(path, 500, times=9)
    assert "the current state of shop-dev cannot be read: the workspace refused" in refused(shop)


def test_the_smoke_test_reads_what_the_service_really_streams(shop: Shop) -> None:
    graphs = Path(__file__).parents[1] / "graphs" / "langgraph.json"
    with on_loopback(create_app(Settings(config=graphs, default_graph="echo", tracing="off", store="memory"))) as url:
        shop.apps.url = url
        assert shop.deploy(waits=Waits(ready=60)) == 0
    assert any(line.startswith("the app answers: first word after") for line in shop.said)


def test_an_app_that_does_not_start_here_is_not_deployed(shop: Shop) -> None:
    shop.put(
        "app.yaml", APP.replace("[python, -m, graph_agent, serve]", "[python, -c, 'print(7); raise SystemExit(3)']")
    )
    shop.commit()
    message = refused(shop, rehearse=rehearse)
    assert message == "the app does not start from the files to upload: it ended with status 3\n  | 7"


def test_an_app_that_is_never_ready_here_is_not_waited_for_for_ever(shop: Shop) -> None:
    shop.put("app.yaml", APP.replace("[python, -m, graph_agent, serve]", "[python, -c, 'import time; time.sleep(60)']"))
    shop.commit()
    assert "it was not ready within 0.5 s" in refused(shop, rehearse=rehearse, waits=Waits(start=0.5))


def test_resources_that_only_the_cli_deploys_are_pointed_out(shop: Shop) -> None:
    shop.put("databricks.yml", BUNDLE.replace("resources:\n  apps:", "resources:\n  jobs: {j: {}}\n  apps:"))
    shop.commit()
    assert shop.deploy(dry_run=True) == 0
    assert "warning: this command does not deploy the bundle's jobs; use the Databricks CLI" in shop.said


def test_a_bundle_for_another_workspace_is_refused(shop: Shop) -> None:
    shop.put("databricks.yml", BUNDLE + "workspace: {host: 'https://other.example'}\n")
    shop.commit()
    assert "the bundle is for https://other.example, but the credentials are for http://127" in refused(shop)


def test_what_is_deployed_without_a_commit_and_what_is_not_deployed_are_told_apart(shop: Shop) -> None:
    shop.put("a.py", "graph = 3\n")
    shop.put("added.py", "new = True\n")
    git(shop.folder, "add", "added.py")
    (shop.folder / "src/deep/b.py").unlink()
    shop.put("notes/excluded.py", "")
    git(shop.folder, "add", "notes/excluded.py")
    shop.put("new.py", "")
    assert shop.deploy() == 0
    assert "warning: uncommitted changes are deployed too: a.py, added.py, src/deep/b.py" in shop.said
    assert "warning: not uploaded, because git does not track them: new.py" in shop.said
    assert shop.apps.below(FILES)["a.py"] == b"graph = 3\n"
    assert shop.apps.below(FILES)["added.py"] == b"new = True\n"
    assert not {"new.py", "src/deep/b.py", "notes/excluded.py"} & set(shop.apps.below(FILES))


def test_a_commit_leaves_nothing_to_point_out(shop: Shop) -> None:
    shop.put("a.py", "graph = 3\n")
    shop.commit()
    assert shop.deploy(dry_run=True) == 0
    assert not any("uncommitted" in line or "does not track" in line for line in shop.said)


def test_files_that_are_added_before_the_first_commit_are_reported_as_deployed(nobody: Shop) -> None:
    shutil.rmtree(nobody.folder / ".git")
    git(nobody.folder, "init", "--quiet")
    git(nobody.folder, "add", "--all")
    nobody.put("new.py", "")
    assert nobody.deploy(dry_run=True, environ={}) == 0
    [deployed] = [line for line in nobody.said if line.startswith("warning: uncommitted changes are deployed too: ")]
    assert "a.py" in deployed
    assert "warning: not uploaded, because git does not track them: new.py" in nobody.said


def test_uncommitted_files_of_a_bundle_below_the_repository_are_named_by_their_path_in_the_bundle(
    shop: Shop,
) -> None:
    shutil.rmtree(shop.folder / ".git")
    git(shop.folder.parent, "init", "--quiet")
    git(shop.folder.parent, "add", "--all")
    git(shop.folder.parent, "commit", "--quiet", "--message", "all")
    shop.put("a.py", "graph = 3\n")
    assert shop.deploy(dry_run=True) == 0
    assert "warning: uncommitted changes are deployed too: a.py" in shop.said
