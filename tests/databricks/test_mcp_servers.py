"""MCP servers of every temper: sessions lost in all ways, streams to be polled, lists that are wrong in part.

The real MCP client over real sockets; the server's answers are the test's.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException
from starlette.applications import Starlette
from starlette.responses import Response
from tests.standin.mcp import mcp_route
from tests.standin.odd_mcp import FORECAST, OddServer, answer_event, events, refusal, said
from tests.standin.server import StandIn, stand_in

from graph_agent import make_tools
from graph_agent.databricks import mcp
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.mcp import McpServer, McpTools
from graph_agent.errors import ToolFailed
from graph_agent.testing import on_loopback

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def offered(server: OddServer, name: str = "odd") -> AsyncIterator[McpTools]:
    """A source of that server's tools."""
    with on_loopback(Starlette(routes=[server.route("/mcp")])) as url:
        source = McpTools([McpServer.at(url + "/mcp", name=name)])
        try:
            with anyio.fail_after(60):
                yield source
        finally:
            await source.close()


async def forecast(source: McpTools) -> BaseTool:
    return next(tool for tool in (await source.tools()).tools if tool.name.endswith("forecast"))


async def asks(source: McpTools, name: str = "odd__forecast", **arguments: Any) -> ToolMessage:
    """What the tools node makes of a call."""
    call = {"id": "c", "name": name, "args": arguments}
    (message,) = (await make_tools([source])({"messages": [AIMessage("", tool_calls=[call])]}, {}))["messages"]
    assert isinstance(message, ToolMessage)
    return message


LOST: dict[str, Callable[[Mapping[str, Any]], Response]] = {
    "400": lambda body: Response(status_code=400),
    "404": lambda body: Response(status_code=404),
    "410": lambda body: Response(status_code=410),
    "503": lambda body: Response(status_code=503),
    "an error": lambda body: refusal(body, -32001, "Session not found"),
    "an error with 400": lambda body: refusal(body, -32000, "Bad Request: No valid session ID provided", status=400),
    "an error with 500": lambda body: refusal(body, -32603, "Invalid session: expired", status=500),
    "an error of no request, with 422": lambda body: (
        refusal({}, -32600, "Session has expired", status=422)
        if body["id"] is None
        else refusal({"id": "server-error"}, -32600, "Session has expired", status=422)
    ),
    "an error in a stream": lambda body: events(
        "data: " + bytes(refusal(body, -32001, "Unknown session").body).decode()
    ),
}


@pytest.mark.parametrize("way", LOST)
async def test_a_session_that_is_lost_is_opened_anew_once(way: str) -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        server.answers["tools/call"] = lambda body: LOST[way](body) if server.sessions == 1 else None
        server.asked.clear()
        assert await tool.ainvoke({}) == "It rains."
        assert server.sessions == 2
        assert server.methods()[-2:] == ["initialize", "tools/call"]
        # Once, and not for ever.
        server.answers["tools/call"] = LOST[way]
        with pytest.raises(ToolFailed, match="it lost the session twice"):
            await tool.ainvoke({})
        assert server.sessions == 3


@pytest.mark.parametrize("message", ["No such city", "Your session at the hotel starts at nine", "internal"])
async def test_an_error_that_is_not_of_the_session_is_told_to_the_model_and_not_asked_again(message: str) -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        server.answers["tools/call"] = lambda body: refusal(body, -32000, message)
        server.asked.clear()
        with pytest.raises(ToolException, match=message):
            await tool.ainvoke({})
        assert server.methods() == ["tools/call"]


async def test_a_server_that_closes_its_stream_is_polled_until_it_answers() -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        ids: list[Any] = []

        def begin(body: Mapping[str, Any]) -> Response:
            ids.append(body["id"])
            server.looks += [
                events("id: e2\nretry: 150\ndata:"),
                events(
                    ": still\n\nid: e3\ndata: " + json.dumps({"jsonrpc": "2.0", "method": "notifications/progress"})
                ),
                events("id: e4\n" + answer_event(body["id"], said("It rains at last."))),
            ]
            return events("id: e1\nretry: 150\ndata:")

        server.answers["tools/call"] = begin
        server.asked.clear()
        began = time.monotonic()
        assert await tool.ainvoke({}) == "It rains at last."
        assert time.monotonic() - began > 0.4
        looked = [headers for method, headers in server.asked if method == "GET"]
        assert [headers["last-event-id"] for headers in looked] == ["e1", "e2", "e3"]
        assert {headers["mcp-session-id"] for headers in looked} == {"s1"}
        assert [method for method, _ in server.asked] == ["tools/call", "GET", "GET", "GET"]


@pytest.mark.parametrize("status", [404, 405, 500])
async def test_a_server_that_will_not_be_polled_has_broken_its_answer_off_and_is_not_called_twice(status: int) -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        server.answers["tools/call"] = lambda body: events("id: e1\nretry: 0\ndata:")
        server.looks += [Response(status_code=status)] * 3
        server.asked.clear()
        with pytest.raises(ToolFailed, match="it ended its answer early"):
            await tool.ainvoke({})
        assert server.methods() == ["tools/call", "GET"]


