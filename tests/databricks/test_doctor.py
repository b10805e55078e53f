"""`graph-agent doctor` in a workspace: what is missing is named, and how to mend it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.databricks.service import GRAPHS
from tests.standin.server import StandIn, stand_in

from graph_agent.commands.cli import main

BUNDLE = "resources: {{apps: {{agent: {{name: agent, user_api_scopes: [{}]}}}}}}"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working folder, a laptop's local model looked for in an empty cache."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GRAPH_AGENT_CACHE_DIR", str(tmp_path / "cache"))
    # As on Apps: nothing of the laptop's is looked at.
    monkeypatch.setenv("DATABRICKS_APP_NAME", "agent")
    return folder


def diagnosed(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["doctor", "--config", str(GRAPHS)])
    return status, capsys.readouterr().out


def test_a_workspace_in_order_is_well(standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = diagnosed(capsys)
    assert (status, "FIX " in said) == (0, False), said
    assert "signed in to" in said
    assert "model endpoint local-model is ready" in said
    assert "index main.docs.project is ready" in said
    assert "ok   chat endpoints of the workspace: local-model\n" in said


def test_the_weights_of_the_local_model_are_missed_only_where_there_is_no_workspace(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_APP_NAME")
    weights = [line for line in diagnosed(capsys)[1].splitlines() if "downloaded and verified" in line]
    assert len(weights) == 3
    assert {line[:5] for line in weights} == {"ok   "}
    assert all("is not downloaded and verified (only `graph-agent dev` needs it" in line for line in weights)
    monkeypatch.delenv("DATABRICKS_HOST")
    weights = [line for line in diagnosed(capsys)[1].splitlines() if "downloaded and verified" in line]
    assert {line[:5] for line in weights} == {"FIX  "}


def test_chat_endpoints_are_listed_with_their_state_and_other_endpoints_are_not(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def endpoint(name: str, task: str, ready: str = "READY") -> dict[str, Any]:
        return {"name": name, "task": task, "state": {"ready": ready}}

    many = [endpoint(f"model-{number:02}", "llm/v1/chat") for number in range(60)]
    for listed, told in (
        ([endpoint("b", "llm/v1/chat", "NOT_READY"), endpoint("a", "agent/v2/chat")], "a, b (not ready)"),
        ([endpoint("e", "llm/v1/embeddings"), {"name": "no-task"}], "none"),
        (many, ", ".join(f"model-{number:02}" for number in range(50)) + ", and 10 more"),
    ):
        standing.fail("^/api/2.0/serving-endpoints$", 200, body={"endpoints": listed})
        assert f"ok   chat endpoints of the workspace: {told}\n" in diagnosed(capsys)[1]
    # An app need not be allowed to list them.
    standing.fail("^/api/2.0/serving-endpoints$", 403)
    status, said = diagnosed(capsys)
    assert (status, "cannot be listed from here (PermissionDenied)" in said) == (0, True)


def test_an_unset_model_has_to_be_mended_in_a_workspace_that_is_not_this_machines(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stand-in is on this machine, and answers to no other name.
    monkeypatch.setattr("graph_agent.databricks.default_model.is_loopback", lambda name: False)
    status, said = diagnosed(capsys)
    assert status == 1
    assert "FIX  GRAPH_AGENT_MODEL\n     -> GRAPH_AGENT_MODEL is not set" in said
    assert "chat endpoints of the workspace: local-model" in said


def test_a_model_of_the_gateway_is_no_serving_endpoint(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_MODEL", "databricks:system.ai.claude")
    status, said = diagnosed(capsys)
    assert (status, "system.ai" in said) == (0, False)


def test_what_does_not_exist_is_named(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_MODEL", "databricks:no-such-endpoint")
    monkeypatch.setenv("GRAPH_AGENT_INDEX", "main.docs.nothing")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "404")
    status, said = diagnosed(capsys)
    assert status == 1
    assert "model endpoint no-such-endpoint does not exist\n     -> create the serving endpoint" in said
    assert "index main.docs.nothing does not exist" in said
    assert "MLflow experiment 404 does not exist\n     -> create the experiment" in said


def test_the_endpoint_of_memories_is_checked_if_it_is_set(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "embedding endpoint" not in diagnosed(capsys)[1]
    monkeypatch.setenv("GRAPH_AGENT_EMBEDDINGS", "databricks:local-minilm")
    assert "embedding endpoint local-minilm is ready" in diagnosed(capsys)[1]
    monkeypatch.setenv("GRAPH_AGENT_EMBEDDINGS", "databricks:no-such-endpoint")
    status, said = diagnosed(capsys)
    assert status == 1
    assert "embedding endpoint no-such-endpoint does not exist\n     -> create the serving endpoint" in said
    assert "or set GRAPH_AGENT_EMBEDDINGS to another" in said


def test_what_may_not_be_seen_says_which_grant_is_missing(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    standing.fail("/api/2.0/serving-endpoints/", 403)
    standing.fail("/vector-search/indexes/", 403)
    status, said = diagnosed(capsys)
    assert status == 1
    assert "CAN_QUERY on the serving endpoint local-model" in said
    assert "SELECT on main.docs.project" in said


def test_credentials_that_are_refused_are_named_and_not_shown(
    standing: StandIn, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "wrong-secret")
    status, said = diagnosed(capsys)
    assert status == 1
    assert "DATABRICKS_CLIENT_SECRET" in said
    assert "wrong-secret" not in said


@pytest.mark.parametrize(
    ("declared", "missing"),
    [
        ("model-serving, vector-search", []),
        ("serving.serving-endpoints, vectorsearch.vector-search-indexes", []),
        ("serving.serving-endpoints, 'vectorsearch.vector-search-indexes:read'", []),
        ("model-serving", ["vectorsearch.vector-search-indexes:read"]),
        ("", ["serving.serving-endpoints", "vectorsearch.vector-search-indexes:read"]),
    ],
)
def test_scopes_of_user_authorization_are_looked_for_in_the_bundle(
    standing: StandIn,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    declared: str,
    missing: Sequence[str],
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    (here / "databricks.yml").write_text(BUNDLE.format(declared))
    status, said = diagnosed(capsys)
    assert status == bool(missing)
    for scope in missing:
        assert f"databricks.yml: {scope} is missing\n     -> add it to the app's user_api_scopes" in said


def test_scopes_the_app_really_has_are_compared(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(request: Request) -> Response:
        return JSONResponse({"name": "agent", "effective_user_api_scopes": ["iam.current-user:read", "vector-search"]})

    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user-required")
    with stand_in(tmp_path / "workspace", more=[Route("/api/2.0/apps/agent", app)]) as standing:
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        status, said = diagnosed(capsys)
    assert status == 1
    assert "user scopes of the app agent: serving.serving-endpoints is missing" in said
    assert "indexes:read is missing" not in said
