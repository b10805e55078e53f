"""The description of the API at `/openapi.json`, and that answers and streams are as it says."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from tests.serving.conftest import GRAPHS
from tests.serving.describing import check_answer, flaws, schema_in
from tests.serving.fuzzing import fuzzed
from tests.wire import frames

from graph_agent.errors import RequestError, RunError
from graph_agent.protocol.dialects import DIALECTS, INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.protocol.events import ResponseHead
from graph_agent.protocol.request_fields import RUN
from graph_agent.protocol.wire_schemas import event, response
from graph_agent.serving.app import create_app
from graph_agent.serving.mounting import host_lifespan
from graph_agent.serving.operations import every
from graph_agent.serving.routes.answers import Endpoint, route
from graph_agent.settings import Settings
from graph_agent.testing import SyncAgentClient

RECORDED = Path(__file__).parent / "recorded"


def client_of(**settings: Any) -> SyncAgentClient:
    values: dict[str, Any] = {"config": GRAPHS, "tracing": "off", "store": "memory"}
    return SyncAgentClient(create_app(Settings(**values | settings), environ={}))


@pytest.fixture(scope="module")
def client() -> Iterator[SyncAgentClient]:
    with client_of() as client:
        yield client


@pytest.fixture(scope="module")
def described(client: SyncAgentClient) -> Mapping[str, Any]:
    answer = client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document: Mapping[str, Any] = answer.json()
    return document


def test_the_document_is_valid_and_has_every_address(described: Mapping[str, Any]) -> None:
    import schemathesis

    schemathesis.openapi.from_dict(dict(described)).validate()
    app = create_app(Settings(config=GRAPHS, tracing="off", store="memory"), environ={})
    routes = [one for one in app.routes if isinstance(one, Route)]
    assert {one.path.replace(":path}", "}") for one in routes} == described["paths"].keys()
    for one, path in zip(routes, described["paths"].values(), strict=True):
        assert isinstance(one.endpoint, Endpoint), f"{one.path} is not made by `route`, so it has no description"
        assert {method.lower() for method in one.endpoint.methods} == _methods(path)
    assert all(operation["summary"] for path in described["paths"].values() for operation in _operations(path))


def _operations(path: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [path[name] for name in _methods(path)]


def _methods(path: Mapping[str, Any]) -> set[str]:
    return {name for name in path if name != "parameters" and not name.startswith("x-")}


def test_a_method_without_a_description_is_an_error() -> None:
    from graph_agent.serving.openapi import Access, document

    async def new(request: Any) -> Any:
        """A method that nobody has described."""

    access = Access.of(Settings(), apps=False, page_at="")
    with pytest.raises(ValueError, match=r"GET /new has no description"):
        document([route("/new", GET=new)], access)


def test_the_document_is_known_by_its_tag(client: SyncAgentClient) -> None:
    first = client.get("/openapi.json")
    again = client.get("/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_a_setting_turns_off_is_not_described() -> None:
    with client_of(page="off", bearer_token="a-token-of-the-operator") as client:
        # It tells nothing secret, so gateways and generators read it without a token.
        described = client.get("/openapi.json").json()
        assert client.get("/agent/info").status_code == 401
    assert "/" not in described["paths"]
    assert described["paths"]["/health"]["get"]["security"] == []
    assert described["paths"]["/agent/info"]["get"]["security"] == [{"bearer": []}]
    assert "401" in described["paths"]["/agent/info"]["get"]["responses"]


def test_on_databricks_apps_the_token_is_that_of_the_platform() -> None:
    app = create_app(Settings(config=GRAPHS, tracing="off", store="memory"), environ={"DATABRICKS_APP_NAME": "agent"})
    with SyncAgentClient(app) as client:
        described = client.get("/api/openapi.json").json()
    assert described["paths"]["/api/responses"]["post"]["security"] == [{"databricks": []}, {"forwarded": []}]
    assert "403" not in described["paths"]["/api/responses"]["post"]["responses"]


def test_behind_a_prefix_the_addresses_begin_there() -> None:
    agent = create_app(Settings(config=GRAPHS, tracing="off", store="memory"), environ={})
    host = Starlette(routes=[Mount("/agent", agent)], lifespan=host_lifespan(agent))
    with SyncAgentClient(host) as client:
        assert client.get("/agent/openapi.json").json()["servers"] == [{"url": "/agent"}]


def test_every_error_of_a_request_or_a_run_is_described(described: Mapping[str, Any]) -> None:
    codes = {kind.code for kind in (*every(RequestError), *every(RunError))}
    # Of an address that has no such method, and of a caller who has left: that answer has no body.
    inner = {"method_not_allowed", "run_cancelled"}
    text = json.dumps(described["components"]["schemas"])
    assert [code for code in sorted(codes - inner) if f'"{code}"' not in text] == []


@pytest.mark.parametrize(
    ("address", "items"),
    [
        *((address, "input") for address in ("/invocations", "/responses", "/v1/responses", "/v1/responses/compact")),
        ("/v1/conversations", "items"),
    ],
)
def test_a_compaction_of_somebody_else_is_refused_as_described(
    client: SyncAgentClient, described: Mapping[str, Any], address: str, items: str
) -> None:
    foreign = {"type": "compaction", "encrypted_content": "none"}
    answer = client.post(address, json={items: [{"role": "user", "content": "Hi"}, foreign]})
    assert answer.status_code == 400
    check_answer(described, described["paths"][address]["post"], answer)


def test_a_field_of_the_request_is_described_by_the_table_that_reads_it(described: Mapping[str, Any]) -> None:
    fields = described["components"]["schemas"]["NewResponse"]["properties"]
    assert fields.keys() == RUN.keys()
    assert all(one["description"].startswith(RUN[name].says) for name, one in fields.items())
    # The table that refuses them says why.
    assert "send `instructions`" in fields["prompt"]["description"]


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_the_schema_of_a_response_has_the_fields_of_every_response(dialect: Dialect) -> None:
    made = ResponseHead(model="m", pending_usage=dialect.open_responses).response("completed")
    assert flaws(response(dialect), made) == []
    assert set(response(dialect)["required"]) == made.keys() - {"usage"}


@pytest.mark.parametrize(
    ("recording", "dialect"),
    [
        ("databricks", RESPONSES),
        ("openai", OPENAI),
        ("failed-databricks", RESPONSES),
        ("failed-invocations", INVOCATIONS),
        ("failed-openai", OPENAI),
    ],
)
def test_recorded_streams_are_as_described(recording: str, dialect: Dialect) -> None:
    schema = event(dialect)
    for line in (RECORDED / f"{recording}.jsonl").read_text().splitlines():
        assert flaws(schema, json.loads(line)) == [], line


LIVE = [
    {"model": "team", "input": "Weather?"},
    {"model": "team", "input": "Weather?", "include": ["graph_agent.steps"], "store": True, "max_tool_calls": 5},
    {"model": "team", "input": "Weather?", "max_tool_calls": 1, "metadata": {"a": "b"}, "temperature": 0.5},
    {"model": "echo", "input": "Hello", "background": True, "instructions": "Be short.", "user": "somebody"},
    {"model": "echo", "input": "Hello", "context": {"conversation_id": "c1"}, "text": {"verbosity": "low"}},
    {"model": "failing", "input": "Go.", "custom_inputs": {"fail": "tool"}},
    {"model": "failing", "input": "Go."},
    *({"model": "moody", "input": mood} for mood in ("hesitate", "cut", "filter", "client", "again", "think", "aside")),
]


@pytest.mark.parametrize("address", ["/invocations", "/api/responses", "/v1/responses"])
@pytest.mark.parametrize("asked", LIVE, ids=range(len(LIVE)))
def test_streams_and_answers_are_as_described(
    client: SyncAgentClient, described: Mapping[str, Any], address: str, asked: Mapping[str, Any]
) -> None:
    operation = described["paths"][address]["post"]
    content = operation["responses"]["200"]["content"]
    stream = client.post(address, json={**asked, "stream": True})
    *events, done = frames(stream.text)
    assert done == "[DONE]"
    name = content["text/event-stream"]["x-events"]["$ref"].rpartition("/")[2]
    for one in events:
        assert flaws(schema_in(described, name), one) == [], one["type"]

    answer = client.post(address, json=asked)
    check_answer(described, operation, answer)


def test_generated_requests_get_the_answers_that_are_described(tmp_path: Path) -> None:
    # One of each group of similar addresses. `make fuzz` asks them all, and for longer.
    addresses = r"^/(?!api/|v1/|docs|assets|invocations).*$"
    report = fuzzed(tmp_path, phases=["coverage", "fuzzing"], examples=2, addresses=addresses)
    assert sum(report.statuses.values()) > 500
    assert report.findings == {}, str(report)
