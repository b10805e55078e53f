"""`graph-agent ask --app`, and the name of a serving endpoint as the app's environment gives it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.standin.apps import ANSWERS, Apps, DeployedApp
from tests.standin.server import StandIn, stand_in

from graph_agent import chat_model
from graph_agent.commands.cli import main
from graph_agent.testing import on_loopback


@pytest.fixture
def app() -> DeployedApp:
    return DeployedApp([ANSWERS])


@pytest.fixture
def workspace(app: DeployedApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    apps = Apps()
    with stand_in(tmp_path / "workspace", more=apps.routes()) as standing, on_loopback(app) as url:
        apps.apps |= {"shop": {"name": "shop", "url": f"{url}/"}, "new": {"name": "new"}}
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        yield standing


def test_a_deployed_app_is_looked_up_and_asked_with_oauth(
    workspace: StandIn, app: DeployedApp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "--app", "shop", "--graph", "g", "What is blue?"]) == 0
    assert "Hello." in capsys.readouterr().out
    [found] = workspace.calls()
    assert found.line == "GET /api/2.0/apps/shop"
    assert app.questions == [{"input": "What is blue?", "stream": True, "store": False, "model": "g"}]
    assert app.tokens == [f"Bearer {found.token}"]


def test_another_graphs_answer_does_not_pass_for_the_one_that_was_asked_for(
    workspace: StandIn, app: DeployedApp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "--app", "shop", "--graph", "typo", "What is blue?"]) == 2
    shown = capsys.readouterr()
    assert re.search(r"the service at http\S+ has no graph named 'typo'; it would answer with 'g'", shown.err)
    assert "Hello." not in shown.out


def test_a_deployed_app_is_load_tested_with_oauth_below_api(
    workspace: StandIn, app: DeployedApp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--users", "1", "--seconds", "0.3", "--think", "0", "--out", str(tmp_path)]
    assert main(["load", "--app", "shop", "--graph", "g", *short]) == 0
    [found] = workspace.calls()
    assert set(app.tokens) == {f"Bearer {found.token}"}
    assert app.questions[0] == {
        "input": "What can you help me with?",
        "stream": True,
        "store": False,
        "model": "g",
    }
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["address"].endswith("/api/responses")
    # One question came before the load.
    assert report["whole"]["answered"] == len(app.questions) - 1 > 0
    assert main(["load", "--app", "shop", "--graph", "typo", *short]) == 2
    refused = r"no load was sent: the service at http\S+ has no graph named 'typo'"
    assert re.search(refused, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "the workspace has no app 'gone'"), ("new", "the app 'new' has no address yet")]
)
def test_an_app_that_cannot_be_asked_is_named(
    workspace: StandIn, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "--app", name, "hi"]) == 2
    assert message in capsys.readouterr().err


def test_an_app_that_refuses_the_token_is_told_from_one_that_fails(
    workspace: StandIn, app: DeployedApp, capsys: pytest.CaptureFixture[str]
) -> None:
    app.answers[:] = [302]
    assert main(["ask", "--app", "shop", "hi"]) == 1
    assert "did not accept the token" in capsys.readouterr().err


def test_a_personal_access_token_is_refused_with_the_way_to_sign_in(
    workspace: StandIn, app: DeployedApp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABRICKS_CLIENT_ID")
    monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.credentials.token)
    assert main(["ask", "--app", "shop", "hi"]) == 2
    told = capsys.readouterr().err
    assert "databricks auth login" in told
    assert workspace.credentials.token not in told
    assert (workspace.calls(), app.tokens) == ([], [])


def test_a_service_elsewhere_is_sent_the_bearer_token_of_the_settings(
    workspace: StandIn, app: DeployedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "ours")
    app.prefix = "/responses"
    with on_loopback(app) as url:
        assert main(["ask", "--url", url, "hi"]) == 0
    assert app.tokens == ["Bearer ours"]
    assert workspace.calls() == []


@pytest.mark.anyio
@pytest.mark.usefixtures("closed_clients")
async def test_a_name_without_a_provider_is_a_serving_endpoint(workspace: StandIn) -> None:
    assert (await chat_model("local-model").ainvoke("hi")).content == "It is blue."
    [asked] = workspace.calls("/chat/completions")
    assert asked.json["model"] == "local-model"
