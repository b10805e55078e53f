"""Tools of MCP servers: listed once, called over kept sessions, as the app or as each user, and missing with a warning.

The real MCP client talks to real MCP servers of the stand-in over real sockets.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph import START, StateGraph
from mcp import types
from pydantic import AnyUrl
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.databricks.conftest import USERS
from tests.databricks.service import service_here
from tests.standin.mcp import FUNCTIONS, Waiting, find_customer, forecast, mcp_route, odd_route, raw_route
from tests.standin.server import ScriptedModel, StandIn, calls, dead_host, results_in, says, stand_in
from tests.standin.stalls import stalls

from graph_agent import AgentState, chat_model, make_planner, make_tools
from graph_agent.databricks.mcp import McpServer, McpTools
from graph_agent.errors import ConfigurationError, ToolFailed, Unauthenticated
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.nodes.planner import requested_nodes
from graph_agent.nodes.tool_errors import FAULT
from graph_agent.testing import on_loopback
from graph_agent.toolbox import current_time

pytestmark = pytest.mark.anyio
logger = logging.getLogger(__name__)
"""Shows the times the faults took: `pytest -o log_cli=1 -o log_cli_level=INFO`."""

CALCULATOR = "main__tools__calculator"
EXTERNAL = "/api/2.0/mcp/external/weather"


def plan(body: Mapping[str, Any]) -> Sequence[Any]:
    """One calculation, then an answer with its result."""
    if not results_in(body):
        return calls(CALCULATOR, expression="6 * 7")
    return says(f"It is {body['messages'][-1]['content']}.")


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    more = [mcp_route(EXTERNAL, [forecast, find_customer], stateless=False)]
    with stand_in(tmp_path / "workspace", users=USERS, more=more, model=ScriptedModel(plan)) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@asynccontextmanager
async def opened(*servers: McpServer, **options: Any) -> AsyncIterator[McpTools]:
    source = McpTools(servers, **options)
    try:
        with anyio.fail_after(60):
            yield source
    finally:
        await source.close()


def graph_of(*tools: Any, model: Any = None) -> Any:
    builder = StateGraph(AgentState)
    planner = make_planner(model=model or chat_model("databricks:local-model"), tools=list(tools), prompt="Be brief.")
    builder.add_node("planner", planner)
    builder.add_node("tools", make_tools(list(tools)))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval="none"))
    builder.add_edge("tools", "planner")
    return builder.compile()


async def turn(graph: Any, text: str = "What is 6 * 7?") -> dict[str, Any]:
    return dict(await graph.ainvoke({"messages": [("user", text)]}))


async def named(source: McpTools, name: str) -> BaseTool:
    listed = await source.tools()
    return next(tool for tool in listed.tools if tool.name == name)


def methods(standing: StandIn, path: str = FUNCTIONS) -> list[str]:
    """The MCP methods asked for, in order."""
    return [one.json["method"] if one.body else one.method for one in standing.calls(path)]


OPENING = ["initialize", "notifications/initialized"]


async def test_a_graph_uses_the_functions_of_a_schema_as_the_app(standing: StandIn) -> None:
    async with opened(McpServer.functions("main.tools")) as source:
        graph = graph_of(current_time, source)
        state = await turn(graph)
        assert state["messages"][-1].text == "It is 42."
        assert methods(standing) == [*OPENING, "tools/list", "tools/call"]
        bound = [one["function"]["name"] for one in standing.model.bodies[0]["tools"]]
        assert bound == ["current_time", CALCULATOR, "main__tools__convert_units", "main__tools__current_time"]
        tokens = {one.token for one in standing.calls()}
        assert [token.startswith("user-") for token in tokens] == [False]
        assert "warnings" not in state["custom_outputs"]
        standing.forget()
        await turn(graph)
        assert methods(standing) == ["tools/call"]


async def test_twenty_users_at_once_are_each_served_with_their_own_token_and_then_in_one_request_a_call(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")

    async with opened(McpServer.functions("main.tools"), McpServer.external("weather")) as source:

        async def works(user: str) -> None:
            with with_user_token(UserToken(standing.user(user))):
                tool = await named(source, CALCULATOR)
                assert await tool.ainvoke({"expression": "6 * 7"}) == "42"
                tool = await named(source, "weather__forecast")
                assert await tool.ainvoke({"city": user}) == f"Rain in {user}."

        # The app's own client is made first: it signs in nobody, but reads where the workspace is.
        async with stalls() as stalled:
            await asyncio.gather(*map(works, USERS))
        assert stalled.worst < 0.1
        used = Counter(one.token for one in standing.calls("/mcp/"))
        assert used == {standing.user(user): 2 * 4 for user in USERS}
        assert {one.token for one in standing.calls()} == set(used)

        standing.forget()
        await asyncio.gather(*map(works, USERS))
        assert Counter((one.token, one.json["method"]) for one in standing.calls()) == {
            (standing.user(user), "tools/call"): 2 for user in USERS
        }
        assert len(standing.calls(sign_in=True)) == 40


async def test_a_run_for_a_user_without_a_token_fails_and_asks_nothing(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    with with_user_token(UserToken(standing.user(USERS[0]))):
        async with opened(McpServer.functions("main.tools")) as source:
            tool = await named(source, CALCULATOR)
            standing.forget()
            with with_user_token(None):
                with pytest.raises(Unauthenticated):
                    await turn(graph_of(source))
                with pytest.raises(Unauthenticated):
                    await tool.ainvoke({"expression": "1"})
                with pytest.raises(Unauthenticated):
                    await asks(make_tools([tool]), CALCULATOR, expression="1")
            assert standing.calls() == []


async def asks(node: Any, name: str, **arguments: Any) -> ToolMessage:
    """What the tools node makes of one call of the planner."""
    call = AIMessage("", tool_calls=[{"id": "c1", "name": name, "args": arguments}])
    (message,) = (await node({"messages": [call]}, {}))["messages"]
    assert isinstance(message, ToolMessage)
    return message


async def test_a_server_that_is_down_costs_its_tools_and_a_warning_and_comes_back(
    standing: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    weather = McpServer.at(standing.url + EXTERNAL, name="weather", acting_as="app")
    standing.fail(EXTERNAL, 500, times=1)
    async with opened(McpServer.functions("main.tools"), weather, pause_seconds=60) as source:
        graph = graph_of(source)
        with caplog.at_level(logging.WARNING):
            state = await turn(graph)
        warning = "The tools of weather are not available now: it failed (500)."
        assert state["custom_outputs"]["warnings"] == [warning]
        assert state["messages"][-1].text == "It is 42."
        assert standing.model.bodies[0]["messages"][0]["content"] == f"Be brief.\n\n{warning}"
        assert [r.message for r in caplog.records] == [
            "the tools of MCP server weather are not available: it failed (500)"
        ]
        # During the pause there is one attempt, though the planner moved twice.
        assert len(standing.calls(EXTERNAL)) == 1
    standing.fail(EXTERNAL, 500, times=1)
    async with opened(McpServer.functions("main.tools"), weather, pause_seconds=0) as source:
        assert (await source.tools()).warnings == [warning]
        before = len(standing.calls(EXTERNAL))
        state = await turn(graph_of(source))
        assert "warnings" not in state["custom_outputs"]
        assert methods(standing, EXTERNAL)[before:] == [*OPENING, "tools/list"]


async def test_with_every_server_down_the_model_answers_without_tools(standing: StandIn) -> None:
    with dead_host() as url:
        async with opened(McpServer.at(url + "/mcp", name="weather")) as source:
            standing.model.script = lambda body: says("I have no tools.")
            began = time.monotonic()
            state = await turn(graph_of(source))
            logger.info(f"turn with a dead host: {time.monotonic() - began:.2f} s")
            assert state["messages"][-1].text == "I have no tools."
            assert "tools" not in standing.model.bodies[0]
            warning = "The tools of weather are not available now: it cannot be reached."
            assert state["custom_outputs"]["warnings"] == [warning]


FAULTS: dict[str, tuple[Callable[[StandIn, str], None], str]] = {
    "429": (lambda s, path: s.fail(path, 429, times=9), "it is rate limited (429)"),
    "500": (lambda s, path: s.fail(path, 500, times=9), "it failed (500)"),
    "503": (lambda s, path: s.fail(path, 503, times=9), "it failed (503)"),
    "401": (lambda s, path: s.fail(path, 401, times=9), "it did not accept the app's credentials (401)"),
    "403": (
        lambda s, path: s.fail(path, 403, times=9),
        "the app may not use it (403); its service principal needs EXECUTE on the functions of main.tools",
    ),
    "404": (lambda s, path: s.fail(path, 404, times=9), "there is no such server (404)"),
    "cut": (lambda s, path: s.hang_up(path, after=0, times=9), "it ended its answer early"),
    "slow": (lambda s, path: s.slow(path, 30, times=9), "it did not answer in time"),
    "foreign": (lambda s, path: s.fail(path, 200, times=9, body={"secret": "x"}), "its answer is not MCP"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_while_listing_is_a_warning_and_never_blocks_the_loop(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "2")
    act, reason = FAULTS[fault]
    act(standing, FUNCTIONS)
    async with opened(McpServer.functions("main.tools")) as source:
        async with stalls() as stalled:
            began = time.monotonic()
            listed = await source.tools()
            took = time.monotonic() - began
        assert (listed.tools, listed.warnings) == (
            [],
            [f"The tools of main.tools are not available now: {reason}."],
        )
        logger.info(
            f"listing {fault}: {took:.2f} s, {len(standing.calls(FUNCTIONS))} requests, stall {stalled.worst:.3f}"
        )
        assert stalled.worst < 0.1
        assert len(standing.calls(FUNCTIONS)) == (3 if fault in ("429", "503") else 1)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_while_calling_is_told_to_the_model_and_the_session_lives_on(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "2")
    act, reason = FAULTS[fault]
    async with opened(McpServer.functions("main.tools")) as source:
        node = make_tools([source])
        await source.tools()
        standing.forget()
        act(standing, FUNCTIONS)
        async with stalls() as stalled:
            began = time.monotonic()
            message = await asks(node, CALCULATOR, expression="6 * 7")
            took = time.monotonic() - began
        assert message.status == "error"
        assert message.content == f"{CALCULATOR}: main.tools gave no answer: {reason}\n{FAULT}"
        logger.info(
            f"calling {fault}: {took:.2f} s, {len(standing.calls(FUNCTIONS))} requests, stall {stalled.worst:.3f}"
        )
        assert stalled.worst < 0.1
        standing.clear_faults()
        standing.forget()
        assert (await asks(node, CALCULATOR, expression="6 * 7")).content == "42"
        # A call given up as too slow may be called off meanwhile.
        assert [one for one in methods(standing) if one != "notifications/cancelled"] == ["tools/call"]


async def test_a_call_to_a_host_that_has_died_is_told_at_once() -> None:
    async with AsyncExitStack() as stack:
        with on_loopback(Starlette(routes=[mcp_route("/mcp")])) as url:
            source = await stack.enter_async_context(opened(McpServer.at(url + "/mcp", name="weather")))
            tool = await named(source, "weather__forecast")
            assert await tool.ainvoke({"city": "Oslo"}) == "Rain in Oslo."
        async with stalls() as stalled:
            began = time.monotonic()
            with pytest.raises(
                ToolFailed, match=r"weather gave no answer: it (cannot be reached|ended its answer early)"
            ):
                await tool.ainvoke({"city": "Oslo"})
            logger.info(f"calling dead: {time.monotonic() - began:.2f} s, stall {stalled.worst:.3f}")
        assert stalled.worst < 0.1


async def test_too_much_asked_for_a_moment_is_asked_again(standing: StandIn) -> None:
    async with opened(McpServer.functions("main.tools")) as source:
        standing.fail(FUNCTIONS, 429, headers={"retry-after": "0.2"})
        tool = await named(source, CALCULATOR)
        standing.fail(FUNCTIONS, 503)
        assert await tool.ainvoke({"expression": "6 * 7"}) == "42"


async def test_a_session_its_server_forgot_is_opened_anew_once(standing: StandIn) -> None:
    async with opened(McpServer.external("weather")) as source:
        tool = await named(source, "weather__forecast")
        standing.forget()
        standing.fail(EXTERNAL, 404)
        assert await tool.ainvoke({"city": "Oslo"}) == "Rain in Oslo."
        assert [one for one in methods(standing, EXTERNAL) if one != "DELETE"] == ["tools/call", *OPENING, "tools/call"]
        ids = [one.headers.get("mcp-session-id") for one in standing.calls(EXTERNAL) if one.method == "POST"]
        assert ids[1] is None
        assert ids[2] == ids[3]
        assert len({ids[0], ids[2], None}) == 3


async def test_a_call_that_fails_or_is_left_does_not_touch_another_one_in_its_session(standing: StandIn) -> None:
    async with opened(McpServer.external("weather")) as source:
        tool = await named(source, "weather__forecast")
        standing.slow(EXTERNAL, 0.5)
        slow = asyncio.create_task(tool.ainvoke({"city": "Rome"}))
        await until(lambda: len(standing.calls(EXTERNAL)) == 4)
        standing.fail(EXTERNAL, 500)
        with pytest.raises(ToolFailed):
            await tool.ainvoke({"city": "Oslo"})
        standing.slow(EXTERNAL, 30)
        left = asyncio.create_task(tool.ainvoke({"city": "Bonn"}))
        await until(lambda: len(standing.calls(EXTERNAL)) == 6)
        left.cancel()
        assert await slow == "Rain in Rome."
        assert await tool.ainvoke({"city": "Oslo"}) == "Rain in Oslo."
        assert methods(standing, EXTERNAL).count("initialize") == 1


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.mark.parametrize("streams", [True, False])
async def test_calls_of_a_run_that_was_left_are_broken_off_and_called_off(streams: bool) -> None:
    server = Waiting(streams=streams)
    with on_loopback(Starlette(routes=[server.route("/mcp")])) as url:
        async with opened(McpServer.at(url + "/mcp", name="slow")) as source:
            node = make_tools([source])
            wanted = [{"id": f"c{place}", "name": "slow__wait", "args": {"end": False}} for place in range(3)]
            run = asyncio.create_task(node({"messages": [AIMessage("", tool_calls=wanted)]}, {}))
            await until(lambda: len(server.asked) == 3)
            await anyio.sleep(0.1)
            assert server.left == []
            run.cancel()
            await until(lambda: sorted(server.left) == sorted(server.called_off) == sorted(server.asked))
            assert (await asks(node, "slow__wait", end=True)).content == "ended"
            assert (server.opened, len(server.asked)) == (1, 3)


async def test_a_call_that_is_waiting_to_be_repeated_is_not_sent_again_once_nobody_waits(standing: StandIn) -> None:
    async with opened(McpServer.external("weather")) as source:
        tool = await named(source, "weather__forecast")
        standing.forget()
        standing.fail(EXTERNAL, 429, headers={"retry-after": "0.5"})
        left = asyncio.create_task(tool.ainvoke({"city": "Bonn"}))
        await until(lambda: len(standing.calls(EXTERNAL)) == 1)
        left.cancel()
        await anyio.sleep(0.8)
        assert methods(standing, EXTERNAL) == ["tools/call", "notifications/cancelled"]


async def test_an_idle_session_is_ended_and_the_next_call_opens_another(standing: StandIn) -> None:
    async with opened(McpServer.external("weather"), idle_seconds=0.2) as source:
        tool = await named(source, "weather__forecast")
        await until(lambda: "DELETE" in methods(standing, EXTERNAL))
        standing.forget()
        assert await tool.ainvoke({"city": "Oslo"}) == "Rain in Oslo."
        assert methods(standing, EXTERNAL)[:3] == [*OPENING, "tools/call"]


async def test_a_list_is_read_again_after_its_time(standing: StandIn) -> None:
    async with opened(McpServer.functions("main.tools"), list_seconds=0.2) as source:
        await asyncio.gather(source.tools(), source.tools())
        assert methods(standing) == [*OPENING, "tools/list"]
        await anyio.sleep(0.3)
        await source.tools()
        assert methods(standing) == [*OPENING, "tools/list", "tools/list"]


async def test_arguments_named_like_those_of_the_tool_library_arrive(standing: StandIn) -> None:
    async with opened(McpServer.external("weather")) as source:
        tool = await named(source, "weather__find_customer")
        assert await tool.ainvoke({"config": "blue", "callbacks": 3}) == "config=blue callbacks=3"


async def test_a_server_elsewhere_gets_its_own_headers_and_no_credentials_of_ours(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    key = {"x-api-key": "k1"}
    async with opened(McpServer.at(standing.url + EXTERNAL, name="weather", headers=lambda: key)) as source:
        with with_user_token(UserToken(standing.user(USERS[0]))):
            listed = await source.tools()
        (call,) = standing.calls(EXTERNAL)
        assert (call.token, call.headers["x-api-key"]) == ("", "k1")
        assert listed.warnings == [
            "The tools of weather are not available now: it requires credentials (401); give it `headers`, or "
            "set `acting_as`."
        ]
    with pytest.raises(ConfigurationError, match="https"):
        McpServer.at("http://example.com/mcp", name="weather", headers=key)
    with pytest.raises(ConfigurationError, match="https"):
        McpServer.at("http://example.com/mcp", name="weather", acting_as="user")
    with pytest.raises(ConfigurationError, match=r"two MCP servers are named 'main\.tools'"):
        McpTools([McpServer.functions("main.tools"), McpServer.vector_search("main.tools")])


async def test_a_user_without_the_permission_is_told_which_one_and_which_scope(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    with with_user_token(UserToken(standing.user(USERS[0]))):
        async with opened(McpServer.functions("main.tools"), McpServer.genie("g1")) as source:
            standing.fail(FUNCTIONS, 403)
            standing.fail("/genie/g1", 401)
            assert (await source.tools()).warnings == [
                "The tools of main.tools are not available now: the user may not use it (403); they need EXECUTE on "
                "the functions of main.tools, and the app the user scope unity-catalog or mcp.functions.",
                "The tools of genie g1 are not available now: it did not accept the user's token (401); it may have "
                "expired, or the app lacks the user scope genie or mcp.genie.",
            ]


def test_names_are_those_chat_endpoints_take() -> None:
    weather = McpServer.at("https://example.com/mcp", name="my weather")
    assert weather.tool_name("fore.cast") == "my_weather__fore_cast"
    assert McpServer.functions("main.tools").tool_name("main__tools__" + "f" * 80) == "f" * 64
    for wrong in ("main", "main..tools", "a.b.c.d"):
        with pytest.raises(ConfigurationError):
            McpServer.functions(wrong)


async def test_what_a_tool_refuses_is_told_to_the_model_alone(standing: StandIn) -> None:
    async with opened(McpServer.functions("main.tools")) as source:
        node = make_tools([source])
        message = await asks(node, CALCULATOR, expression="1 / 0")
        assert (message.status, message.content) == ("error", f"{CALCULATOR}: division by zero has no value")
        assert message.additional_kwargs == {}
        message = await asks(node, "nothing", x=1)
        assert str(message.content).startswith("There is no tool named 'nothing'; there are: main__tools__calc")


async def test_pictures_are_named_long_texts_are_cut_and_structured_content_is_kept() -> None:
    def everything() -> list[types.ContentBlock]:
        link = types.ResourceLink(type="resource_link", name="r", uri=AnyUrl("https://example.com/r.csv"))
        image = types.ImageContent(type="image", data="aGk=", mimeType="image/png")
        return [image, link, types.TextContent(type="text", text="x" * 30_000)]

    answers: dict[str, Any] = {"all": everything, "table": lambda: {"rows": [["3"]]}}
    with on_loopback(Starlette(routes=[odd_route("/mcp", answers)])) as url:
        async with opened(McpServer.at(url + "/mcp", name="odd")) as source:
            message = await asks(make_tools([source]), "odd__all")
            image, link, text, left_out = str(message.content).split("\n")
            assert (image, link) == ("[image, image/png]", "[file https://example.com/r.csv]")
            assert (set(text), left_out) == ({"x"}, "[10052 more characters were left out]")
            message = await asks(make_tools([source]), "odd__table")
            assert (json.loads(str(message.content)), message.artifact) == ({"rows": [["3"]]}, {"rows": [["3"]]})


async def test_the_client_of_databricks_mcp_hides_a_401_which_is_why_it_is_not_used(standing: StandIn) -> None:
    from databricks.sdk import WorkspaceClient
    from databricks_langchain import DatabricksMCPServer, DatabricksMultiServerMCPClient

    client = await asyncio.to_thread(WorkspaceClient)
    url = f"{standing.url}/api/2.0/mcp/functions/main/tools"
    server = DatabricksMCPServer(name="functions", url=url, workspace_client=client)
    standing.fail(FUNCTIONS, 401, times=9)
    with pytest.raises(BaseExceptionGroup) as raised:
        await DatabricksMultiServerMCPClient([server]).get_tools()
    assert raised.group_contains(httpx.UnsupportedProtocol)


async def test_of_too_many_sessions_the_one_unused_for_longest_is_ended(standing: StandIn) -> None:
    from graph_agent.databricks.mcp_sessions import Sessions

    async def nobody() -> Mapping[str, str]:
        return {}

    with on_loopback(Starlette(routes=[mcp_route("/mcp", stateless=False)])) as url, anyio.fail_after(30):
        sessions = Sessions(most=2, idle_seconds=60, seconds=5)
        try:
            kept = [await sessions.get(("weather", str(user)), url + "/mcp", nobody) for user in (0, 1, 0, 2)]
            assert kept[0] is kept[2]
            await kept[1].ended()
            assert [session.alive for session in kept] == [True, False, True, True]
            assert [tool.name for tool in await kept[0].tools(seconds=5)] == ["forecast"]
        finally:
            await sessions.close()
        assert not any(session.alive for session in kept)


def test_sessions_end_with_the_event_loop_they_belong_to(standing: StandIn) -> None:
    source = McpTools([McpServer.external("weather")])

    async def uses() -> str:
        tool = await named(source, "weather__forecast")
        return str(await tool.ainvoke({"city": "Oslo"}))

    # Two loops, one after the other: nothing of the first is left to the second.
    for _ in range(2):
        standing.forget()
        assert asyncio.run(uses()) == "Rain in Oslo."
        assert methods(standing, EXTERNAL)[:4] == [*OPENING, "tools/list", "tools/call"]


TOOLS = {"tools": [{"name": "forecast", "inputSchema": {"type": "object"}}]}
LISTINGS: dict[str, tuple[Callable[[Any], Response], str | None]] = {
    "an event stream that ends without the answer": (
        lambda id: Response(": hello\n\n", media_type="text/event-stream"),
        "it ended its answer early",
    ),
    "an event stream whose events have ids and that ends without the answer": (
        lambda id: Response("id: 1\ndata:\n\n", media_type="text/event-stream"),
        "it ended its answer early",
    ),
    "an event with the answer to another request": (
        lambda id: Response(
            f"data: {json.dumps({'jsonrpc': '2.0', 'id': id + 100, 'result': TOOLS})}\n\n",
            media_type="text/event-stream",
        ),
        "its answer is not MCP",
    ),
    "the answer to another request": (
        lambda id: JSONResponse({"jsonrpc": "2.0", "id": id + 100, "result": TOOLS}),
        "its answer is not MCP",
    ),
    "an error of no request": (
        lambda id: JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "planted-secret"}}),
        "its answer is not MCP",
    ),
    "an event that is not JSON": (
        lambda id: Response("data: planted-secret\n\n", media_type="text/event-stream"),
        "its answer is not MCP",
    ),
    "an answer of another shape": (
        lambda id: JSONResponse({"jsonrpc": "2.0", "id": id, "result": {"tools": "planted-secret"}}),
        "its answer is not MCP",
    ),
    "a refusal in the protocol's words": (
        lambda id: JSONResponse({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "planted-secret"}}),
        "it refused to list them",
    ),
    "too large an answer": (
        lambda id: JSONResponse({"jsonrpc": "2.0", "id": id, "result": {"tools": [], "x": "y" * 5_000_000}}),
        "its answer is too large",
    ),
    "progress first, which nobody reads": (
        lambda id: Response(
            'data: {"jsonrpc": "2.0", "method": "notifications/odd", "params": "planted-secret"}\r\n\r\n'
            "event: message\r\n"
            f"data: {json.dumps({'jsonrpc': '2.0', 'id': id, 'result': TOOLS})}\r\n\r\n",
            media_type="text/event-stream",
        ),
        None,
    ),
}


@pytest.mark.parametrize("listing", LISTINGS)
async def test_an_answer_that_cannot_be_read_is_a_warning_and_stands_in_no_log(
    listing: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers, reason = LISTINGS[listing]
    with caplog.at_level(logging.INFO), on_loopback(Starlette(routes=[raw_route("/mcp", answers)])) as url:
        async with opened(McpServer.at(url + "/mcp", name="raw")) as source:
            began = time.monotonic()
            listed = await source.tools()
            # Long before the limit of a request.
            assert time.monotonic() - began < 20
    if reason is None:
        assert [tool.name for tool in listed.tools] == ["raw__forecast"]
    else:
        assert listed.warnings == [f"The tools of raw are not available now: {reason}."]
    assert "planted-secret" not in caplog.text


async def trickle() -> AsyncIterator[str]:
    while True:
        yield ": wait\n\n"
        await anyio.sleep(0.1)


OPENINGS: dict[str, tuple[Callable[[Any], Response], str]] = {
    "is refused by a server that speaks only newer versions": (
        # As the SDK's server of version 2.3 answers, where nothing but the method `initialize` names a version.
        lambda id: JSONResponse(
            {"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "planted-secret"}}, status_code=400
        ),
        "it refused to open a session (400), as a server does that speaks only versions of MCP from 2026 on; this "
        "service speaks those up to 2025-11-25",
    ),
    "ends after an event with an id": (
        lambda id: Response("id: 1\ndata:\n\n", media_type="text/event-stream"),
        "it ended its answer early",
    ),
    "never comes to its end": (
        lambda id: StreamingResponse(trickle(), media_type="text/event-stream"),
        "it did not answer in time",
    ),
    "answers another request": (
        lambda id: JSONResponse({"jsonrpc": "2.0", "id": "other", "result": {}}),
        "its answer is not MCP",
    ),
}


@pytest.mark.parametrize("fault", OPENINGS)
async def test_a_session_that_does_not_open_is_given_up_and_the_next_list_opens_another(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "1")
    opens, reason = OPENINGS[fault]
    asked: list[Any] = []

    def first_fails(id: Any) -> Response | None:
        asked.append(id)
        return opens(id) if len(asked) == 1 else None

    listing = raw_route(
        "/mcp", lambda id: JSONResponse({"jsonrpc": "2.0", "id": id, "result": TOOLS}), opening=first_fails
    )
    with on_loopback(Starlette(routes=[listing])) as url:
        async with opened(McpServer.at(url + "/mcp", name="raw"), pause_seconds=0.2) as source:
            assert (await source.tools()).warnings == [f"The tools of raw are not available now: {reason}."]
            await anyio.sleep(0.5)
            assert [tool.name for tool in (await source.tools()).tools] == ["raw__forecast"]
    assert len(asked) == 2


async def test_the_caller_of_the_service_reads_what_was_missing(standing: StandIn) -> None:
    standing.model.script = lambda body: says("It is blue.")
    standing.fail(FUNCTIONS, 500, times=9)
    async with service_here() as client:
        answer = await client.post("/invocations", json={"model": "everything", "input": "What colour?"})
    assert answer.status_code == 200
    assert answer.json()["custom_outputs"]["warnings"] == [
        "The tools of main.tools are not available now: it failed (500).",
        "The function main.shop.price is not available now: the function does not exist, or the app's service "
        "principal may not see it: check its name (404).",
    ]


async def test_a_cookie_goes_back_in_the_session_it_was_set_in_and_in_no_other(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    seen: list[tuple[str, str | None]] = []

    def listing(id: Any) -> Response:
        return JSONResponse(
            {"jsonrpc": "2.0", "id": id, "result": TOOLS}, headers={"set-cookie": f"who={len(seen)}; path=/"}
        )

    inner = Starlette(routes=[raw_route("/mcp/", listing)])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            seen.append((headers["authorization"], headers.get("cookie")))
        await inner(scope, receive, send)

    # Without the slash at the end each request is answered with a redirect first.
    with on_loopback(app) as url:
        async with opened(McpServer.at(url + "/mcp", name="raw", acting_as="user"), list_seconds=0) as source:
            for user in (USERS[0], USERS[1], USERS[0]):
                with with_user_token(UserToken(standing.user(user))):
                    assert len((await source.tools()).tools) == 1
    first, second = (f"Bearer {standing.user(user)}" for user in USERS[:2])
    assert [one for one in seen if one[1]] == [(first, "who=6")]
    assert {token for token, _ in seen} == {first, second}


async def test_a_dead_or_missing_workspace_is_a_warning_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "1")
    async with opened(McpServer.functions("main.tools")) as source:
        (warning,) = (await source.tools()).warnings
        assert warning.startswith("The tools of main.tools are not available now: the Databricks workspace cannot")
        assert "check DATABRICKS_HOST" in warning
    with dead_host() as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        monkeypatch.setenv("DATABRICKS_TOKEN", "t")
        async with opened(McpServer.functions("main.tools")) as source, stalls() as stalled:
            began = time.monotonic()
            listed = await source.tools()
            # The clients' own retries would take minutes.
            assert time.monotonic() - began < 30
        assert listed.warnings == ["The tools of main.tools are not available now: it did not answer in time."]
        assert stalled.worst < 0.1
