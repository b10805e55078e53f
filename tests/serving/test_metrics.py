"""What Prometheus reads at `/metrics`: runs are counted once, at their end, and nothing of a user is in a label."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient

from graph_agent import BadSetting, Settings, create_app, record_retrieval
from graph_agent.errors import AgentError
from graph_agent.serving.instruments import Instruments
from graph_agent.serving.operations import every
from graph_agent.serving.routes.chat_completions import PATHS as CHAT
from graph_agent.serving.routes.responses import ADDRESSES
from graph_agent.testing import AgentClient, ScriptedChatModel

pytestmark = pytest.mark.anyio

OPERATING = Path(__file__).parents[2] / "docs/operating.md"

Found = dict[str, list[tuple[dict[str, str], float]]]


class Shelf(BaseRetriever):
    """Finds one passage."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document("Port 8000.")]


def talking() -> Any:
    """A graph that searches twice, asks its model, and answers. It fails if it is told to."""
    model = ScriptedChatModel(["Port ", "8000."], each_turn=True)

    async def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        if "fail" in state["messages"][-1].text:
            raise ValueError("hunter2")
        await Shelf().ainvoke("port")
        record_retrieval(config, query="port", documents=[], name="index", start_ns=0, end_ns=2_000_000_000)
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()


def quiet() -> Any:
    """A graph without a model."""

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Yes.")]}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()


def an_app(**settings: Any) -> Starlette:
    values: dict[str, Any] = {"tracing": "off", "store": "memory", **settings}
    return create_app(Settings(**values), {"talking": talking(), "quiet": quiet()}, environ={})


def read(text: str) -> Found:
    found: Found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def scraped(client: AgentClient, **options: Any) -> Found:
    answer = await client.http.get("/metrics", **options)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return read(answer.text)


async def test_runs_are_counted_by_graph_state_and_dialect_with_their_times_and_tokens() -> None:
    async with AgentClient(an_app()) as client:
        async for _ in client.stream({"input": "Which port?", "model": "talking"}):
            pass
        await client.ask({"input": "Which port?", "model": "talking"}, path="/v1/responses")
        await client.ask({"input": "Yes?", "model": "quiet"}, path="/invocations")
        found = await scraped(client)
    counted = {(one["graph"], one["state"], one["dialect"]): value for one, value in found["graph_agent_runs_total"]}
    assert counted == {
        ("talking", "completed", "responses"): 1,
        ("talking", "completed", "openai"): 1,
        ("quiet", "completed", "invocations"): 1,
    }
    assert ({"graph": "talking"}, 2) in found["graph_agent_run_seconds_count"]
    # Only what was streamed: nobody sees the first text of a whole answer before its end.
    assert found["graph_agent_first_text_seconds_count"] == [({"graph": "talking"}, 1)]
    assert found["graph_agent_model_seconds_count"] == [({"graph": "talking"}, 2)]
    assert found["graph_agent_search_seconds_count"] == [({"graph": "talking"}, 4)]
    assert found["graph_agent_search_seconds_sum"][0][1] >= 4
    tokens = {(one["graph"], one["direction"]): value for one, value in found["graph_agent_tokens_total"]}
    assert tokens["talking", "output"] > 0 < tokens["talking", "input"]
    assert tokens["quiet", "output"] == 0


@pytest.mark.parametrize("path", [*ADDRESSES, *CHAT])
async def test_the_runs_of_every_address_are_counted(path: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]} if path in CHAT else {"input": "Hi"}
    async with AgentClient(an_app()) as client:
        (await client.http.post(path, json=body)).raise_for_status()
        found = await scraped(client)
    assert [value for _, value in found["graph_agent_runs_total"]] == [1]


async def test_errors_are_counted_by_codes_that_are_in_the_documentation_and_name_nothing_of_a_caller() -> None:
    async with AgentClient(an_app()) as client:
        for path in ("/hunter2", "/v1/responses/resp_hunter2"):
            await client.http.get(path)
        await client.http.post("/v1/responses", json={"input": "hunter2", "model": "hunter2"})
        await client.http.post("/responses", json={"input": "fail hunter2", "model": "talking"})
        answer = await client.http.get("/metrics")
        found = read(answer.text)
    assert "hunter2" not in answer.text
    assert found["graph_agent_run_errors_total"] == [({"graph": "talking", "code": "graph_failed"}, 1)]
    counted = {one["code"]: value for one, value in found["graph_agent_http_errors_total"]}
    assert counted == {"not_found": 1, "response_not_found": 1, "unknown_graph": 1, "graph_failed": 1}
    assert set(counted) <= {one.code for one in every(AgentError)}
    assert [one for one, _ in found["graph_agent_runs_total"]] == [
        {"graph": "talking", "state": "failed", "dialect": "responses"}
    ]


