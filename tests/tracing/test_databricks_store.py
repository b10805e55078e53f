"""What a Databricks workspace is sent: the trace, then its spans as a file."""

import base64
import json
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from tests.tracing.scripted import answer

from graph_agent.tracing import RunRecord, RunRecorder, TraceExporter

USED = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
FOLDER = "dbfs:/databricks/mlflow-tracking/123/traces/tr-1/artifacts"


class Workspace(ThreadingHTTPServer):
    """The calls MLflow makes of a workspace to store one trace."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.traces: list[Any] = []
        self.files: list[Any] = []
        self.outages = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Workspace

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if "/experiments/get-by-name" in self.path:
            self._answer(200, {"experiment": {"experiment_id": "123", "name": "/Shared/agent"}})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = self._body()
        if self.server.outages:
            self.server.outages -= 1
            self._answer(403, {"error_code": "PERMISSION_DENIED", "message": "not yet"})
            return
        self.server.traces.append(body["trace"]["trace_info"])
        stored = {**body["trace"]["trace_info"], "tags": {"mlflow.artifactLocation": FOLDER}}
        self._answer(200, {"trace": {"trace_info": stored}})

    def do_PUT(self) -> None:
        self.server.files.append(self._body())
        self._answer(200, {})

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    with warnings.catch_warnings():
        # MLflow warns of its own type hints while it is imported.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: F401

    server = Workspace()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "t0ken")
    yield server
    server.shutdown()
    server.server_close()


def recorded_run() -> RunRecord:
    recorder = RunRecorder(
        graph="assistant",
        inputs={"messages": [HumanMessage("What is 1 + 2?")]},
        session="t-1",
        user="ann",
        tags={"graph": "assistant"},
    )
    recorder.retrieved(query="sum", documents=[], name="docs", start_ns=1, end_ns=2)
    return recorder.close(outputs=answer("It is 3."), attributes={"mlflow.chat.tokenUsage": USED})


def test_a_trace_and_its_spans_arrive_as_mlflow_itself_sends_them(workspace: Workspace) -> None:
    exporter = TraceExporter("databricks", "/Shared/agent", environ={"GRAPH_AGENT_VERSION": "main@3f2c1ab9-dirty"})
    record = recorded_run()
    exporter.submit(record)
    assert exporter.flush(60)
    exporter.close(5)

    (info,), (file,) = workspace.traces, workspace.files

    assert info["trace_id"] == record.trace_id
    assert info["trace_location"]["mlflow_experiment"] == {"experiment_id": "123"}
    assert (info["state"], info["request_preview"], info["response_preview"]) == ("OK", "What is 1 + 2?", "It is 3.")
    assert info["trace_metadata"]["mlflow.trace.session"] == "t-1"
    assert info["trace_metadata"]["mlflow.trace.user"] == "ann"
    assert json.loads(info["trace_metadata"]["mlflow.trace.tokenUsage"]) == USED
    assert info["tags"] == {"graph": "assistant", "mlflow.traceName": "assistant", "version": "main@3f2c1ab9-dirty"}
    assert {name: value for name, value in info["trace_metadata"].items() if "git" in name} == {
        "mlflow.source.git.commit": "3f2c1ab9",
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.dirty": "true",
    }
    root, below = file["spans"]
    assert base64.b64decode(root["trace_id"]).hex() == record.trace_id.removeprefix("tr-")
    assert (root["name"], root["parent_span_id"], below["parent_span_id"]) == ("assistant", None, root["span_id"])
    assert (below["start_time_unix_nano"], below["end_time_unix_nano"]) == (1, 2)
    assert json.loads(root["attributes"]["mlflow.spanOutputs"]) == {
        "choices": [{"message": {"role": "assistant", "content": "It is 3."}}]
    }
    assert json.loads(below["attributes"]["mlflow.spanType"]) == "RETRIEVER"


def test_a_trace_refused_for_its_credential_is_sent_again(workspace: Workspace) -> None:
    workspace.outages = 1
    exporter = TraceExporter("databricks", "/Shared/agent", environ={})
    record = recorded_run()
    exporter.submit(record)
    assert exporter.flush(60)
    exporter.close(5)

    assert [info["trace_id"] for info in workspace.traces] == [record.trace_id]
    assert exporter.lost == 0
