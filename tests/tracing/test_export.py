"""Runs written to a real MLflow store and read back with MLflow."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.tracing.scripted import ScriptedModel, answer, call, question

from graph_agent.app_context import AppContext
from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import RESPONSES
from graph_agent.protocol.events import Usage
from graph_agent.runs.observers import Outcome, RunInfo
from graph_agent.runs.request import RunRequest
from graph_agent.settings import Settings
from graph_agent.tracing import RunRecord, RunRecorder, TraceExporter, Tracer, attach_to_active_span, record_retrieval
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.stores import ServerStore
from graph_agent.tracing.trace_store import Missing

pytestmark = pytest.mark.anyio

PAGE = Document("One and two are three.", metadata={"doc_uri": "docs/sum.md", "chunk_id": "sum-1"}, id="sum-1")
FOUND = [{"page_content": PAGE.page_content, "metadata": PAGE.metadata, "id": "sum-1"}]
USAGE = {"input_tokens": 14, "output_tokens": 6, "total_tokens": 20}
DEFINED = [{"type": "function", "function": {"name": "add"}}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SQLite store; creating its schema takes six seconds."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        with warnings.catch_warnings():
            # MLflow warns of its own type hints while it is imported.
            warnings.simplefilter("ignore")
            import mlflow
            import mlflow.pyfunc

        before = mlflow.get_tracking_uri()
        uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'new' / 'traces.db'}"
        mlflow.set_tracking_uri(uri)
        yield uri
        mlflow.set_tracking_uri(before)


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def assistant() -> Any:
    model = ScriptedModel(calls=[call("add", '{"a": 1, "b": 2}', id="c1")]).bind_tools([add])

    async def planner(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def retriever(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        record_retrieval(config, query="sum", documents=[PAGE], name="docs", start_ns=10**18, end_ns=10**18 + 5)
        return {}

    builder = StateGraph(MessagesState).add_node("retriever", retriever).add_node("planner", planner)
    builder.add_node("tools", ToolNode([add])).add_edge(START, "retriever").add_edge("retriever", "planner")
    builder.add_conditional_edges("planner", tools_condition, ["tools", END]).add_edge("tools", "planner")
    return builder.compile()


async def recorded_run() -> RunRecord:
    recorder = RunRecorder(
        graph="assistant", inputs=question(), session="123", user="ann@example.com", tags={"graph": "assistant"}
    )
    async for _ in assistant().astream(question(), {"callbacks": [recorder]}, stream_mode="messages"):
        pass
    return recorder.close(outputs=answer("It is 3."))


def shown(trace: Any) -> Any:
    """Type, name, inputs and outputs of every span, with those below it in order of their start."""

    def below(parent: str | None) -> list[Any]:
        spans = [span for span in trace.data.spans if span.parent_id == parent]
        return [
            (span.span_type, span.name, span.inputs, span.outputs, below(span.span_id))
            for span in sorted(spans, key=lambda span: (span.start_time_ns, span.end_time_ns))
        ]

    return below(None)


ASKED = {"role": "user", "content": "What is 1 + 2?"}
CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1,"b":2}'}}],
}
RESULT = {"role": "tool", "content": "3", "name": "add", "tool_call_id": "c1"}
SAID = {"role": "assistant", "content": "It is 3."}


def said(*history: Mapping[str, Any], message: Mapping[str, Any]) -> tuple[Any, ...]:
    return ("CHAT_MODEL", "ScriptedModel", {"messages": [*history]}, {"choices": [{"message": message}]}, [])


BELOW_ROOT = [
    ("CHAIN", "retriever", None, {}, [("RETRIEVER", "docs", {"query": "sum"}, FOUND, [])]),
    ("CHAIN", "planner", None, {"messages": [CALLS]}, [said(ASKED, message=CALLS)]),
    ("CHAIN", "tools", None, {"messages": [RESULT]}, [("TOOL", "add", {"a": 1, "b": 2}, "3", [])]),
    ("CHAIN", "planner", None, {"messages": [SAID]}, [said(ASKED, CALLS, RESULT, message=SAID)]),
]
WHOLE = [("AGENT", "assistant", {"messages": [ASKED]}, {"choices": [{"message": SAID}]}, BELOW_ROOT)]


class MlflowServer:
    """The routes of an MLflow server that the exporter calls, over the given store and MLflow's own reading of OTLP."""

    def __init__(self, tracking_uri: str, *, version: str = "3.17.2") -> None:
        self.tracking_uri = tracking_uri
        self.version = version
        self.requests: list[str] = []
        self.credentials: set[str | None] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import mlflow

        self.requests.append(f"{request.method} {request.url.path}")
        self.credentials.add(request.headers.get("authorization"))
        client = mlflow.MlflowClient(self.tracking_uri)
        match request.url.path:
            case "/version":
                return httpx.Response(200, text=self.version)
            case "/api/2.0/mlflow/experiments/get-by-name":
                found = client.get_experiment_by_name(request.url.params["experiment_name"])
                if found is None:
                    return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST"})
                return httpx.Response(200, json={"experiment": {"experiment_id": found.experiment_id}})
            case "/api/2.0/mlflow/experiments/create":
                made = client.create_experiment(json.loads(request.content)["name"])
                return httpx.Response(200, json={"experiment_id": made})
            case "/v1/traces":
                self._log(request)
                return httpx.Response(200)
        if "/assessments" in request.url.path:
            return self._assess(request)
        return httpx.Response(404)

    def _assess(self, request: httpx.Request) -> httpx.Response:
        from mlflow.entities import Assessment
        from mlflow.exceptions import MlflowException
        from mlflow.protos.service_pb2 import CreateAssessment, UpdateAssessment
        from mlflow.tracing.client import TracingClient
        from mlflow.utils.proto_json_utils import message_to_json, parse_dict

        store, steps, sent = TracingClient(self.tracking_uri).store, request.url.path.split("/"), None
        try:
            if request.method == "PATCH":
                sent = UpdateAssessment()
                parse_dict(json.loads(request.content), sent)
                assert list(sent.update_mask.paths) == ["feedback", "rationale"]
                one = Assessment.from_proto(sent.assessment)
                kept = store.update_assessment(steps[5], steps[7], feedback=one.feedback, rationale=one.rationale)
            else:
                sent = CreateAssessment()
                parse_dict(json.loads(request.content), sent)
                kept = store.create_assessment(Assessment.from_proto(sent.assessment))
        except MlflowException as error:
            return httpx.Response(error.get_http_status_code())
        answer = CreateAssessment.Response(assessment=kept.to_proto())
        return httpx.Response(200, text=message_to_json(answer))

    def _log(self, request: httpx.Request) -> None:
        from mlflow.entities import Span
        from mlflow.tracing.client import TracingClient

        sent = ExportTraceServiceRequest.FromString(request.content)
        spans = [
            Span.from_otel_proto(span, resource=resource.resource)
            for resource in sent.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        TracingClient(self.tracking_uri).log_spans(request.headers["x-mlflow-experiment-id"], spans)


def server_store(server: MlflowServer, experiment: str, environ: Mapping[str, str] | None = None) -> ServerStore:
    store = ServerStore("http://mlflow.test", environ=environ or {}, transport=httpx.MockTransport(server))
    assert store.takes_whole_traces()
    store.use_experiment(experiment)
    return store


def into_database(tracking_uri: str, experiment: str) -> TraceExporter:
    return TraceExporter(tracking_uri, experiment, environ={})


def into_server(tracking_uri: str, experiment: str) -> TraceExporter:
    server = MlflowServer(tracking_uri)
    return TraceExporter(None, experiment, environ={}, opener=lambda: server_store(server, experiment))


@pytest.fixture(params=[into_database, into_server])
def exporter(request: pytest.FixtureRequest, tracking_uri: str) -> Iterator[TraceExporter]:
    make: Callable[[str, str], TraceExporter] = request.param
    exporter = make(tracking_uri, make.__name__)
    yield exporter
    exporter.close(5)


async def test_a_run_reads_back_as_one_tree_with_session_user_and_tokens(exporter: TraceExporter) -> None:
    import mlflow

    record = await recorded_run()
    exporter.submit(record)
    assert exporter.flush(60)

    trace = mlflow.get_trace(record.trace_id)

    assert shown(trace) == WHOLE
    assert (trace.info.state, trace.info.request_preview, trace.info.response_preview) == (
        "OK",
        "What is 1 + 2?",
        "It is 3.",
    )
    assert trace.info.trace_metadata["mlflow.trace.session"] == "123"
    assert trace.info.trace_metadata["mlflow.trace.user"] == "ann@example.com"
    assert json.loads(trace.info.trace_metadata["mlflow.trace.tokenUsage"]) == USAGE
    assert trace.info.tags["graph"] == "assistant"
    assert trace.info.tags["mlflow.traceName"] == "assistant"
    models = trace.search_spans(span_type="CHAT_MODEL")
    assert [span.attributes["mlflow.chat.tools"] for span in models] == [DEFINED, DEFINED]


async def test_mlflow_finds_the_retrieved_documents_and_the_trace_by_session_and_user(exporter: TraceExporter) -> None:
    import mlflow
    from mlflow.genai.utils.trace_utils import extract_retrieval_context_from_trace

    record = await recorded_run()
    exporter.submit(record)
    assert exporter.flush(60)

    context = extract_retrieval_context_from_trace(mlflow.get_trace(record.trace_id))
    found = mlflow.search_traces(
        locations=[mlflow.get_trace(record.trace_id).info.experiment_id],
        filter_string="metadata.`mlflow.trace.session` = '123' AND metadata.`mlflow.trace.user` = 'ann@example.com'",
        return_type="list",
    )

    assert list(context.values()) == [[{"content": PAGE.page_content, "doc_uri": "docs/sum.md"}]]
    assert record.trace_id in [trace.info.trace_id for trace in found]


async def test_a_failed_run_keeps_what_it_said_and_names_the_type_of_the_error(exporter: TraceExporter) -> None:
    import mlflow

    recorder = RunRecorder(graph="assistant", inputs={"messages": [HumanMessage("Hi")]})
    record = recorder.close(status="ERROR", error="ConnectionError", outputs=answer("It is"))
    exporter.submit(record)
    assert exporter.flush(60)

    trace = mlflow.get_trace(record.trace_id)

    (root,) = trace.data.spans
    assert trace.info.state == "ERROR"
    assert (root.status.status_code, root.status.description) == ("ERROR", "ConnectionError")
    assert root.outputs == {"choices": [{"message": {"role": "assistant", "content": "It is"}}]}


async def test_awkward_values_arrive_unharmed(exporter: TraceExporter) -> None:
    import mlflow

    recorder = RunRecorder(graph="größe", inputs={"messages": [ToolMessage("7 ≥ 5", tool_call_id="c")]})
    record = recorder.close(outputs=answer("0" * 70_000))
    exporter.submit(record)
    assert exporter.flush(60)

    (root,) = mlflow.get_trace(record.trace_id).data.spans

    assert root.name == "größe"
    assert root.inputs["messages"][0]["content"] == "7 ≥ 5"
    assert root.outputs["choices"][0]["message"]["content"] == "0" * 70_000


async def test_newer_feedback_of_a_person_on_a_trace_replaces_the_older_one(exporter: TraceExporter) -> None:
    import mlflow

    def says(*, value: bool, comment: str | None) -> Rating:
        return Rating(name="user_feedback", value=value, comment=comment, user="ann")

    record = await recorded_run()
    exporter.submit(record)
    assert exporter.flush(60)

    first = exporter.rate(record.trace_id, says(value=True, comment=None), None)
    second = exporter.rate(record.trace_id, says(value=False, comment="The sum is wrong."), first)
    assert second == first
    (kept,) = mlflow.get_trace(record.trace_id).info.assessments
    assert (kept.name, kept.feedback.value, kept.rationale) == ("user_feedback", False, "The sum is wrong.")
    assert (kept.source.source_type, kept.source.source_id, kept.valid) == ("HUMAN", "ann", True)

    mlflow.delete_assessment(trace_id=record.trace_id, assessment_id=first)
    assert exporter.rate(record.trace_id, says(value=True, comment=None), first) != first

    with pytest.raises(Missing):
        exporter.rate("tr-00000000000000000000000000000000", says(value=True, comment=None), None)


async def test_the_root_s_own_token_count_wins_over_the_sum_of_the_calls(exporter: TraceExporter) -> None:
    import mlflow

    recorder = RunRecorder(graph="assistant", inputs=question())
    async for _ in assistant().astream(question(), {"callbacks": [recorder]}, stream_mode="messages"):
        pass
    counted = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    record = recorder.close(attributes={"mlflow.chat.tokenUsage": counted})
    exporter.submit(record)
    assert exporter.flush(60)

    trace = mlflow.get_trace(record.trace_id)

    assert json.loads(trace.info.trace_metadata["mlflow.trace.tokenUsage"]) == counted


def test_a_batch_is_one_request_and_the_credentials_come_from_the_environment(tracking_uri: str) -> None:
    server = MlflowServer(tracking_uri)
    store = server_store(server, "batch", {"MLFLOW_TRACKING_TOKEN": "t0ken"})
    server.requests.clear()

    store.write([RunRecorder(graph=name, inputs=None).close() for name in "abc"])

    assert server.requests == ["POST /v1/traces"]
    assert server.credentials == {"Bearer t0ken"}


@pytest.mark.parametrize("version", ["3.16.0", "2.22.1", "not found"])
def test_servers_that_would_lose_session_and_user_are_told_apart(tracking_uri: str, version: str) -> None:
    transport = httpx.MockTransport(MlflowServer(tracking_uri, version=version))

    assert not ServerStore("http://mlflow.test", environ={}, transport=transport).takes_whole_traces()


async def test_an_experiment_id_in_the_environment_wins_over_the_name(tracking_uri: str) -> None:
    import mlflow

    chosen = mlflow.MlflowClient(tracking_uri).create_experiment("chosen")
    exporter = TraceExporter(tracking_uri, "not this one", environ={"MLFLOW_EXPERIMENT_ID": chosen})
    record = await recorded_run()
    exporter.submit(record)
    assert exporter.flush(60)

    assert mlflow.get_trace(record.trace_id).info.experiment_id == chosen
    exporter.close(5)


async def test_a_run_is_replayed_below_the_span_mlflow_opened(tracking_uri: str) -> None:
    import mlflow

    record = await recorded_run()
    with mlflow.start_span("predict", span_type="AGENT") as span:
        attach_to_active_span(record, span)
    mlflow.flush_trace_async_logging()

    trace = mlflow.get_trace(span.trace_id)

    assert shown(trace) == [("AGENT", "predict", None, None, BELOW_ROOT)]
    assert trace.info.trace_metadata["mlflow.trace.session"] == "123"
    assert trace.info.trace_metadata["mlflow.trace.user"] == "ann@example.com"
    assert trace.info.tags["graph"] == "assistant"
    first = {one.name: one.start_time_ns for one in trace.data.spans if one.span_type == "RETRIEVER"}
    assert first == {"docs": 10**18}


def test_the_tracer_takes_caller_conversation_and_ending_of_a_run(tmp_path: Path, tracking_uri: str) -> None:
    import mlflow

    settings = Settings(cache_dir=tmp_path, tracking_uri=tracking_uri, experiment="service")
    tracer = Tracer.of(AppContext(settings, {}))
    trace = tracer.trace()
    request = RunRequest(invocation=_invocation(), dialect=RESPONSES, owner=Caller("ann"), accepted_at=0.0)
    trace.started(RunInfo(id="resp_1", graph="assistant", request=request, messages=request.invocation.messages))
    usage = Usage(input_tokens=2, output_tokens=1)
    trace.ended(Outcome(status="cancelled", answer="It", output=[], usage=usage, error=None))
    assert tracer.flush(60)
    tracer.close(5)

    stored = mlflow.get_trace(str(trace.trace_id))

    assert stored.info.state == "ERROR"
    assert stored.info.trace_metadata["mlflow.trace.user"] == "ann"
    assert stored.info.trace_metadata["mlflow.trace.session"] == "t-1"
    assert stored.info.tags["client_request_id"] == "r-1"
    (root,) = stored.data.spans
    assert root.inputs["messages"] == [{"role": "user", "content": "Hi"}]
    assert root.inputs["custom_inputs"] == {"tone": "kind", "thread_id": "t-1"}
    assert root.outputs == {"choices": [{"message": {"role": "assistant", "content": "It"}}], "output": []}
    assert (root.status.description, root.attributes["graph_agent.status"]) == ("Cancelled", "cancelled")


def _invocation() -> Any:
    from graph_agent.protocol.requests import parse_request

    body = {
        "input": "Hi",
        "custom_inputs": {"tone": "kind", "thread_id": "t-1"},
        "client_request_id": "r-1",
    }
    return parse_request(json.dumps(body).encode(), graphs=["assistant"])
