"""Which libraries a service has imported when it is ready: those that its graphs use, and no others."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.databricks.service import forwarded, text_of
from tests.serving.test_process import address, graph_agent
from tests.standin.server import ScriptedModel, calls, results_in, says, stand_in
from tests.standin.tracking import EXPERIMENT, tracking

pytestmark = pytest.mark.anyio

GRAPHS = Path(__file__).parents[2] / "graphs"
SHOWS_MODULES = Path(__file__).with_name("modules_graph.py")

NEVER = {
    *("mlflow", "pandas", "numpy", "pyarrow", "scipy", "sklearn", "sqlalchemy", "alembic", "pyspark", "agents"),
    *("databricks_langchain", "databricks_openai", "databricks.ai_search", "unitycatalog", "langchain", "tokenizers"),
    *("fastapi", "flask", "jsonschema", "pint", "psycopg", "mcp"),
}
"""Libraries that no service needs before it is asked. Together they take seconds of CPU time and over 200 MB."""

OF_DATABRICKS = {"databricks.sdk", "openai"}
"""What a model or an index of a workspace needs. On Databricks Apps it is there before the first question."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def config_of(folder: Path, graph: str) -> str:
    graphs = {"served": f"{GRAPHS / graph}:graph", "modules": f"{SHOWS_MODULES}:graph"}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return str(folder / "langgraph.json")


async def asked(client: httpx.AsyncClient, graph: str, question: str = "What is the timeout?") -> str:
    answer = await client.post("/invocations", json={"model": graph, "input": question})
    answer.raise_for_status()
    return text_of(answer)


async def loaded(client: httpx.AsyncClient) -> set[str]:
    return set((await asked(client, "modules")).split())


@pytest.mark.parametrize("tracing", ["off", "on"])
async def test_a_service_without_databricks_imports_none_of_its_libraries(tmp_path: Path, tracing: str) -> None:
    settings: dict[str, Any] = {"GRAPH_AGENT_TRACING": tracing, "GRAPH_AGENT_CACHE_DIR": str(tmp_path)}
    async with graph_agent("--config", config_of(tmp_path, "starter.py"), **settings) as process:
        with anyio.fail_after(120):
            url = address(await process.logged("running on http"))
            await process.logged("ready: serving")
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                assert await loaded(client) & (NEVER | OF_DATABRICKS) == set()


async def test_the_flagship_on_apps_imports_the_rest_when_it_is_asked(tmp_path: Path) -> None:
    model = ScriptedModel(
        lambda body: says("It is thirty seconds [1].") if results_in(body) else calls("search_docs", query="timeout")
    )
    with tracking() as kept, stand_in(tmp_path / "workspace", more=kept.routes(), model=model) as standing:
        platform = {**standing.environment(), "DATABRICKS_APP_NAME": "agent", "GRAPH_AGENT_TRACING": "on"}
        more = {
            **{"MLFLOW_TRACKING_URI": "databricks", "MLFLOW_EXPERIMENT_ID": EXPERIMENT},
            **{"GRAPH_AGENT_MODEL": "local-model", "GRAPH_AGENT_INDEX": "main.docs.project"},
        }
        config = config_of(tmp_path, "assistant.py")
        async with graph_agent("--config", config, "--host", "127.0.0.1", **platform, **more) as process:
            with anyio.fail_after(240):
                url = address(await process.logged("running on http"))
                await process.logged("ready: serving")
                async with httpx.AsyncClient(base_url=url, timeout=120, headers=forwarded("user01")) as client:
                    before = await loaded(client)
                    assert before & NEVER == set()
                    assert before >= OF_DATABRICKS
                    standing.forget()
                    assert "thirty seconds" in await asked(client, "served")
                    # The SDK searches by POST, and the client of the tool by GET.
                    assert standing.calls("/query")[0].method == "POST"
                    while standing.calls("/query")[-1].method == "POST":
                        assert "thirty seconds" in await asked(client, "served")
                    assert "databricks_langchain" in await loaded(client)
        assert kept.spans, "the traces arrived"
