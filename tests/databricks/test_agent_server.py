"""What MLflow's AgentServer answers beside runs, from the server itself, and what clients written for it get here."""

from pathlib import Path

import httpx
import pytest

from graph_agent.serving.app import create_app
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"


@pytest.fixture(scope="module")
def theirs() -> httpx.ASGITransport:
    # Late: it imports MLflow.
    from mlflow.genai.agent_server import AgentServer

    return httpx.ASGITransport(AgentServer("ResponsesAgent").app)


@pytest.mark.anyio
async def test_health_and_info_say_on_apps_what_agent_server_says(
    theirs: httpx.ASGITransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_APP_NAME", "shop")
    settings = Settings(config=GRAPHS, default_graph="echo", tracing="off", store="memory")
    async with httpx.AsyncClient(transport=theirs, base_url="http://theirs") as client:
        health, info = (await client.get("/health")).json(), (await client.get("/agent/info")).json()
    with on_loopback(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get("/health")).json() == health
            ours = (await client.get("/agent/info")).json()
    assert info["name"] == "shop"
    assert info.items() <= ours.items()
    assert ours["default_graph"] == "echo"
