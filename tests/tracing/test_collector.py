"""Traces to a collector of OpenTelemetry: what its spans say, and that a bad collector harms no run."""

import gzip
import json
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tests.tracing.scripted import ScriptedModel, call
from tests.tracing.test_exporter import finished_run

from graph_agent import Settings, create_app, record_retrieval
from graph_agent.errors import BadSetting
from graph_agent.testing import on_loopback
from graph_agent.tracing import TraceExporter
from graph_agent.tracing.collector import CONTENT, Collector, CollectorStore, collector_of

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TOKEN = "dapi0123456789abcdef0123456789abcdef"
PAGE = Document("One and two are three.", metadata={"doc_uri": "docs/sum.md"}, id="sum-1")


class Receiver:
    """A collector that keeps what it receives, and an MLflow tracking server beside it."""

    def __init__(self) -> None:
        self.received: list[tuple[Mapping[str, str], ExportTraceServiceRequest]] = []
        self.mlflow: list[ExportTraceServiceRequest] = []
        self.answers: list[Response] = []
        """The next answers, before those that accept."""

    async def collect(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.answers:
            return self.answers.pop(0)
        self.received.append((dict(request.headers), ExportTraceServiceRequest.FromString(body)))
        return Response(b"", media_type="application/x-protobuf")

    async def track(self, request: Request) -> Response:
        match request.url.path.rpartition("/")[2]:
            case "version":
                return PlainTextResponse("3.17.2")
            case "traces":
                self.mlflow.append(ExportTraceServiceRequest.FromString(await request.body()))
        return JSONResponse({"experiment": {"experiment_id": "1"}})

    @property
    def spans(self) -> list[Span]:
        return [span for _, request in self.received for one in request.resource_spans for span in spans_of(one)]


@contextmanager
def receiver() -> Iterator[tuple[str, Receiver]]:
    found = Receiver()
    routes = [
        Route("/v1/traces", found.collect, methods=["POST"]),
        Route("/mlflow/{path:path}", found.track, methods=["GET", "POST"]),
    ]
    with on_loopback(Starlette(routes=routes)) as url:
        yield url, found


def spans_of(one: ResourceSpans) -> list[Span]:
    return [span for scope in one.scope_spans for span in scope.spans]


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return [value_of(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: value_of(one.value) for one in of.attributes}


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


class Provided(ScriptedModel):
    """Says from whom it is, as chat models do."""

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "databricks", "ls_model_name": "my-endpoint", "ls_model_type": "chat"}


def assistant() -> Any:
    model = Provided(calls=[call("add", '{"a": 1, "b": 2}', id="c1")]).bind_tools([add])

    async def planner(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def retriever(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        record_retrieval(config, query="sum", documents=[PAGE], name="docs", start_ns=10**18, end_ns=10**18 + 5)
        return {}

    builder = StateGraph(MessagesState).add_node("retriever", retriever).add_node("planner", planner)
    builder.add_node("tools", ToolNode([add])).add_edge(START, "retriever").add_edge("retriever", "planner")
    return builder.add_conditional_edges("planner", tools_condition).add_edge("tools", "planner").compile()


def answered(url: str, environ: Mapping[str, str], tmp_path: Path, *, text: str = "What is 1 + 2?") -> str:
    """Ask the service one question in the conversation `talk`, and stop it. Returns the trace id in the answer."""
    settings = Settings(store="memory", tracking_uri=f"{url}/mlflow", cache_dir=tmp_path)
    body = {"input": text, "context": {"conversation_id": "talk"}, "store": False}
    with on_loopback(create_app(settings, graphs={"sums": assistant()}, environ=environ)) as service:
        headers = {"x-mlflow-return-trace-id": "true", "authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(f"{service}/responses", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["metadata"]["trace_id"])


def test_a_run_is_one_trace_of_the_conventions_for_generative_ai(tmp_path: Path) -> None:
    with receiver() as (url, found):
        environ = {
            ENDPOINT: f"{url}/",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20key,team=shop",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
            "OTEL_SERVICE_NAME": "sums-service",
            "GRAPH_AGENT_VERSION": "1.2",
        }
        trace_id = answered(url, environ, tmp_path)
    ((headers, request),) = found.received
    assert (headers["api-key"], headers["team"]) == ("a key", "shop")
    assert attributes(request.resource_spans[0].resource) == {
        "deployment.environment": "test",
        "service.name": "sums-service",
        "service.version": "1.2",
    }
    assert {span.trace_id.hex() for span in found.spans} == {trace_id.removeprefix("tr-")}
    by_name = {span.name: span for span in found.spans}
    root, chat = by_name["invoke_agent sums"], by_name["chat my-endpoint"]
    assert attributes(root) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "sums",
        "gen_ai.conversation.id": "talk",
        "gen_ai.usage.input_tokens": 14,
        "gen_ai.usage.output_tokens": 6,
        "graph_agent.status": "completed",
        "user.id": "local",
    }
    assert attributes(chat) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "talk",
        "gen_ai.provider.name": "databricks",
        "gen_ai.request.model": "my-endpoint",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
    }
    assert attributes(by_name["execute_tool add"]) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.conversation.id": "talk",
        "gen_ai.tool.name": "add",
        "gen_ai.tool.type": "function",
    }
    assert attributes(by_name["retrieval docs"])["graph_agent.documents"] == 1
    assert (chat.kind, root.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)
    assert chat.parent_span_id == by_name["planner"].span_id
    assert by_name["planner"].parent_span_id == root.span_id
    # The same spans are in MLflow.
    (tracked,) = found.mlflow
    kept = {span.span_id for one in tracked.resource_spans for span in spans_of(one)}
    assert kept == {span.span_id for span in found.spans}


def test_what_was_said_is_sent_only_where_the_standard_switch_asks_for_it_and_without_secrets(tmp_path: Path) -> None:
    text = f"What is 1 + 2? My token is {TOKEN}."
    with receiver() as (url, found):
        answered(url, {TRACES: f"{url}/v1/traces", CONTENT: "true"}, tmp_path, text=text)
        with_content = [attributes(span) for span in found.spans]
        found.received.clear()
        answered(url, {TRACES: f"{url}/v1/traces"}, tmp_path, text=text)
    assert TOKEN not in str(with_content)
    asked = next(json.loads(one["gen_ai.input.messages"]) for one in with_content if "gen_ai.agent.name" in one)
    assert asked[-1]["role"] == "user"
    assert asked[-1]["parts"][0]["content"].startswith("What is 1 + 2?")
    first, second = (one for one in with_content if one.get("gen_ai.operation.name") == "chat")
    (said,) = json.loads(first["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 1, "b": 2}}]
    told = json.loads(second["gen_ai.input.messages"])[-1]
    assert told == {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "3"}]}
    (used,) = [one for one in with_content if one.get("gen_ai.operation.name") == "execute_tool"]
    assert json.loads(used["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
    assert json.loads(used["gen_ai.tool.call.result"]) == "3"
    (searched,) = [one for one in with_content if one.get("gen_ai.operation.name") == "retrieval"]
    assert searched["gen_ai.retrieval.query.text"] == "sum"
    assert json.loads(searched["gen_ai.retrieval.documents"]) == [{"id": "sum-1", "content": PAGE.page_content}]
    quiet = str([attributes(span) for span in found.spans])
    assert "What is" not in quiet
    assert "three" not in quiet


def test_a_collector_that_is_not_there_costs_no_run_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        # Bound and not listening: every connection is refused.
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with receiver() as (url, found), caplog.at_level(logging.WARNING, "graph_agent.tracing"):
            answered(url, {ENDPOINT: nobody}, tmp_path)
    assert len(found.mlflow) == 1
    said = [message for message in caplog.messages if "collector" in message]
    assert said[0].startswith("the OpenTelemetry collector does not accept traces (ConnectError)")
    assert said[1:] == ["1 traces lost at shutdown: the OpenTelemetry collector did not accept them in time"]


def test_a_collector_that_comes_back_gets_what_waited_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as (url, found), caplog.at_level(logging.WARNING, "graph_agent.tracing"):
        found.answers = [Response(status_code=503), Response(status_code=429)]
        exporter = to(Collector(url=f"{url}/v1/traces"))
        exporter.submit(finished_run())
        assert exporter.flush(20)
        exporter.close(5)
    assert [span.name for span in found.spans] == ["invoke_agent assistant"]
    assert caplog.messages == [
        "the OpenTelemetry collector does not accept traces (HTTP 503); 0 traces lost so far",
        "the OpenTelemetry collector accepts traces again; 0 traces lost so far",
    ]


def test_spans_that_a_collector_rejects_are_said_and_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    rejected = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))
    with receiver() as (url, found), caplog.at_level(logging.WARNING, "graph_agent.tracing"):
        found.answers = [Response(rejected.SerializeToString())]
        exporter = to(Collector(url=f"{url}/v1/traces"))
        exporter.submit(finished_run())
        assert exporter.flush(20)
        exporter.close(5)
    assert found.received == []
    assert caplog.messages == ["the OpenTelemetry collector rejected 1 spans of a request; this is said once"]


def test_a_failed_step_has_the_type_of_its_error_and_a_request_may_be_compressed() -> None:
    run = finished_run()
    run.root.error = "GraphFailed"
    with receiver() as (url, found):
        CollectorStore(Collector(url=f"{url}/v1/traces", compressed=True)).write([run])
    ((headers, _),) = found.received
    assert headers["content-encoding"] == "gzip"
    (span,) = found.spans
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "GraphFailed")
    assert attributes(span)["error.type"] == "GraphFailed"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"MLFLOW_ENABLE_OTLP_EXPORTER": "false"},
    ],
)
def test_nothing_is_sent_without_an_address_or_where_a_standard_switch_forbids_it(environ: dict[str, str]) -> None:
    address = {TRACES: "http://127.0.0.1:4318/v1/traces"} if environ else {}
    assert collector_of({**address, **environ}) is None


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({ENDPOINT: "secret-place:4318"}, f"{ENDPOINT} is not an address"),
        ({TRACES: "http://host:port-secret/"}, f"{TRACES} is not an address"),
        ({ENDPOINT: "http://host:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "PROTOCOL is not http/protobuf"),
        ({ENDPOINT: "http://host:4318", "OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "HEADERS is not a list of NAME=VALUE"),
        ({ENDPOINT: "http://host:4318", "OTEL_EXPORTER_OTLP_HEADERS": "a=secret%0Ab"}, "HEADERS is not a list"),
        ({ENDPOINT: "http://host:4318", "OTEL_EXPORTER_OTLP_CLIENT_KEY": "secret.pem"}, "CLIENT_CERTIFICATE and"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_without_its_value(environ: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said) as raised:
        collector_of(environ)
    assert "secret" not in raised.value.message


def test_the_service_runs_with_a_variable_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as (url, found), caplog.at_level(logging.WARNING, "graph_agent.tracing"):
        answered(url, {ENDPOINT: "nonsense"}, tmp_path)
    assert len(found.mlflow) == 1
    assert [one for one in caplog.messages if "collector" in one] == [
        f"traces do not go to an OpenTelemetry collector: {ENDPOINT} is not an address; write it as http://HOST:4318"
    ]


def to(collector: Collector) -> TraceExporter:
    return TraceExporter(
        None,
        "tests",
        environ={},
        opener=lambda: CollectorStore(collector),
        name="the OpenTelemetry collector",
        warns_once=True,
    )
