"""Experiments that are linked to tables of Unity Catalog: what a workspace is sent, and the ids callers are told."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from langchain_core.messages import HumanMessage
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.standin.server import StandIn, stand_in
from tests.standin.tracking import EXPERIMENT, Tracking, tracking
from tests.tracing.scripted import answer
from tests.wire import frames

from graph_agent.serving.app import create_app
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback
from graph_agent.tracing import RunRecord, RunRecorder, TraceExporter
from graph_agent.tracing.ratings import Rating

LINK = "mlflow.experiment.databricksTraceDestinationPath"
SPANS = "mlflow.experiment.databricksTraceSpanStorageTable"
PREFIXED = {LINK: "main.agents.shop", SPANS: "main.agents.shop_otel_spans"}
OTEL = "/api/2.0/otel/v1/traces"
INFO = "/api/4.0/mlflow/traces"
GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"


@pytest.fixture
def kept() -> Iterator[Tracking]:
    with tracking() as running:
        running.tags = dict(PREFIXED)
        yield running


@pytest.fixture
def workspace(kept: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with warnings.catch_warnings():
        # MLflow warns of its own type hints while it is imported.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: F401
    with stand_in(tmp_path / "workspace", more=kept.routes()) as standing:
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        yield standing


def exporting(environ: dict[str, str] | None = None) -> TraceExporter:
    return TraceExporter("databricks", "unused", environ={"MLFLOW_EXPERIMENT_ID": EXPERIMENT, **(environ or {})})


def recorded_run(question: str = "What is 1 + 2?") -> RunRecord:
    recorder = RunRecorder(
        graph="assistant", inputs={"messages": [HumanMessage(question)]}, session="t-1", user="ann", tags={"a": "b"}
    )
    recorder.retrieved(query="sum", documents=[], name="docs", start_ns=1, end_ns=2)
    return recorder.close(outputs=answer("It is 3."), attributes={"mlflow.message.format": "openai"})


def exported(*records: RunRecord, environ: dict[str, str] | None = None) -> TraceExporter:
    exporter = exporting(environ)
    for record in records:
        exporter.submit(record)
    assert exporter.flush(60)
    exporter.close(5)
    return exporter


def spans_in(body: bytes) -> list[Any]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value for one in span.attributes}


def test_spans_and_info_of_a_linked_experiment_go_to_its_tables(workspace: StandIn, kept: Tracking) -> None:
    record = recorded_run()
    digits = record.trace_id.removeprefix("tr-")
    exporter = exported(record, environ={"MLFLOW_ACTIVE_MODEL_ID": "m-1"})
    name = f"trace:/main.agents.shop/{digits}"
    assert [one.line for one in workspace.calls()] == [
        "GET /api/2.0/mlflow/experiments/get",
        f"POST {OTEL}",
        f"POST {INFO}/main.agents.shop/{digits}/info",
    ]
    [sent] = workspace.calls(OTEL)
    assert sent.headers["content-type"] == "application/x-protobuf"
    [body] = kept.tables["main.agents.shop_otel_spans"]
    root, below = spans_in(body)
    assert (root.trace_id.hex(), below.parent_span_id, root.name) == (digits, root.span_id, "assistant")
    told = attributes(root)
    assert told["mlflow.traceRequestId"].string_value == name
    assert (told["session.id"].string_value, told["user.id"].string_value) == ("t-1", "ann")
    assert told["mlflow.message.format"].string_value == "openai"
    assert told["mlflow.modelId"].string_value == "m-1"
    info = kept.traces[name]
    assert info["trace_location"]["uc_table_prefix"] == {
        "catalog_name": "main",
        "schema_name": "agents",
        "table_prefix": "shop",
    }
    assert (info["trace_id"], info["state"], info["request_preview"]) == (digits, "OK", "What is 1 + 2?")
    assert info["trace_metadata"]["mlflow.trace_schema.version"] == "4"
    assert info["trace_metadata"]["mlflow.trace.session"] == "t-1"
    assert info["trace_metadata"]["mlflow.modelId"] == "m-1"
    assert exporter.location == "main.agents.shop"
    assert exporter.lost == 0


def test_what_is_sent_is_what_mlflows_own_client_sends(workspace: StandIn, kept: Tracking) -> None:
    from mlflow.tracing.client import TracingClient

    from graph_agent.tracing.destinations import Tables
    from graph_agent.tracing.mlflow_store import trace_of

    record = recorded_run()
    exported(record)
    ours = {one.path: one for one in workspace.calls() if one.method == "POST"}
    workspace.forget()
    kept.traces.clear()
    trace = trace_of(record, Tables("main.agents.shop", PREFIXED[SPANS]))
    client = TracingClient("databricks")
    client.log_spans(PREFIXED[SPANS], trace.data.spans)
    client.start_trace(trace.info)
    theirs = {one.path: one for one in workspace.calls() if one.method == "POST"}
    assert set(ours) == set(theirs)
    for path, sent in theirs.items():
        for header in ("content-type", "x-databricks-uc-table-name"):
            assert ours[path].headers.get(header) == sent.headers.get(header)
        if path == OTEL:
            assert spans_in(ours[path].body) == spans_in(sent.body)
        else:
            mine, mlflows = ours[path].json, sent.json
            # The version of this checkout is told beside what MLflow knows.
            for one in (mine, mlflows):
                one["trace_metadata"] = {k: v for k, v in one["trace_metadata"].items() if "source.git" not in k}
                one.get("tags", {}).pop("version", None)
            assert mine == mlflows


@pytest.mark.parametrize("tags", [PREFIXED, {}], ids=["tables", "experiment"])
def test_feedback_is_sent_as_mlflows_own_client_sends_it(
    workspace: StandIn, kept: Tracking, tags: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.tracing.client import TracingClient

    monkeypatch.setenv("MLFLOW_TRACING_SQL_WAREHOUSE_ID", "w1")
    # MLflow would start it.
    monkeypatch.setattr("mlflow.utils.databricks_sql_warehouse.ensure_sql_warehouse_running", lambda name: None)
    kept.tags = tags
    record, exporter = recorded_run(), exporting({"MLFLOW_TRACING_SQL_WAREHOUSE_ID": "w1"})
    exporter.submit(record)
    assert exporter.flush(60)
    workspace.forget()
    says = Rating(name="user_feedback", value=False, comment="No.", user="ann")
    assert exporter.rate(record.trace_id, says, exporter.rate(record.trace_id, says, None)) == "a-1"
    exporter.close(5)
    ours = [(one.line, unquote(one.query), one.json) for one in workspace.calls()]

    workspace.forget()
    client, (trace,) = TracingClient("databricks"), kept.traces
    theirs = Feedback(name="user_feedback", value=False, rationale="No.", source=AssessmentSource("HUMAN", "ann"))
    client.log_assessment(trace, theirs)
    client.store.update_assessment(trace, "a-1", feedback=theirs.feedback, rationale="No.")
    asked = [(one.line, unquote(one.query), one.json) for one in workspace.calls()]
    for _, _, body in [*ours, *asked]:
        for time in ("create_time", "last_update_time"):
            body.get("assessment", body).pop(time, None)
    assert ours == asked


@pytest.mark.parametrize(
    ("tags", "environ", "location", "table"),
    [
        ({LINK: "c.s.p"}, {}, "c.s.p", "c.s.p_otel_spans"),
        ({LINK: "c.s.p", SPANS: "c.s.other"}, {}, "c.s.p", "c.s.other"),
        ({LINK: "c.s", SPANS: "short"}, {}, "c.s", "c.s.short"),
        ({LINK: "c.s"}, {}, "c.s", "c.s.mlflow_experiment_trace_otel_spans"),
        ({}, {"MLFLOW_TRACING_DESTINATION": "c.s"}, "c.s", "c.s.mlflow_experiment_trace_otel_spans"),
        ({LINK: "x.y.z", SPANS: "x.y.z_t"}, {"MLFLOW_TRACING_DESTINATION": "c.s"}, "c.s", None),
    ],
)
def test_every_form_of_a_link_is_understood(
    workspace: StandIn, kept: Tracking, tags: dict[str, str], environ: dict[str, str], location: str, table: str | None
) -> None:
    kept.tags = tags
    record = recorded_run()
    exported(record, environ=environ)
    assert list(kept.traces) == [f"trace:/{location}/{record.trace_id.removeprefix('tr-')}"]
    assert list(kept.tables) == [table or f"{location}.mlflow_experiment_trace_otel_spans"]
    assert kept.spans == {}


@pytest.mark.parametrize("tags", [{}, {LINK: ""}, {LINK: "one"}, {LINK: "a..b"}, {LINK: "a.b.c.d"}])
def test_an_experiment_that_is_not_linked_keeps_its_traces_itself(
    workspace: StandIn, kept: Tracking, tags: dict[str, str]
) -> None:
    kept.tags = tags
    record = recorded_run()
    assert exported(record).location is None
    assert list(kept.traces) == list(kept.spans) == [record.trace_id]
    assert kept.tables == {}


def test_many_traces_cost_one_request_for_spans_and_one_each(workspace: StandIn, kept: Tracking) -> None:
    records = [recorded_run(f"question {number}") for number in range(10)]
    exported(*records)
    assert len(workspace.calls(OTEL)) <= 2
    assert len(workspace.calls(INFO)) == len(kept.traces) == 10
    spans = [span for body in kept.tables[PREFIXED[SPANS]] for span in spans_in(body)]
    assert len({span.trace_id for span in spans}) == 10


# 429 and 503 the SDK asks again by itself, the others the exporter.
@pytest.mark.parametrize(
    ("path", "status"), [(OTEL, 503), (OTEL, 403), (INFO, 503), (INFO, 429), (INFO, 403), (INFO, 500)]
)
def test_a_fault_that_passes_loses_nothing_and_sends_no_span_twice(
    workspace: StandIn, kept: Tracking, path: str, status: int
) -> None:
    workspace.fail(path, status, times=1, headers={"retry-after": "0"})
    record = recorded_run()
    assert exported(record).lost == 0
    [body] = kept.tables[PREFIXED[SPANS]]
    assert len(spans_in(body)) == 2
    assert len(kept.traces) == 1


def test_an_answer_that_was_lost_is_no_fault(workspace: StandIn, kept: Tracking) -> None:
    workspace.hang_up(INFO, after=0)
    record = recorded_run()
    assert exported(record).lost == 0
    assert len(kept.traces) == 1


def test_one_trace_that_the_tables_refuse_does_not_take_the_others_along(workspace: StandIn, kept: Tracking) -> None:
    # The batch, and then the first of its three when each is tried alone.
    workspace.fail(OTEL, 400, times=2)
    records = [recorded_run(f"question {number}") for number in range(3)]
    assert exported(*records).lost == 1
    assert len(kept.traces) == 2


@pytest.mark.anyio
async def test_callers_are_told_the_id_that_the_tables_know(workspace: StandIn, kept: Tracking) -> None:
    environ = {**workspace.environment(), "MLFLOW_EXPERIMENT_ID": EXPERIMENT}
    settings = Settings(config=GRAPHS, store="memory", default_graph="plain", tracing="on", tracking_uri="databricks")
    ask = {"model": "plain", "input": "Hello?"}
    asking = {"x-mlflow-return-trace-id": "true"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_EXPERIMENT_ID", environ["MLFLOW_EXPERIMENT_ID"])
        with on_loopback(create_app(settings)) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60, headers=asking) as client:
                while not kept.traces:
                    # Until the store is open nobody knows where traces are kept.
                    (await client.post("/responses", json=ask)).raise_for_status()
                replied = (await client.post("/responses", json=ask)).json()["metadata"]["trace_id"]
                streamed = frames((await client.post("/responses", json=ask | {"stream": True})).text)[-2]["trace_id"]
    told = {replied, streamed}
    assert all(one.startswith("trace:/main.agents.shop/") for one in told)
    assert told <= set(kept.traces)


@pytest.mark.anyio
@pytest.mark.parametrize("address", ["/responses", "/invocations", "/v1/responses"])
@pytest.mark.parametrize("tracing", ["on", "off"])
async def test_databricks_options_ask_for_the_whole_trace(tmp_path: Path, address: str, tracing: str) -> None:
    from mlflow.entities import Trace

    settings = Settings(
        config=GRAPHS, store="memory", tracing=tracing, tracking_uri=f"sqlite:///{tmp_path / 'traces.db'}"
    )  # type: ignore[arg-type]
    body = {"model": "plain", "input": "Hello?", "databricks_options": {"return_trace": True}}
    with on_loopback(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            replied = (await client.post(address, json=body)).json()
            streamed = frames((await client.post(address, json=body | {"stream": True})).text)
            silent = (await client.post(address, json={**body, "databricks_options": {"return_trace": False}})).json()
    assert "databricks_output" not in silent
    if tracing == "off" or address == "/v1/responses":
        assert "databricks_output" not in replied
        assert not any("databricks_output" in one for one in streamed if isinstance(one, dict))
        return
    assert streamed[-1] == "[DONE]"
    assert streamed[-3]["type"] == "response.completed"
    for told in (replied["databricks_output"], streamed[-2]["databricks_output"]):
        trace = Trace.from_dict(json.loads(json.dumps(told["trace"])))
        root = trace.data.spans[0]
        assert (root.name, root.span_type) == ("plain", "AGENT")
        assert root.attributes["mlflow.message.format"] == "openai"
        assert root.inputs["messages"][0] == {"role": "user", "content": "Hello?"}
        assert root.outputs["choices"][0]["message"] == {"role": "assistant", "content": "Hello world."}
        assert trace.info.state == "OK"


@pytest.mark.anyio
async def test_a_failed_run_has_a_trace_to_return_too(tmp_path: Path) -> None:
    settings = Settings(config=GRAPHS, store="memory", tracing="on", tracking_uri=f"sqlite:///{tmp_path / 'traces.db'}")
    body = {"model": "failing", "input": "Hi", "custom_inputs": {"fail": "after"}, "stream": True}
    with on_loopback(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            asked = body | {"databricks_options": {"return_trace": True}}
            streamed = frames((await client.post("/responses", json=asked)).text)
    trace = streamed[-2]["databricks_output"]["trace"]
    assert trace["info"]["state"] == "ERROR"
    # Of what the graph raised only the type is told.
    assert {span["status"]["message"] for span in trace["data"]["spans"] if span["status"]["message"]} == {
        "Unreachable"
    }