async def test_a_server_that_is_polled_without_end_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "1")
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        server.answers["tools/call"] = lambda body: events("id: e1\nretry: 0\ndata:")
        server.looks += [events("id: e2\ndata:")] * 100
        with pytest.raises(ToolFailed, match="it did not answer in time"):
            await tool.ainvoke({})
        assert server.methods().count("GET") <= 10


HALF = "half \ud83d"


async def test_half_a_character_in_the_arguments_is_told_to_the_model_at_once(caplog: pytest.LogCaptureFixture) -> None:
    server = OddServer()
    async with offered(server) as source:
        await source.tools()
        server.asked.clear()
        for wrong in ({"city": HALF}, {"cities": [{HALF: 1}]}, {"city": float("nan")}):
            message = await asks(source, **wrong)
            assert message.status == "error"
        assert server.asked == []
        # The session lives on.
        assert (await asks(source, city="Oslo")).content == "It rains."
        assert server.sessions == 1
    assert "Traceback" not in caplog.text


GARBLED = {
    "whole": lambda body: Response(
        json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": said(HALF)}), media_type="application/json"
    ),
    "an event": lambda body: events(answer_event(body["id"], said(HALF))),
    "structured": lambda body: events(answer_event(body["id"], {"content": [], "structuredContent": {"x": HALF}})),
    "an error": lambda body: events(
        "data: " + json.dumps({"jsonrpc": "2.0", "id": body["id"], "error": {"code": 1, "message": HALF}})
    ),
}