async def test_the_state_of_the_process_is_that_of_the_moment() -> None:
    async with AgentClient(an_app(max_runs=7)) as client:
        await client.ask("Which port?")
        async with client.stream("Which port?") as stream:
            await anext(aiter(stream))
            during = await scraped(client)
        after = await scraped(client)
    assert during["graph_agent_run_slots"] == [({}, 7)]
    assert during["graph_agent_run_slots_taken"] == during["graph_agent_readers"] == [({}, 1)]
    assert ({"kind": "foreground"}, 1) in during["graph_agent_active_runs"]
    assert after["graph_agent_readers"] == [({}, 0)]
    assert [one["version"] for one, _ in after["graph_agent_info"]]


async def test_two_apps_of_one_process_count_for_themselves() -> None:
    async with AgentClient(an_app()) as one, AgentClient(an_app()) as other:
        await one.ask("Which port?")
        assert "graph_agent_runs_total" in await scraped(one)
        assert "graph_agent_runs_total" not in await scraped(other)


async def test_open_metrics_is_sent_to_those_who_accept_it() -> None:
    async with AgentClient(an_app()) as client:
        answer = await client.http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"metrics": "off"}])
async def test_without_a_word_of_the_operator_there_are_metrics_on_loopback_only(settings: dict[str, str]) -> None:
    async with AgentClient(an_app(**settings)) as client:
        await client.ask("Which port?")
        answer = await client.http.get("/metrics")
    assert answer.status_code == 404


def test_a_client_on_another_machine_gets_none_even_if_a_host_binds_more() -> None:
    far: Any = ("203.0.113.7", 50_000)
    with TestClient(an_app(), client=far, base_url="http://localhost") as client:
        client.get("/agent/info")
        answer = client.get("/metrics")
    assert answer.status_code == 404
    assert "GRAPH_AGENT_METRICS=on" in answer.json()["error"]["message"]


async def test_elsewhere_they_need_the_bearer_token() -> None:
    async with AgentClient(an_app(host="0.0.0.0", metrics="on", bearer_token="t" * 20)) as client:
        refused = await client.http.get("/metrics")
        token = {"authorization": "Bearer " + "t" * 20}
        await client.http.get("/agent/info", headers=token)
        assert "graph_agent_info" in await scraped(client, headers=token)
    assert refused.status_code == 401


def test_they_are_not_served_to_everybody_by_mistake() -> None:
    with pytest.raises(BadSetting, match="GRAPH_AGENT_METRICS=on needs GRAPH_AGENT_BEARER_TOKEN"):
        an_app(host="0.0.0.0", metrics="on")


def test_the_documentation_lists_exactly_the_metrics_there_are() -> None:
    documented = set(re.findall(r"`(graph_agent_[a-z_]+)`", OPERATING.read_text()))
    there_are = set(Instruments().labels)
    assert documented == there_are


def queries() -> Iterator[str]:
    """All queries of the alerts and of the dashboard."""
    folder = OPERATING.with_suffix("")
    for group in yaml.safe_load((folder / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((folder / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_there_are() -> None:
    labels_of = Instruments().labels
    ours = {"instance", "le", "job"}
    for query in queries():
        asked = {re.sub("_bucket$", "", name) for name in re.findall(r"graph_agent_[a-z_]+", query)}
        assert asked <= set(labels_of), query
        known = ours.union(*(labels_of[name] for name in asked))
        grouped = ", ".join(re.findall(r"by \(([^)]*)\)", query))
        used = {one for one in grouped.split(", ") if one} | set(re.findall(r"[{,]([a-z]+)=", query))
        assert used <= known, query


def test_the_documentation_explains_every_alert() -> None:
    rules = yaml.safe_load((OPERATING.with_suffix("") / "alerts.yml").read_text())["groups"][0]["rules"]
    explained = re.findall(r"^\| `(GraphAgent\w+)` \|", OPERATING.read_text(), re.MULTILINE)
    assert explained == [rule["alert"] for rule in rules]


WORKER = """
import sys
from pathlib import Path
from graph_agent.serving.workers import _count_in

folder, place, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
_count_in(folder, place)
from prometheus_client import Counter
from graph_agent.serving.instruments import Instruments

here = Instruments(folder)
here.slots.set(8)
for _ in range(count):
    here.runs.labels("one", "completed", "responses").inc()
Counter("shop_orders", "Of a graph.", ["user"]).labels("ann").inc()
print(here.page("")[0].decode())
"""


def test_workers_count_together_and_one_that_takes_the_place_of_another_goes_on(tmp_path: Path) -> None:
    def work(place: int, count: int) -> Found:
        command = [sys.executable, "-c", WORKER, str(tmp_path), str(place), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "shop_orders" not in done.stdout
        return read(done.stdout)

    labels = {"graph": "one", "state": "completed", "dialect": "responses"}
    work(0, 2)
    assert work(1, 3)["graph_agent_runs_total"] == [(labels, 5)]
    files = sorted(tmp_path.iterdir())
    found = work(0, 1)
    assert found["graph_agent_runs_total"] == [(labels, 6)]
    assert found["graph_agent_run_slots"] == [({}, 16)]
    assert sorted(tmp_path.iterdir()) == files
