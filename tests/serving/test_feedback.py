"""Feedback on answers: `POST /responses/{id}/feedback` makes an assessment of the answer's trace."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tests.serving.conftest import Service, serving
from tests.serving.describing import check_answer

from graph_agent.serving.routes import feedback
from graph_agent.testing import on_loopback

pytestmark = pytest.mark.anyio

ADDRESSES = pytest.mark.parametrize("prefix", ["", "/v1", "/api"])
TRACES = "https://traces.example/{trace_id}?of={response_id}"
TOKEN = "dapi" + "0123456789abcdef" * 2


class TrackingServer:
    """The calls of an MLflow tracking server that traces and feedback need."""

    def __init__(self) -> None:
        self.traces: set[str] = set()
        self.calls: list[str] = []
        self.assessments: dict[str, dict[str, Any]] = {}
        self.is_down = False

    def app(self) -> Starlette:
        one = "/api/3.0/mlflow/traces/{trace}/assessments"
        return Starlette(
            routes=[
                Route("/version", lambda request: PlainTextResponse("3.17.2")),
                Route(
                    "/api/2.0/mlflow/experiments/get-by-name",
                    lambda request: JSONResponse({"experiment": {"experiment_id": "7"}}),
                ),
                Route("/v1/traces", self._log, methods=["POST"]),
                Route(one, self._create, methods=["POST"]),
                Route(f"{one}/{{id}}", self._change, methods=["PATCH"]),
            ]
        )

    async def _log(self, request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.traces.update(f"tr-{span.trace_id.hex()}" for span in scope.spans)
        return Response()

    async def _create(self, request: Request) -> Response:
        if self.is_down:
            return Response(status_code=503)
        if request.path_params["trace"] not in self.traces:
            return Response(status_code=404)
        made = (await request.json())["assessment"]
        made["assessment_id"] = f"a-{len(self.assessments)}"
        self.assessments[made["assessment_id"]] = made
        return JSONResponse({"assessment": made})

    async def _change(self, request: Request) -> Response:
        sent = await request.json()
        known = self.assessments[request.path_params["id"]]
        known.update({name: sent["assessment"][name] for name in sent["update_mask"].split(",")})
        return JSONResponse({"assessment": known})


@pytest.fixture(scope="module")
def server() -> TrackingServer:
    return TrackingServer()


@pytest.fixture(scope="module")
def service(server: TrackingServer) -> Iterator[Service]:
    """A service with a tracking server, whose callers a front end names."""
    with (
        on_loopback(server.app()) as url,
        serving(tracing="on", tracking_uri=url, trace_url=TRACES, user_header="x-user", bearer_token="t") as running,
    ):
        yield running


def by(user: str) -> dict[str, str]:
    return {"authorization": "Bearer t", "x-user": user}


async def answered(service: Service, prefix: str = "/v1", **fields: Any) -> str:
    """The id of a response of ann."""
    async with service.client(headers=by("ann")) as client:
        body = {"model": "plain", "input": "Hello?", "store": True} | fields
        answer = await client.post(f"{prefix}/responses", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


@ADDRESSES
async def test_feedback_becomes_one_assessment_of_the_trace_by_the_caller(
    service: Service, server: TrackingServer, prefix: str
) -> None:
    server.assessments.clear()
    response = await answered(service, prefix)
    address = f"{prefix}/responses/{response}/feedback"
    async with service.client(headers=by("ann")) as client:
        first = await client.post(address, json={"value": True})
        second = await client.post(address, json={"value": False, "comment": f"Wrong. My token is {TOKEN}."})
        kept = await client.get(address)
    assert (first.status_code, second.status_code) == (200, 200)
    (made,) = server.assessments.values()
    assert made["trace_id"] in server.traces
    assert made["source"] == {"source_type": "HUMAN", "source_id": "ann"}
    assert (made["assessment_name"], made["feedback"]) == ("user_feedback", {"value": False})
    assert made["rationale"].startswith("Wrong.")
    assert TOKEN not in made["rationale"] + second.text
    assert kept.json()["trace_id"] == made["trace_id"] == first.json()["trace_id"]
    assert kept.json()["feedback"] == {"user_feedback": {"value": False}}
    async with service.client() as client:
        described = (await client.get("/openapi.json")).json()
    operations = described["paths"][f"{prefix}/responses/{{id}}/feedback"]
    check_answer(described, operations["post"], second)
    check_answer(described, operations["get"], kept)


async def test_the_responses_of_a_conversation_tell_it_too(service: Service) -> None:
    response = await answered(service)
    async with service.client(headers=by("ann")) as client:
        await client.post(f"/v1/responses/{response}/feedback", json={"value": True, "name": "helpful"})
        whole = (await client.get(f"/v1/responses/{response}")).json()
        entries = (await client.get(f"/v1/conversations/{whole['conversation']['id']}/responses")).json()["data"]
    assert entries[0]["feedback"] == {"helpful": {"value": True}}
    assert entries[0]["trace_id"].startswith("tr-")


async def test_feedback_on_a_response_in_the_background_is_kept(service: Service, server: TrackingServer) -> None:
    server.assessments.clear()
    response = await answered(service, background=True)
    async with service.client(headers=by("ann")) as client:
        while (await client.get(f"/v1/responses/{response}")).json()["status"] in ("queued", "in_progress"):
            pass
        answer = await client.post(f"/v1/responses/{response}/feedback", json={"value": True})
    assert answer.status_code == 200
    assert [one["trace_id"] for one in server.assessments.values()] == [answer.json()["trace_id"]]


async def test_another_caller_learns_no_more_than_of_a_response_that_does_not_exist(service: Service) -> None:
    response = await answered(service)
    async with service.client(headers=by("ben")) as client:
        foreign = await client.post(f"/v1/responses/{response}/feedback", json={"value": True})
        missing = await client.post("/v1/responses/resp_missing/feedback", json={"value": True})
        read = await client.get(f"/v1/responses/{response}/feedback")
    assert (foreign.status_code, missing.status_code, read.status_code) == (404, 404, 404)
    assert foreign.json() == missing.json() == read.json()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "value"),
        ({"value": "yes"}, "value"),
        ({"value": True, "comment": "x" * 4001}, "comment"),
        ({"value": True, "name": ""}, "name"),
        ({"value": True, "stars": 5}, "stars"),
    ],
)
async def test_a_wrong_field_is_named(service: Service, body: dict[str, Any], param: str) -> None:
    async with service.client(headers=by("ann")) as client:
        answer = await client.post("/v1/responses/resp_1/feedback", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_trace_that_is_not_there_yet_and_one_that_is_gone_are_told_apart(
    service: Service, server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "SECONDS", 2.0)
    response = await answered(service)
    address = f"/v1/responses/{response}/feedback"
    async with service.client(headers=by("ann")) as client:
        trace = (await client.post(address, json={"value": True})).json()["trace_id"]
        server.traces.discard(trace)
        early = await client.post(address, json={"value": True, "name": "other"})
        monkeypatch.setattr(feedback, "DELIVERY_SECONDS", 0.0)
        late = await client.post(address, json={"value": True, "name": "other"})
    assert (early.status_code, early.json()["error"]["code"]) == (409, "trace_not_ready")
    assert (late.status_code, late.json()["error"]["code"]) == (404, "no_trace")


async def test_a_tracking_server_that_does_not_answer_is_a_503_and_nothing_is_kept(
    service: Service, server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "SECONDS", 1.0)
    response = await answered(service)
    server.is_down = True
    try:
        async with service.client(headers=by("ann")) as client:
            answer = await client.post(f"/v1/responses/{response}/feedback", json={"value": True})
            kept = await client.get(f"/v1/responses/{response}/feedback")
    finally:
        server.is_down = False
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "trace_store_unavailable")
    assert kept.json()["feedback"] == {}


async def test_without_tracing_a_response_takes_no_feedback() -> None:
    with serving(tracing="off") as untraced:
        async with untraced.client() as client:
            response = (await client.post("/v1/responses", json={"model": "plain", "input": "Hi"})).json()["id"]
            answer = await client.post(f"/v1/responses/{response}/feedback", json={"value": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_trace")


async def test_an_answer_has_the_address_of_its_trace_for_people(service: Service) -> None:
    response = await answered(service, conversation=await begun(service))
    async with service.client(headers=by("ann")) as client:
        feedback_ = (await client.get(f"/v1/responses/{response}/feedback")).json()
        conversation = (await client.get(f"/v1/responses/{response}")).json()["conversation"]["id"]
        (entry,) = (await client.get(f"/v1/conversations/{conversation}/responses")).json()["data"]
    expected = f"https://traces.example/{feedback_['trace_id']}?of={response}"
    assert (feedback_["trace_url"], entry["trace_url"]) == (expected, expected)


async def begun(service: Service) -> str:
    async with service.client(headers=by("ann")) as client:
        return str((await client.post("/v1/conversations", json={})).json()["id"])