@pytest.mark.parametrize("way", GARBLED)
async def test_half_a_character_in_a_result_fails_at_once_and_stands_in_no_log(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        server.answers["tools/call"] = GARBLED[way]
        began = time.monotonic()
        with pytest.raises(ToolFailed, match="lone surrogate"):
            await tool.ainvoke({})
        assert time.monotonic() - began < 20
        del server.answers["tools/call"]
        assert await tool.ainvoke({}) == "It rains."
        assert server.sessions == 1
    assert "Traceback" not in caplog.text
    assert caplog.text.count("lone surrogate") == 1
    assert "half" not in caplog.text


async def test_a_deeply_nested_result_fails_at_once_too(caplog: pytest.LogCaptureFixture) -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        whole = json.dumps(
            {"jsonrpc": "2.0", "id": "ID", "result": {"content": [], "structuredContent": {"x": "DEEP"}}}
        )
        deep = whole.replace('"DEEP"', "[" * 50_000 + "]" * 50_000)
        server.answers["tools/call"] = lambda body: Response(
            deep.replace('"ID"', str(body["id"])), media_type="application/json"
        )
        began = time.monotonic()
        with pytest.raises(ToolFailed, match="its answer is not MCP"):
            await tool.ainvoke({})
        assert time.monotonic() - began < 20
    assert "Traceback" not in caplog.text


async def test_a_cursor_that_does_not_advance_ends_the_list() -> None:
    cursors: list[Any] = []

    def page(body: Mapping[str, Any]) -> Mapping[str, Any]:
        cursors.append((body.get("params") or {}).get("cursor"))
        return {"tools": [FORECAST, {**FORECAST, "name": f"tool{len(cursors)}"}], "nextCursor": "again"}

    async with offered(OddServer({"tools/list": page})) as source:
        listed = await source.tools()
    assert [tool.name for tool in listed.tools] == ["odd__forecast", "odd__tool1", "odd__tool2"]
    assert cursors == [None, "again"]
    assert listed.warnings == []


async def test_a_list_without_end_is_read_in_part_and_said() -> None:
    pages = 0

    def page(body: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal pages
        pages += 1
        return {"tools": [{**FORECAST, "name": f"tool{pages}"}], "nextCursor": str(pages)}

    async with offered(OddServer({"tools/list": page})) as source:
        listed = await source.tools()
    assert pages == len(listed.tools) == 32
    assert listed.warnings == ["Of the more than 32 tools of odd, at least 1 were left out: at most 256 are used."]


async def test_tools_beyond_what_a_model_is_told_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    many = [{**FORECAST, "name": f"tool{number}"} for number in range(300)]
    async with offered(OddServer(tools=many)) as source:
        listed = await source.tools()
        assert len(listed.tools) == 256
        assert listed.warnings == ["Of the 300 tools of odd, 44 were left out: at most 256 are used."]
    assert "44 were left out" in caplog.text


BAD = {
    "no object": {"type": "string"},
    "no schema": None,
    "a text": "object",
    "an unknown type": {"type": "object", "properties": {"x": {"type": "planted-secret"}}},
    "properties in a list": {"type": "object", "properties": ["planted-secret"]},
    "required as a text": {"type": "object", "required": "planted-secret"},
    "a reference that leads nowhere": {"type": "object", "properties": {"x": {"$ref": "#/$defs/planted-secret"}}},
}


@pytest.mark.parametrize("fault", BAD)
async def test_one_bad_schema_costs_one_tool_and_a_warning(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    tools = [FORECAST, {"name": "bad", "inputSchema": BAD[fault]}, {**FORECAST, "name": "last"}]
    async with offered(OddServer(tools=tools)) as source:
        listed = await source.tools()
        assert [tool.name for tool in listed.tools] == ["odd__forecast", "odd__last"]
        assert listed.warnings == ["One tool of odd was left out: the schema cannot be used."]
        assert (await asks(source)).content == "It rains."
    assert "planted-secret" not in caplog.text


async def test_entries_that_are_no_tools_are_counted_with_them() -> None:
    tools = ["planted-secret", 3, {"inputSchema": {"type": "object"}}, {"name": "", "inputSchema": {"type": "object"}}]
    async with offered(OddServer(tools=[*tools, FORECAST])) as source:
        listed = await source.tools()
    assert [tool.name for tool in listed.tools] == ["odd__forecast"]
    assert listed.warnings == ["4 tools of odd were left out: the schema cannot be used."]


async def test_names_that_are_one_when_cut_or_respelled_are_told_apart_for_good() -> None:
    end = "x" * 80
    names = [f"first_{end}", f"second_{end}", "fore.cast", "fore_cast", "plain"]

    def echo(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return said(body["params"]["name"])

    lists = []
    for order in (names, names[::-1]):
        server = OddServer({"tools/call": echo}, tools=[{**FORECAST, "name": name} for name in order])
        async with offered(server) as source:
            listed = await source.tools()
            assert listed.warnings == []
            told = [tool.name for tool in listed.tools]
            assert len(set(told)) == len(names)
            assert all(len(name) <= 64 for name in told)
            # Each name leads to the tool it stands for.
            lists.append({(await asks(source, name)).content: name for name in told})
    assert lists[0] == lists[1]
    assert set(lists[0]) == set(names)
    assert lists[0]["plain"] == "odd__plain"


WAITS = {"seconds": "45", "a date": "Fri, 31 Dec 2100 23:59:59 GMT"}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", WAITS)
async def test_a_long_wait_is_told_and_not_slept_through(wait: str, status: int) -> None:
    server = OddServer()
    async with offered(server) as source:
        tool = await forecast(source)
        server.answers["tools/call"] = lambda body: Response(status_code=status, headers={"retry-after": WAITS[wait]})
        server.asked.clear()
        with pytest.raises(ToolFailed, match=rf"\({status}\); it asks clients to wait \d+ (s|h)$"):
            await tool.ainvoke({})
        assert server.methods() == ["tools/call"]


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    more = [
        mcp_route("/api/2.0/mcp/ai-search/main/docs/project"),
        mcp_route("/api/2.0/mcp/vector-search/main/docs/project"),
        mcp_route("/api/2.0/mcp/genie"),
        mcp_route("/api/2.0/mcp/genie/01ef"),
        mcp_route("/api/2.0/mcp/sql"),
    ]
    with stand_in(tmp_path / "workspace", more=more) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        # Its import takes seconds of the first list.
        workspace_client()
        yield running


MANAGED = {
    "ai-search/main/docs/project": (McpServer.ai_search("main.docs.project"), ("ai-search",)),
    "vector-search/main/docs/project": (
        McpServer.vector_search("main.docs.project"),
        ("vector-search", "mcp.vectorsearch"),
    ),
    "genie/01ef": (McpServer.genie("01ef"), ("genie", "mcp.genie")),
    "genie": (McpServer.genie(), ("genie", "mcp.genie")),
    "sql": (McpServer.sql(), ("sql",)),
    "functions/main/tools": (McpServer.functions("main.tools"), ("unity-catalog", "mcp.functions")),
}


@pytest.mark.parametrize("place", MANAGED)
async def test_managed_servers_are_asked_where_the_workspace_has_them(standing: StandIn, place: str) -> None:
    server, scopes = MANAGED[place]
    assert server.scopes == scopes
    source, other = McpTools([server]), McpTools([server])
    try:
        assert (await source.tools()).tools
        (path,) = {one.path for one in standing.calls("/mcp/")}
        assert path == f"/api/2.0/mcp/{place}"
        standing.fail("/mcp/", 403, times=9)
        refused = await other.tools()
        assert server.permission in refused.warnings[0]
    finally:
        await source.close()
        await other.close()


async def test_a_burst_of_lists_does_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemas are checked in a thread. No step of the loop takes more than a small part of the CPU time of all."""
    # Beside other tests, the list may take longer than a run would wait for it.
    monkeypatch.setattr(mcp, "LIST_SECONDS", 60.0)
    many = [{**FORECAST, "name": f"tool{number}", "inputSchema": WIDE} for number in range(40)]
    async with offered(OddServer(tools=many)) as source:
        await source.tools()
        # CPU time of the loop's own thread, which other processes do not lengthen.
        steps: list[float] = []

        async def tick() -> None:
            while True:
                began = time.thread_time()
                # Not 0, which would never let the thread of the loop rest.
                await asyncio.sleep(0.001)
                steps.append(time.thread_time() - began)

        other = McpTools([*source.servers])
        beside = asyncio.create_task(tick())
        began = time.process_time()
        assert len((await other.tools()).tools) == 40
        took = time.process_time() - began
        beside.cancel()
        await other.close()
    assert max(steps) < took / 4


WIDE = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(50)}}
