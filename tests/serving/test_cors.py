"""Pages of the sites that a setting names may use the service from a browser, and no other page may."""

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from graph_agent import AgentState, Settings, create_app, make_planner
from graph_agent.errors import BadSetting
from graph_agent.testing import AgentClient, ScriptedChatModel

pytestmark = pytest.mark.anyio

PAGE, OTHER = "https://app.example.com", "https://evil.com"
ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}
TOKEN = "a-token-of-the-operator"
BODY = {"model": "a", "input": "Hi"}


@pytest.fixture
def client() -> Callable[..., AgentClient]:
    def made(origins: str = PAGE, **settings: Any) -> AgentClient:
        model = ScriptedChatModel("Hello.", each_turn=True)
        builder = StateGraph(AgentState).add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
        graph = builder.add_edge(START, "planner").add_edge("planner", END).compile()
        values: dict[str, Any] = {"tracing": "off", "store": "memory", "cors_origins": origins}
        return AgentClient(create_app(Settings(**values | settings), {"a": graph}, environ={}))

    return made


def allowed(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("settings", [{}, {"bearer_token": TOKEN}])
@pytest.mark.parametrize("path", ["/v1/responses", "/responses/resp_1", "/v1/models", "/v1/chat/completions"])
async def test_a_preflight_of_a_named_page_is_answered_without_a_token(client: Any, settings: Any, path: str) -> None:
    async with client(f"{OTHER}x, {PAGE}", **settings) as agent:
        answer = await agent.http.options(path, headers={"origin": PAGE, **ASKS})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == ASKS["access-control-request-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


async def test_a_named_page_reads_answers_streams_and_refusals(client: Any) -> None:
    async with client(bearer_token=TOKEN) as agent:
        page, token = {"origin": PAGE}, {"authorization": f"Bearer {TOKEN}"}
        whole = await agent.http.post("/v1/responses", json=BODY, headers=page | token)
        stream = await agent.http.post("/v1/responses", json=BODY | {"stream": True}, headers=page | token)
        refused = await agent.http.post("/v1/responses", json=BODY, headers=page)
        wrong = await agent.http.post("/v1/responses", json={}, headers=page | token)
    assert [one.status_code for one in (whole, stream, refused, wrong)] == [200, 200, 401, 400]
    assert stream.text.endswith("data: [DONE]\n\n")
    for answer in (whole, stream, refused, wrong):
        assert allowed(answer) == {"access-control-allow-origin": PAGE, "access-control-expose-headers": "*"}
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("settings", [{}, {"bearer_token": TOKEN}])
@pytest.mark.parametrize("origin", [OTHER, "null", f"{PAGE}:8443", "http://app.example.com", f"{PAGE}.evil.com", "*"])
async def test_another_page_is_allowed_nothing(client: Any, settings: Any, origin: str) -> None:
    async with client(**settings) as agent:
        preflight = await agent.http.options("/v1/responses", headers={"origin": origin, **ASKS})
        asked = await agent.http.post("/v1/responses", json=BODY, headers={"origin": origin})
        both = [("origin", PAGE), ("origin", origin), ("content-type", "application/json")]
        two = await agent.http.post("/v1/responses", content=b"{}", headers=both)
    expected = 401 if settings else 403
    for answer in (preflight, asked, two):
        assert (answer.status_code, allowed(answer)) == (expected, {})
        assert "Origin" in answer.headers["vary"]


async def test_a_service_without_a_token_takes_requests_of_a_named_page_as_json_only(client: Any) -> None:
    async with client() as agent:
        answer = await agent.http.post("/v1/responses", json=BODY, headers={"origin": PAGE})
        plain = await agent.http.post(
            "/v1/responses", content="{}", headers={"origin": PAGE, "content-type": "text/plain"}
        )
        renamed = await agent.http.post("/v1/responses", json=BODY, headers={"origin": PAGE, "host": "evil.com"})
    assert [one.status_code for one in (answer, plain, renamed)] == [200, 415, 403]


async def test_without_the_setting_answers_are_as_before(client: Any) -> None:
    async with client("") as agent:
        answer = await agent.http.get("/v1/models")
        preflight = await agent.http.options("/v1/responses", headers={"origin": "http://localhost:3000", **ASKS})
    assert "vary" not in answer.headers
    assert (preflight.status_code, allowed(preflight)) == (405, {})


async def test_the_description_of_the_api_does_not_depend_on_it(client: Any) -> None:
    async with client("") as closed, client() as opened:
        documents = [(await one.http.get("/openapi.json")).json() for one in (closed, opened)]
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    "origins", ["http://localhost:3000", "https://A.example.com , http://[::1]:8080", "app://obsidian.md", ""]
)
def test_the_setting_takes_what_browsers_send(origins: str) -> None:
    assert all(one == one.lower().strip() for one in Settings(cors_origins=origins).page_origins)


@pytest.mark.parametrize(
    "origins",
    [
        *("*", "null", "app.example.com", "https://*.example.com", f"{PAGE}/", f"{PAGE}/chat", f"{PAGE}:443"),
        *("http://x:80", "http://x:0", "http://x:99999", "http://x:080", "https://u@x", "http://[::1", "https://"),
        f"{PAGE} {OTHER}",
    ],
)
def test_a_setting_that_names_no_site_stops_the_start(origins: str) -> None:
    with pytest.raises(BadSetting, match="GRAPH_AGENT_CORS_ORIGINS must be origins as a browser sends them"):
        Settings(cors_origins=origins)
