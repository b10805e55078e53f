"""What the log says at the start: what is served, stored and traced, and to whom, without a secret."""

import logging
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from graph_agent import Settings, create_app
from graph_agent.app_context import AppContext
from graph_agent.serving.banner import banner_of, place_of
from graph_agent.testing import AgentClient

pytestmark = pytest.mark.anyio

APP = {"DATABRICKS_APP_NAME": "shop", "DATABRICKS_HOST": "https://shop.cloud.databricks.com"}
SECRET = "hunter2"


def said(settings: Settings, environ: dict[str, str] | None = None) -> dict[str, str]:
    return dict(banner_of(AppContext(settings, environ or {}), metrics=True, schedules=0, webhooks=0))


def test_on_a_laptop_it_names_the_files_and_who_may_ask(tmp_path: Path) -> None:
    lines = said(Settings(cache_dir=tmp_path, config=tmp_path / "langgraph.json", docs="off"))
    assert lines["address"] == "http://127.0.0.1:8000 with the API, / (page), /metrics"
    assert lines["callers"] == "everybody on this machine, as the user local; with the permissions of the app"
    assert lines["store"].startswith(f"the SQLite file {tmp_path}/")
    assert "until they are deleted" in lines["store"]
    assert lines["traces"] == f"to a SQLite file in {tmp_path}, experiment graph-agent"
    assert "none in the settings" in lines["model"]


def test_on_databricks_apps_it_names_the_workspace_and_its_users() -> None:
    settings = Settings(host="0.0.0.0", model="databricks:claude", authorization="user", tracking_uri="databricks")
    lines = said(settings, APP)
    assert lines["model"] == "databricks:claude of https://shop.cloud.databricks.com"
    assert lines["callers"] == "users of the Databricks app; with the permissions of the calling user"
    assert lines["traces"].startswith("to databricks, ")


def test_the_limits_for_people_are_told_if_there_are_any() -> None:
    assert said(Settings())["limits"] == "32 runs at once, each 240 s and 8192 tokens of output; 8 in the background"
    limited = Settings(
        limit_user_requests_per_minute=20, limit_user_tokens_per_day=500_000, limit_tokens_per_day=9_000_000
    )
    assert said(limited)["limits"].endswith(
        "; a user: 20 requests per minute, 500000 tokens per day; all users: 9000000 tokens per day"
    )


def test_no_secret_of_the_settings_is_in_it() -> None:
    settings = Settings(
        host="0.0.0.0",
        bearer_token=SECRET,
        user_header="X-User",
        store=f"postgresql://ann:{SECRET}@db.example.com:5432/shop?password={SECRET}",
        tracking_uri=f"https://ann:{SECRET}@traces.example.com/mlflow?token={SECRET}",
        retention_days=30,
    )
    lines = said(settings)
    assert SECRET not in str(lines)
    assert lines["store"].startswith("postgresql://db.example.com:5432/shop, in the schema graph_agent; ")
    assert lines["store"].endswith("kept 30 days")
    assert lines["traces"] == "to https://traces.example.com/mlflow, experiment graph-agent"
    assert lines["callers"].startswith("whoever has the bearer token, for the user in X-User")


@pytest.mark.parametrize("address", ["https://[broken", "projects/a/branches/b/endpoints/c", "sqlite:///x.db"])
def test_any_address_can_be_named(address: str) -> None:
    assert place_of(address) in (address, "an address that cannot be read")


@pytest.mark.parametrize(("log_format", "records"), [("text", 7), ("json", 2)])
async def test_it_is_at_most_eight_lines_for_people_and_one_record_for_programs(
    log_format: Any, records: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Yes.")]}

    graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
    settings = Settings(tracing="off", store="memory", log_format=log_format)
    app = create_app(settings, {"one": graph}, environ={}, announces=True)
    with caplog.at_level(logging.INFO, logger="graph_agent.serving.app"):
        async with AgentClient(app) as client:
            await client.http.get("/agent/info")
    lines = [one for one in caplog.records if one.name == "graph_agent.serving.app"]
    assert lines[0].getMessage() == "ready: serving one"
    assert len(lines) == records <= 8
    if log_format == "json":
        assert vars(lines[1])["fields"]["setup"]["traces"] == "off"


async def test_what_is_not_built_is_not_named_as_an_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Yes.")]}

    graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
    (tmp_path / "manifest.json").write_text("{}")
    settings = Settings(tracing="off", store="memory", log_format="text")
    folders = {"page_folder": tmp_path, "docs_folder": tmp_path / "docs"}
    app = create_app(settings, {"one": graph}, environ={}, announces=True, **folders)
    with caplog.at_level(logging.INFO, logger="graph_agent.serving.app"):
        async with AgentClient(app) as client:
            await client.http.get("/agent/info")
    [line] = [one.getMessage() for one in caplog.records if one.getMessage().startswith("address: ")]
    assert line.endswith(" with the API, / (page), /metrics; the documentation is not built here")
