"""What a dry run tells somebody without an account, and problems that are told at once."""

import pytest
from tests.databricks.shop import APP, BUNDLE, Shop, git, refused

from graph_agent.deploying.rehearsal import rehearse
from graph_agent.errors import DeployRefused


def test_a_dry_run_without_an_account_does_all_that_needs_none_and_says_what_needs_one(nobody: Shop) -> None:
    assert nobody.deploy(dry_run=True, environ={}) == 0
    listed = [line.split(" (")[0].strip() for line in nobody.said if line.startswith("  ") and line.endswith("B)")]
    assert listed == sorted(nobody.rehearsed[0]) == ["a.py", "app.yaml", "langgraph.json", "src/deep/b.py"]
    began = nobody.said.index("not checked, because it needs a workspace; sign in and run the same command again:")
    assert nobody.said[began + 2 :] == [
        "  variable 'experiment' of databricks.yml has no value; set BUNDLE_VAR_experiment",
        "  that it exists, and that you may grant it to an app: model: serving endpoint local-model",
        "  that it exists, and that you may grant it to an app: index: uc securable main.docs.project",
        "  that it exists, and that you may grant it to an app: experiment: experiment unset",
        "  that you may manage the app shop-dev if it exists, and what would change",
        "  the upload, the deployment, one question to the app, and its permissions",
        "dry run: nothing was changed",
    ]
    assert "databricks auth login" in nobody.said[began + 1]
    assert nobody.standing.requests == []


def test_a_dry_run_without_an_account_tells_all_problems_at_once(nobody: Shop) -> None:
    nobody.put(
        "databricks.yml",
        BUNDLE.replace("name: shop-$", "name: Shop-$").replace("MEDIUM", "SMALL").replace("CAN_USE", "CAN_ABUSE"),
    )
    nobody.put("app.yaml", APP.replace("valueFrom: model", "valueFrom: modle") + "  - {name: A}\n")
    nobody.put("langgraph.json", '{"graphs": {"a": "./a.py:graph", "b": "./graphs/mine.py:graph", "c": "./c.py:g"}}')
    nobody.put("key.pem", "x")
    nobody.commit()
    (nobody.folder / "large.bin").write_bytes(b"x" * 10_000_001)
    git(nobody.folder, "add", "large.bin")
    nobody.put("graphs/mine.py", "graph = None\n")
    with pytest.raises(DeployRefused) as caught:
        nobody.deploy(dry_run=True)
    told = caught.value.message.splitlines()
    assert told[0] == "9 problems must be fixed first:"
    for words in (
        "only lowercase letters, digits and hyphens: 'Shop-dev'",
        "does not accept this compute_size: SMALL",
        "a permission needs a level",
        "GRAPH_AGENT_MODEL takes its value from 'modle'",
        "app.yaml: A needs either value or valueFrom",
        "files over 10 MB: large.bin",
        "these look like secrets and are not uploaded: key.pem",
        "graphs/mine.py, the file of graph 'b' in langgraph.json, is not tracked by git, so it is not uploaded; run",
        "c.py, the file of graph 'c' in langgraph.json, does not exist",
    ):
        assert sum(words in line for line in told) == 1, words
    assert nobody.rehearsed == []
    assert any(line.startswith("the app was not started on this machine") for line in nobody.said)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_graph_that_is_left_out_or_not_tracked_is_named(shop: Shop, dry_run: bool) -> None:
    shop.put("langgraph.json", '{"graphs": {"a": "./notes/a.py:graph", "b": "./b.py:graph", "c": "../c.py:graph"}}')
    shop.put("notes/a.py", "graph = None\n")
    shop.commit()
    shop.put("b.py", "graph = None\n")
    with pytest.raises(DeployRefused) as caught:
        shop.deploy(dry_run=dry_run)
    assert "notes/a.py, the file of graph 'a' in langgraph.json, is excluded by sync.exclude" in caught.value.message
    assert "run `git add b.py`" in caught.value.message
    assert "graph 'c' is outside the folder of databricks.yml" in caught.value.message
    assert shop.standing.calls(sign_in=False) == [] or dry_run


def test_a_dry_run_without_an_account_fails_where_the_app_does_not_start(nobody: Shop) -> None:
    nobody.put("app.yaml", APP.replace("[python, -m, graph_agent, serve]", "[python, -c, 'raise SystemExit(3)']"))
    nobody.commit()
    with pytest.raises(DeployRefused) as caught:
        nobody.deploy(dry_run=True, environ={}, rehearse=rehearse)
    # The variable is something of the workspace, and no problem here.
    assert caught.value.message.startswith("the app does not start from the files to upload: it ended with status 3")


def test_a_dry_run_whose_sign_in_fails_does_the_rest_all_the_same(
    nobody: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", nobody.standing.url)
    with pytest.raises(DeployRefused) as caught:
        nobody.deploy(dry_run=True, environ={})
    assert len(nobody.rehearsed) == 1
    assert "- could not sign in to a workspace: set DATABRICKS_HOST" in caught.value.message
    assert "- variable 'experiment' of databricks.yml has no value" in caught.value.message


def test_without_an_account_nothing_is_deployed(nobody: Shop) -> None:
    assert "could not sign in to a workspace" in refused(nobody)
    assert nobody.rehearsed == []


def test_problems_here_are_told_at_once_before_anything_is_called(shop: Shop) -> None:
    shop.write(
        databricks_yml=BUNDLE.replace("MEDIUM", "SMALL"), app_yaml=APP.replace("valueFrom: model", "valueFrom: x")
    )
    message = refused(shop, environ={})
    assert message.startswith("3 problems must be fixed first:\n- ")
    assert shop.standing.calls() == []
