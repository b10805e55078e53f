"""The MCP server, with the clients of the MCP SDK and of LangChain over real sockets, and by its messages."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import pytest
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from tests.serving.mailing import planner

from graph_agent import Settings, create_app
from graph_agent.testing import AgentClient, Call, ScriptedChatModel, Wait, on_loopback

pytestmark = pytest.mark.anyio

HEADERS = {"accept": "application/json, text/event-stream"}


def app_of(*replies: Any, **settings: Any) -> tuple[Any, ScriptedChatModel]:
    model = ScriptedChatModel(*replies)
    values: dict[str, Any] = {"tracing": "off", "store": "memory", "default_graph": "mail"}
    graphs = {"mail": planner(model), "the other one": planner(model)}
    return create_app(Settings(**values | settings), graphs, environ={}), model


@contextmanager
def serving(*replies: Any, **settings: Any) -> Iterator[tuple[str, ScriptedChatModel]]:
    app, model = app_of(*replies, **settings)
    with on_loopback(app) as url:
        yield url, model


@asynccontextmanager
async def session_of(url: str, **headers: str) -> AsyncIterator[ClientSession]:
    async with (
        httpx.AsyncClient(headers=headers, timeout=20) as http,
        streamable_http_client(f"{url}/mcp", http_client=http) as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        yield session


@asynccontextmanager
async def talking(*replies: Any, **settings: Any) -> AsyncIterator[tuple[ClientSession, ScriptedChatModel]]:
    with serving(*replies, **settings) as (url, model):
        async with session_of(url) as session:
            yield session, model


def text_of(result: CallToolResult) -> str:
    return "".join(part.text for part in result.content if part.type == "text")


def message(method: str, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, **more}


def call(name: str = "mail", **arguments: Any) -> dict[str, Any]:
    return message("tools/call", params={"name": name, "arguments": arguments})


# -- the SDK's client -------------------------------------------------------------------------------------------------


async def test_each_graph_is_a_tool_and_its_answer_the_result() -> None:
    async with talking("It is 84.", "As I said.") as (session, model):
        listed = (await session.list_tools()).tools
        assert [one.name for one in listed] == ["mail", "the_other_one"]
        assert listed[0].inputSchema["required"] == ["message"]

        result = await session.call_tool("mail", {"message": "What is 12 * 7?"})
        assert (text_of(result), result.isError) == ("It is 84.", False)
        assert result.structuredContent is not None
        assert result.structuredContent["status"] == "completed"

        again = {"message": "Sure?", "conversation_id": result.structuredContent["conversation_id"]}
        assert text_of(await session.call_tool("mail", again)) == "As I said."
        assert model.requests[-1].texts[1:] == ["What is 12 * 7?", "It is 84.", "Sure?"]
        await session.send_ping()


async def test_progress_tells_the_nodes_and_the_tools() -> None:
    told: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, words: str | None) -> None:
        told.append((done, words))

    async with talking(Call("send", {"to": "bob"}), "Sent.") as (session, _):
        result = await session.call_tool("mail", {"message": "Mail Bob."}, progress_callback=progress)
        assert text_of(result) == "Sent."
    assert [words for _, words in told] == ["planner", "tools", "calls send", "planner"]
    assert [done for done, _ in told] == [1, 2, 3, 4]


async def test_what_a_person_must_decide_is_a_result_that_says_so() -> None:
    with serving(["Mailing.", Call("send", {"to": "ann"})], "Sent it.") as (url, _):
        async with session_of(url) as session:
            result = await session.call_tool("mail", {"message": "Mail Ann."})
            assert not result.isError
            content = result.structuredContent or {}
            assert content["status"] == "waiting"
            (asked,) = content["waits_for"]
            assert (asked["name"], asked["arguments"]) == ("send", {"to": "ann"})
            assert "You cannot decide it" in text_of(result)
        answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": True}
        async with httpx.AsyncClient(base_url=url) as person:
            said = (await person.post("/v1/responses", json={"model": "mail", "input": [answer]})).json()
        assert said["output"][-1]["content"][0]["text"] == "Sent it."
        assert said["conversation"]["id"] == content["conversation_id"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("nothing", {"message": "Hi"}, "No tool named 'nothing'; known: mail, the_other_one. (unknown_graph)"),
        ("mail", {}, "`message` is missing: send a text. (invalid_request)"),
        ("mail", {"message": " "}, "(invalid_request)"),
        ("mail", {"message": "Hi", "input": "x"}, "`input` is not a field"),
        ("mail", {"message": "Hi", "conversation_id": "conv_1"}, "there is no such conversation"),
        ("mail", {"message": "Hi"}, "(model_failed)"),
    ],
)
async def test_an_error_is_a_result_in_words_of_the_service(name: str, arguments: dict[str, Any], words: str) -> None:
    async with talking(RuntimeError("a secret of the endpoint")) as (session, _):
        result = await session.call_tool(name, arguments)
        assert result.isError
        assert words in text_of(result)
        assert "secret of" not in text_of(result)


async def test_a_call_that_finds_no_slot_is_an_error_and_the_one_before_goes_on() -> None:
    reached, go = asyncio.Event(), asyncio.Event()
    app, _ = app_of([Wait(go, reached=reached), "Done."], max_runs=1)
    async with AgentClient(app) as client, anyio.create_task_group() as tasks:
        answers: list[str] = []

        async def first() -> None:
            answers.append((await client.post("/mcp", json=call(message="Hi"), headers=HEADERS)).text)

        tasks.start_soon(first)
        await reached.wait()
        second = await client.post("/mcp", json=call(message="Hi"), headers=HEADERS)
        assert "(too_many_runs)" in second.text
        go.set()
    assert '"Done."' in answers[0]


# -- LangChain's adapters ---------------------------------------------------------------------------------------------


async def test_langchains_adapters_load_the_graphs_as_tools() -> None:
    with serving("It is 84.", user_header="x-user", bearer_token="front-end") as (url, _):
        headers = {"authorization": "Bearer front-end", "x-user": "ann"}
        connection: Any = {"transport": "streamable_http", "url": f"{url}/mcp", "headers": headers}
        tools = await MultiServerMCPClient({"agents": connection}).get_tools()
        assert [one.name for one in tools] == ["mail", "the_other_one"]
        (part,) = await tools[0].ainvoke({"message": "What is 12 * 7?"})
        assert part["text"] == "It is 84."
        async with httpx.AsyncClient(base_url=url, headers=headers) as http:
            mine = (await http.get("/conversations")).json()["data"]
            others = (await http.get("/conversations", headers={"x-user": "bob"})).json()["data"]
    assert [one["title"] for one in mine] == ["What is 12 * 7?"]
    assert others == []


# -- leaving and cancelling -------------------------------------------------------------------------------------------


async def ended(client: AgentClient) -> str:
    """How the run of the only conversation ended."""
    with anyio.fail_after(20):
        while True:
            (conversation,) = (await client.get("/conversations")).json()["data"]
            if (last := conversation["last_response_id"]) is not None:
                return str((await client.get(f"/v1/responses/{last}")).json()["status"])


async def test_a_client_that_leaves_stops_its_run() -> None:
    reached = asyncio.Event()
    app, _ = app_of([Wait(reached=reached)], grace_seconds=1_000.0)
    async with AgentClient(app) as client:
        async with client.http.stream("POST", "/mcp", json=call(message="Hi"), headers=HEADERS):
            await reached.wait()
        assert await ended(client) == "cancelled"


@pytest.mark.parametrize("also", [False, True])
async def test_a_notification_cancels_the_call_that_it_names(also: bool) -> None:
    reached, others, go = asyncio.Event(), asyncio.Event(), asyncio.Event()
    app, _ = app_of([Wait(go, reached=reached), "One."], [Wait(go, reached=others), "Two."])
    cancels = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    async with AgentClient(app) as client, anyio.create_task_group() as tasks:
        answers: list[str] = []

        async def ask() -> None:
            answers.append((await client.post("/mcp", json=call(message="Hi"), headers=HEADERS)).text)

        tasks.start_soon(ask)
        await reached.wait()
        if also:
            # Another program of the same caller, which cannot be told from the first one.
            tasks.start_soon(ask)
            await others.wait()
        unknown = {**cancels, "params": {"requestId": 2}}
        assert (await client.post("/mcp", json=unknown, headers=HEADERS)).status_code == 202
        assert (await client.post("/mcp", json=cancels, headers=HEADERS)).status_code == 202
        if also:
            go.set()
        else:
            assert await ended(client) == "cancelled"
    assert ["One." in one or "Two." in one for one in answers] == ([True, True] if also else [False])


# -- what is not such a message ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("[]", 400, "The body must be a JSON object"),
        ("{", 400, "not valid JSON"),
        ('{"method": "ping"}', 400, "one JSON-RPC message of MCP"),
        ('{"jsonrpc": "2.0", "id": null, "method": "ping"}', 400, "`id` must be a string or a whole number"),
        ('{"jsonrpc": "2.0", "id": 1, "result": {}, "method": "ping", "params": [1]}', 400, "`params` an object"),
        ('{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}}', 202, ""),
        (f'{{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {{"a": "{"x" * 70_000}"}}}}', 400, "65536 bytes"),
        ('{"jsonrpc": "2.0", "id": 1, "method": "server/discover"}', 200, "-32601"),
        ('{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}', 200, "-32601"),
        ('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}', 200, "-32602"),
    ],
)
async def test_another_message_is_refused(body: str, status: int, words: str) -> None:
    app, _ = app_of("Never said.")
    async with AgentClient(app) as client:
        headers = {**HEADERS, "content-type": "application/json"}
        answer = await client.post("/mcp", content=body, headers=headers)
        assert answer.status_code == status
        assert words in answer.text
        assert (await client.get("/mcp")).status_code == 405
        refused = await client.post("/mcp", json=call(message="Hi"), headers={**HEADERS, "host": "evil.example"})
        assert refused.status_code == 403


async def test_only_the_service_itself_reads_the_arguments_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    app, _ = app_of("Heard.")
    async with AgentClient(app) as client:
        assert (await client.post("/mcp", json=message("ping"), headers=HEADERS)).status_code == 200
        from mcp.server import streamable_http

        sdk_handles = streamable_http.StreamableHTTPServerTransport.handle_request

        async def handle_request(transport: Any, scope: Any, receive: Any, send: Any) -> None:
            async def received() -> Any:
                got = await receive()
                read.append(len(got.get("body", b"")))
                return got

            await sdk_handles(transport, scope, received, send)

        monkeypatch.setattr(streamable_http.StreamableHTTPServerTransport, "handle_request", handle_request)
        answer = await client.post("/mcp", json=call(message="x" * 500_000), headers=HEADERS)
    assert "Heard." in answer.text
    # A reading of half a megabyte would hold up all other requests.
    assert 0 < read[0] < 1_000


@pytest.mark.parametrize("accept", ["xapplication/json, text/event-stream", "application/json"])
async def test_a_client_that_does_not_take_both_kinds_of_answers_gets_an_error_of_the_service(accept: str) -> None:
    app, _ = app_of("Never said.")
    async with AgentClient(app) as client:
        answer = await client.post("/mcp", json=message("ping"), headers={"accept": accept})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Accept")


async def test_a_call_that_is_cancelled_before_its_answer_begins_gets_an_empty_stream() -> None:
    from graph_agent.serving.mcp_exchange import Exchange

    class Nothing:
        tools = ()

        async def call(self, *_: Any) -> Any:
            raise AssertionError

    scope, sent = anyio.CancelScope(), []

    async def send(told: Any) -> None:
        sent.append(told)

    scope.cancel()
    asked = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": []}
    await Exchange(call(), {}, Nothing(), scope)(asked, anyio.sleep_forever, send)
    assert [one["type"] for one in sent] == ["http.response.start", "http.response.body"]
    assert (sent[0]["status"], sent[1]["more_body"]) == (200, False)


async def test_a_notification_that_is_unknown_stands_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    app, _ = app_of("Never said.")
    async with AgentClient(app) as client:
        body = {"jsonrpc": "2.0", "method": "notifications/odd", "params": {"words": "planted-secret"}}
        assert (await client.post("/mcp", json=body, headers=HEADERS)).status_code == 202
        wrong = message("tools/call", params={"name": ["planted-secret"]})
        assert "-32602" in (await client.post("/mcp", json=wrong, headers=HEADERS)).text
    assert "planted-secret" not in caplog.text


async def test_a_setting_turns_it_off() -> None:
    app, _ = app_of("Never said.", mcp="off")
    async with AgentClient(app) as client:
        assert (await client.post("/mcp", json=call(message="Hi"), headers=HEADERS)).status_code == 404
