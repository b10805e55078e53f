"""What one request hides is missing from its own trace, in every store, and from no other."""

import json
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.tracing.scripted import answer, question, run_info
from tests.tracing.test_databricks_store import Workspace, workspace

from graph_agent.protocol.events import Usage
from graph_agent.redaction import with_hidden_values
from graph_agent.redaction.known_secrets import KnownSecrets
from graph_agent.runs.observers import Outcome
from graph_agent.tracing import RunRecord, RunRecorder, TraceExporter
from graph_agent.tracing.attributes import attributes_of
from graph_agent.tracing.stores import ServerStore
from graph_agent.tracing.tracer import RunTrace

__all__ = ["workspace"]

ANN, BOB = "sunflower of ann's cookie", "waterfall of bob's cookie"
"""Neither has a form of its own: only their requests tell that they are secrets."""


def run_that_says_both(name: str, *, hidden: str | None) -> RunRecord:
    text = f"{ANN} and {BOB}"
    recorder = RunRecorder(
        graph=name, inputs=question(text), session=f"{name} {text}", tags={"client_request_id": f"{name} {text}"}
    )
    recorder.on_tool_start({}, "", run_id=recorder_id(), name=f"{name} {text}", inputs={"query": text})
    record = recorder.close(outputs=answer(text), attributes={"note": text})
    return replace(record, hidden=KnownSecrets([hidden]) if hidden else None)


def recorder_id() -> Any:
    from uuid import uuid4

    return uuid4()


def batch() -> list[RunRecord]:
    return [
        run_that_says_both("of-ann", hidden=ANN),
        run_that_says_both("of-bob", hidden=BOB),
        run_that_says_both("of-nobody", hidden=None),
    ]


def delivered(exporter: TraceExporter) -> None:
    for record in batch():
        exporter.submit(record)
    assert exporter.flush(60)
    exporter.close(5)


def check(texts: Sequence[str]) -> None:
    """Each run's text without its own request's value, and with the other's."""
    by_run = {name: [text for text in texts if name in text] for name in ("of-ann", "of-bob", "of-nobody")}
    assert all(by_run.values())
    for name, kept, gone in (("of-ann", BOB, ANN), ("of-bob", ANN, BOB)):
        whole = " ".join(by_run[name])
        assert gone not in whole
        assert kept in whole
        assert "[redacted known secret]" in whole
    whole = " ".join(by_run["of-nobody"])
    assert ANN in whole
    assert BOB in whole
    assert "[redacted" not in whole


def test_in_a_tracking_server() -> None:
    sent: list[bytes] = []

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("traces"):
            sent.append(request.content)
        return httpx.Response(200, json={"experiment": {"experiment_id": "1"}})

    store = ServerStore("http://tracking", environ={}, transport=httpx.MockTransport(server))
    delivered(TraceExporter(None, "tests", environ={}, opener=lambda: store))
    spans = [
        str(one)
        for body in sent
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for one in [resource]
    ]
    check([span.replace("\\'", "'") for span in spans])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        # MLflow warns of its own type hints while it is imported.
        warnings.simplefilter("ignore")
        import mlflow

        before = mlflow.get_tracking_uri()
        yield tmp_path / "traces.db"
        mlflow.set_tracking_uri(before)


def test_in_a_database(database: Path) -> None:
    delivered(TraceExporter(f"sqlite:///{database}", "tests", environ={}))
    with sqlite3.connect(database) as connection:
        tables = ("trace_info", "spans", "trace_tags", "trace_request_metadata")
        rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    by_trace: dict[str, list[str]] = {}
    for row in (row for table in tables for row in rows[table]):
        trace = next(str(value) for value in row if str(value).startswith("tr-"))
        by_trace.setdefault(trace, []).append(str(row))
    check([" ".join(texts).replace("\\'", "'") for texts in by_trace.values()])
    # Its owner's alone: it holds what users said.
    assert {path.name: path.stat().st_mode & 0o077 for path in database.parent.glob("traces.db*")} == {
        path.name: 0 for path in database.parent.glob("traces.db*")
    }


def test_in_a_workspace(workspace: Workspace) -> None:
    delivered(TraceExporter("databricks", "/Shared/agent", environ={}))
    check([json.dumps(one) for one in (*workspace.traces, *workspace.files)])


def test_a_run_s_record_takes_along_what_its_request_hides() -> None:
    delivered: list[RunRecord] = []
    with with_hidden_values([ANN]):
        trace = RunTrace(delivered.append)
        trace.started(run_info(f"{ANN} and {BOB}"))
        trace.ended(Outcome(status="completed", answer=ANN, output=[], usage=Usage(), error=None))
    # Here, as in the exporter's thread, no request is at hand.
    told = " ".join(attributes_of(delivered[0], delivered[0].root).values())
    assert ANN not in told
    assert BOB in told
