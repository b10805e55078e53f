"""The MCP servers of the client: only those of the operator's list, listed before the graph runs, called by the graph.

The server is one of the official SDK, and the client is OpenAI's, both over real sockets.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import openai
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from tests.serving.approving import answer
from tests.serving.conftest import Service, serving
from tests.serving.describing import flaws
from tests.serving.talking import talking as socket
from tests.standin.mcp import Waiting, raw_route

from graph_agent import (
    AgentContext,
    AgentState,
    ClientToolsMiddleware,
    Settings,
    make_planner,
    make_tools,
    requested_nodes,
)
from graph_agent.errors import BadSetting
from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import OPENAI
from graph_agent.protocol.requests import parse_request
from graph_agent.protocol.wire_schemas import event
from graph_agent.runs.request import RunRequest
from graph_agent.runs.run import head_of
from graph_agent.runs.stored_requests import dump_request, load_request
from graph_agent.testing import Call, ModelRequest, ScriptedChatModel, Wait, on_loopback

pytestmark = pytest.mark.anyio

TOKEN = "hush-4f1d9c27b8e6"
KEY = "quiet-77aa01c3de"

ADD = Call("calc__add", {"a": 2, "b": 3}, id="c1")
WIPE = Call("calc__wipe", {"what": "disk"}, id="c2")
LEAK = Call("calc__leak", {}, id="c3")


class Shop:
    """An MCP server that records what reaches it."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.done: list[str] = []
        server = FastMCP("shop", log_level="CRITICAL")

        @server.tool(annotations=types.ToolAnnotations(readOnlyHint=True))
        def add(a: int, b: int) -> str:
            """Add two numbers."""
            self.done.append(f"add {a} {b}")
            return str(a + b)

        @server.tool()
        def wipe(what: str) -> str:
            """Wipe something."""
            self.done.append(f"wipe {what}")
            return f"wiped {what}"

        @server.tool()
        def leak(context: Context[Any, Any, Any]) -> str:
            """Say what was sent."""
            request: Any = context.request_context.request
            return f"you sent {request.headers['authorization']} and {request.headers['x-key']}"

        self._app = server.streamable_http_app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Shop, str]]:
    shop = Shop()
    with on_loopback(shop) as url:
        yield shop, f"{url}/mcp"


@pytest.fixture
def shop(running: tuple[Shop, str]) -> Shop:
    running[0].headers.clear()
    running[0].done.clear()
    return running[0]


@pytest.fixture
def url(running: tuple[Shop, str]) -> str:
    return running[1]


def planner(model: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    builder.add_node("tools", make_tools([]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
    builder.add_edge("tools", "planner")
    return builder.compile()


def agent(model: Any) -> Any:
    return create_agent(model, [], middleware=[ClientToolsMiddleware()])


def alone(model: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    builder.add_edge(START, "planner")
    builder.add_edge("planner", END)
    return builder.compile()


GRAPHS = pytest.mark.parametrize("make", [planner, agent])


class Talk:
    def __init__(self, service: Service, model: ScriptedChatModel) -> None:
        self.service, self.model = service, model
        self.client = OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)

    def ask(self, tools: Sequence[Any], content: Any = "Go.", **fields: Any) -> Any:
        return self.client.responses.create(model="a", input=content, tools=list(tools), **fields)

    def refused(self, tools: Sequence[Any], **fields: Any) -> tuple[str | None, str]:
        with pytest.raises(openai.BadRequestError) as caught:
            self.ask(tools, **fields)
        return caught.value.param, caught.value.message

    @property
    def prompt(self) -> ModelRequest:
        return self.model.requests[-1]


@contextmanager
def talking(*replies: Any, servers: str, make: Callable[[Any], Any] = planner, **settings: Any) -> Iterator[Talk]:
    model = ScriptedChatModel(*(replies or ["Hm."]))
    # The first run imports the SDK, which takes seconds on a busy machine.
    values = {"max_seconds": 60.0, "client_mcp_servers": servers} | settings
    with serving(graphs={"a": make(model)}, **values) as service:
        talk = Talk(service, model)
        try:
            yield talk
        finally:
            talk.client.close()


def calc(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "calc", "server_url": url, "require_approval": "never"} | fields


def outputs(response: Any) -> list[Any]:
    return [(item.name, item.output, item.error) for item in response.output if item.type == "mcp_call"]


@GRAPHS
def test_the_graph_lists_and_calls_the_tools_of_a_server_that_the_client_names(
    shop: Shop, url: str, make: Callable[[Any], Any]
) -> None:
    with talking([ADD], ["Five."], servers=url, make=make) as talk:
        response = talk.ask([calc(url, authorization=TOKEN, headers={"X-Key": KEY})])
    assert [item.type for item in response.output] == ["mcp_list_tools", "mcp_call", "message"]
    listed, call, _ = response.output
    assert (listed.server_label, [tool.name for tool in listed.tools]) == ("calc", ["add", "wipe", "leak"])
    assert listed.tools[0].annotations == {"readOnlyHint": True}
    assert (call.server_label, call.name, call.arguments, call.output) == ("calc", "add", '{"a": 2, "b": 3}', "5")
    assert response.output_text == "Five."
    assert shop.done == ["add 2 3"]
    assert {one["authorization"] for one in shop.headers} == {f"Bearer {TOKEN}"}
    assert {one["x-key"] for one in shop.headers} == {KEY}


def test_the_events_tell_the_list_and_the_call_in_their_order(shop: Shop, url: str) -> None:
    with talking([ADD], ["Five."], servers=url) as talk:
        events = [one.to_dict() for one in talk.ask([calc(url)], stream=True)]
    assert [flaws(event(OPENAI), one) for one in events] == [[]] * len(events)
    told = [str(one["type"]).removeprefix("response.") for one in events]
    assert told[: told.index("mcp_call.completed") + 2] == [
        "created",
        "in_progress",
        "output_item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "output_item.done",
        "output_item.added",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
        "output_item.done",
    ]
    assert told[-1] == "completed"


@GRAPHS
def test_a_call_waits_for_a_person_unless_the_request_says_otherwise(
    shop: Shop, url: str, make: Callable[[Any], Any]
) -> None:
    asking = calc(url, require_approval=None, authorization=TOKEN)
    with talking([WIPE], ["Wiped."], servers=url, make=make) as talk:
        first = talk.ask([asking])
        (request,) = [item for item in first.output if item.type == "mcp_approval_request"]
        assert (request.server_label, request.name) == ("calc", "wipe")
        assert shop.done == []
        answered = [answer(request.id)]
        second = talk.ask([asking], answered, previous_response_id=first.id)
    assert shop.done == ["wipe disk"]
    (call,) = [item for item in second.output if item.type == "mcp_call"]
    assert (call.server_label, call.name, call.output) == ("calc", "wipe", "wiped disk")
    assert call.approval_request_id == request.id
    assert second.output_text == "Wiped."


def test_an_object_says_which_tools_ask_and_which_do_not(shop: Shop, url: str) -> None:
    filters = {"never": {"read_only": True}, "always": {"tool_names": ["wipe"]}}
    with talking([ADD, WIPE], ["Done."], servers=url) as talk:
        first = talk.ask([calc(url, require_approval=filters)])
        asked = [item.name for item in first.output if item.type == "mcp_approval_request"]
    assert asked == ["wipe"]


def test_a_decision_counts_although_the_next_request_says_that_nothing_asks(shop: Shop, url: str) -> None:
    with talking([WIPE], ["Left."], servers=url) as talk:
        first = talk.ask([calc(url, require_approval="always")])
        no = answer(first.output[-1].id, approve=False)
        second = talk.ask([calc(url)], [no], previous_response_id=first.id)
    assert shop.done == []
    assert second.output_text == "Left."


@GRAPHS
def test_an_approval_stays_open_until_its_server_comes_with_it(
    shop: Shop, url: str, make: Callable[[Any], Any]
) -> None:
    """A decision is not about another server with the same label, and no call is made without a server."""
    other = url.replace("127.0.0.1", "localhost")
    asking = calc(url, require_approval="always", authorization=TOKEN)
    with talking([WIPE], ["Wiped."], servers=f"{url},{other}", make=make) as talk:
        first = talk.ask([asking])
        yes = {"content": [answer(first.output[-1].id)], "previous_response_id": first.id}
        for background in (False, True):
            param, message = talk.refused([], **yes, background=background)
            assert (param, "`tools` lacks the server calc" in message) == ("tools", True)
            param, message = talk.refused([calc(other)], **yes, background=background)
            assert (param, "`tools` has calc at another address" in message) == ("tools", True)
            assert url not in message
        assert shop.done == []
        second = talk.ask([asking], **yes)
    assert outputs(second) == [("wipe", "wiped disk", None)]
    assert second.output_text == "Wiped."


def test_the_address_of_a_server_is_that_of_the_response_that_asked_also_after_a_part_of_the_decisions(
    shop: Shop, url: str
) -> None:
    other = url.replace("127.0.0.1", "localhost")
    asking = calc(url, require_approval="always")
    calls = [Call("calc__wipe", {"what": what}) for what in ("disk", "tape")]
    with talking(calls, ["Wiped."], servers=f"{url},{other}") as talk:
        first = talk.ask([asking])
        one, two = (item.id for item in first.output if item.type == "mcp_approval_request")
        second = talk.ask([], [answer(one)], previous_response_id=first.id)
        yes = {"content": [answer(two)], "previous_response_id": second.id}
        param, message = talk.refused([calc(other)], **yes)
        assert (param, "`tools` has calc at another address" in message) == ("tools", True)
        third = talk.ask([asking], **yes)
    assert sorted(outputs(third)) == [("wipe", "wiped disk", None), ("wipe", "wiped tape", None)]


def test_a_rejection_needs_no_server(shop: Shop, url: str) -> None:
    with talking([WIPE], ["Left."], servers=url) as talk:
        first = talk.ask([calc(url, require_approval="always")])
        no = answer(first.output[-1].id, approve=False)
        second = talk.ask([], [no], previous_response_id=first.id)
    assert (shop.done, second.output_text) == ([], "Left.")


def lists(response: Any) -> list[tuple[str, list[str]]]:
    return [
        (item.server_label, [tool.name for tool in item.tools])
        for item in response.output
        if item.type == "mcp_list_tools"
    ]


def test_a_list_is_in_one_response_of_a_conversation_and_its_tools_are_in_all(shop: Shop, url: str) -> None:
    with talking(["One."], ["Two."], [ADD], ["Five."], ["Six."], servers=url) as talk:
        first = talk.ask([calc(url)])
        second = talk.ask([calc(url)], previous_response_id=first.id)
        third = talk.ask([calc(url)], previous_response_id=second.id)
        fourth = talk.ask([calc(url, allowed_tools=["add"])], previous_response_id=third.id)
        offered = [one["function"]["name"] for one in talk.prompt.tools]
    assert [lists(one) for one in (first, second, third)] == [[("calc", ["add", "wipe", "leak"])], [], []]
    assert outputs(third) == [("add", "5", None)]
    # Other tools are another list.
    assert lists(fourth) == [("calc", ["add"])]
    assert offered == ["calc__add"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_list_that_the_client_sends_again_is_not_told_twice_and_widens_nothing(
    shop: Shop, url: str, stored: bool
) -> None:
    with talking(["One."], [WIPE, ADD], ["Done."], servers=url) as talk:
        first = talk.ask([calc(url)], store=stored)
        history = [one.to_dict() for one in first.output]
        # Whatever it says, it is the client's word.
        history[0]["tools"].append({"name": "drop", "input_schema": {"type": "object"}, "description": "Drop."})
        again = [{"role": "user", "content": "Go."}, *history, {"role": "user", "content": "On."}]
        second = talk.ask([calc(url, allowed_tools=["add"])], again, store=stored)
        offered = [one["function"]["name"] for one in talk.prompt.tools]
    assert lists(second) == []
    assert offered == ["calc__add"]
    assert shop.done == ["add 2 3"]


def test_a_response_that_goes_on_with_what_was_said_meanwhile_has_no_second_list(shop: Shop, url: str) -> None:
    go_on, reached = threading.Event(), threading.Event()
    with talking(["One.", Wait(go_on, reached)], [ADD], ["Five."], servers=url) as talk:
        address = f"{talk.service.url}/v1/responses"
        stream = talk.ask([calc(url)], stream=True, store=True)
        response = next(iter(stream)).response
        assert reached.wait(30)
        assert httpx.post(f"{address}/{response.id}/steer", json={"input": "And?"}).status_code == 202
        go_on.set()
        steered = [one for one in stream][-1].response
        followed = httpx.get(f"{address}/{steered.metadata['successor_id']}?stream=true", timeout=30).text
        successor = talk.client.responses.retrieve(steered.metadata["successor_id"])
    assert lists(steered) == [("calc", ["add", "wipe", "leak"])]
    assert "mcp_list_tools" not in followed
    assert outputs(successor) == [("add", "5", None)]


def test_a_list_is_not_told_once_more_after_requests_without_the_server(shop: Shop, url: str) -> None:
    """A decision of several, a rejection and a message need no server. The history has its list all the same."""
    asking = calc(url, require_approval="always")
    calls = [Call("calc__wipe", {"what": what}) for what in ("disk", "tape")]
    with talking(calls, ["Wiped."], ["Yes?"], ["Again."], ["Other."], servers=url) as talk:
        first = talk.ask([asking])
        one, two = (item.id for item in first.output if item.type == "mcp_approval_request")
        second = talk.ask([], [answer(one)], previous_response_id=first.id)
        third = talk.ask([asking], [answer(two)], previous_response_id=second.id)
        fourth = talk.ask([], previous_response_id=third.id)
        fifth = talk.ask([asking], previous_response_id=fourth.id)
        sixth = talk.ask([calc(url, allowed_tools=["add"])], previous_response_id=fifth.id)
    assert lists(first) == [("calc", ["add", "wipe", "leak"])]
    assert [lists(response) for response in (second, third, fourth, fifth)] == [[], [], [], []]
    # Other tools are another list.
    assert lists(sixth) == [("calc", ["add"])]


def test_a_list_that_failed_is_told_again(shop: Shop, url: str) -> None:
    gone = f"{url}/gone"
    with talking(["One."], ["Two."], ["Three."], servers=f"{url},{gone}") as talk:
        first = talk.ask([calc(gone)])
        second = talk.ask([calc(gone)], previous_response_id=first.id)
        both = [calc(url), calc(gone, server_label="other")]
        third = talk.ask(both, previous_response_id=second.id)
    assert [lists(one) for one in (first, second)] == [[("calc", [])]] * 2
    assert all(one.output[0].error for one in (first, second))
    assert lists(third) == [("calc", ["add", "wipe", "leak"]), ("other", [])]


def own_wipe(done: list[str], make: str, model: Any) -> Any:
    """A graph with a tool of its own that asks first, and whose name a server of the client may take."""

    @tool("calc__wipe")
    def wipe(what: str) -> str:
        """Wipe something here."""
        done.append(what)
        return "wiped here"

    if make == "agent":
        asks = HumanInTheLoopMiddleware(interrupt_on={"calc__wipe": True})
        return create_agent(model, [wipe], middleware=[ClientToolsMiddleware(), asks])
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[wipe], prompt="Help."))
    builder.add_node("tools", make_tools([wipe], approve=["calc__wipe"]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
    builder.add_edge("tools", END)
    return builder.compile()


@pytest.mark.parametrize("make", ["planner", "agent"])
def test_a_call_of_a_tool_of_the_graph_stays_the_graphs_although_a_server_has_one_of_that_name(
    shop: Shop, url: str, make: str
) -> None:
    done: list[str] = []
    with talking([WIPE], ["Done."], servers=url, make=lambda model: own_wipe(done, make, model)) as talk:
        first = talk.ask([])
        body = {"model": "a", "input": [answer(first.output[-1].id)], "tools": [calc(url)]}
        httpx.post(f"{talk.service.url}/v1/responses", json=body | {"previous_response_id": first.id})
    assert (done, shop.done) == (["disk"], [])


def test_a_call_is_answered_after_the_process_that_asked_is_gone(shop: Shop, url: str, tmp_path: Any) -> None:
    store = f"sqlite:{tmp_path / 'store.db'}"
    asking = calc(url, require_approval="always", authorization=TOKEN)
    with talking([WIPE], servers=url, store=store) as talk:
        first = talk.ask([asking])
    shop.headers.clear()
    with talking(["Wiped."], servers=url, store=store) as talk:
        second = talk.ask([asking], [answer(first.output[-1].id)], previous_response_id=first.id)
    assert outputs(second) == [("wipe", "wiped disk", None)]
    assert second.output_text == "Wiped."
    assert {one["authorization"] for one in shop.headers} == {f"Bearer {TOKEN}"}


def test_the_client_may_narrow_the_tools_of_a_server(shop: Shop, url: str) -> None:
    def offered(**fields: Any) -> list[str]:
        with talking(["Hm."], servers=url) as talk:
            choice = fields.pop("tool_choice", "auto")
            response = talk.ask([calc(url, **fields)], tool_choice=choice)
            named = [tool.name for item in response.output if item.type == "mcp_list_tools" for tool in item.tools]
            assert [f"calc__{name}" for name in named] == [tool["function"]["name"] for tool in talk.prompt.tools]
        return named

    assert offered(allowed_tools=["wipe"]) == ["wipe"]
    assert offered(allowed_tools={"read_only": True}) == ["add"]
    assert offered(allowed_tools={"tool_names": ["add", "wipe"], "read_only": False}) == ["wipe"]
    server = {"type": "mcp", "server_label": "calc"}
    assert offered(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{**server, "name": "add"}]}) == [
        "add"
    ]
    assert offered(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [server]}) == ["add", "wipe", "leak"]
    assert offered(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": []}) == []


def test_the_model_must_first_call_the_tool_that_the_client_demands(shop: Shop, url: str) -> None:
    demanded = {"type": "mcp", "server_label": "calc", "name": "add"}
    with talking([ADD], ["Five."], servers=url) as talk:
        talk.ask([calc(url)], tool_choice=demanded)
        assert [one.options.get("tool_choice") for one in talk.model.requests] == ["calc__add", None]
        with pytest.raises(openai.APIError) as caught:
            talk.ask([calc(url)], tool_choice={**demanded, "name": "sing"})
        assert "`tool_choice.name` is not the name of a tool that calc offers" in caught.value.message


# -- credentials ----------------------------------------------------------------------------------------------------


def test_credentials_are_nowhere_although_the_server_repeats_them(shop: Shop, url: str, tmp_path: Any) -> None:
    store = tmp_path / "store.db"
    secret = calc(url, authorization=TOKEN, headers={"X-Key": KEY})
    with talking([LEAK], ["You sent something."], servers=url, store=f"sqlite:{store}") as talk:
        events = [event.model_dump_json(exclude_unset=True) for event in talk.ask([secret], stream=True)]
        heard = "".join(str(message.content) for message in talk.prompt.messages)
        log = "\n".join(map(str, talk.service.log))
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert "you sent" in heard
    for text in (*events, heard, log):
        assert TOKEN not in text
        assert KEY not in text
    assert TOKEN.encode() not in kept
    assert KEY.encode() not in kept
    tools = json.loads(events[-1])["response"]["tools"]
    assert tools == [calc(url)]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"headers": {"Host": "x"}}, "tools[0].headers", "must not have Host"),
        ({"headers": {"Content-Length": "9"}}, "tools[0].headers", "must not have Content-Length"),
        ({"headers": {"Mcp-Session-Id": "9"}}, "tools[0].headers", "must not have Mcp-Session-Id"),
        ({"headers": {"a b": "9"}}, "tools[0].headers", "not the name of a header"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "tools[0].headers.X-A", "printable ASCII"),
        ({"headers": {"X-A": 1}}, "tools[0].headers.X-A", "must be a string"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "tools[0].headers", "twice"),
        ({"headers": {f"X-{n}": "1" for n in range(33)}}, "tools[0].headers", "more than 32 entries"),
        ({"headers": {"X-A": "1" * 17_000}}, "tools[0].headers", "more than 16384 characters"),
        ({"headers": {"Authorization": "a"}, "authorization": "b"}, "tools[0].authorization", "exclude each other"),
        ({"connector_id": "connector_gmail", "server_url": None}, "tools[0].connector_id", "is not supported"),
        ({"server_url": None}, "tools[0].server_url", "is missing"),
        ({"server_url": "https://elsewhere.example.com/mcp"}, "tools[0].server_url", "not one of the servers"),
        ({"server_label": "my calc"}, "tools[0].server_label", "at most 48 letters"),
        ({"server_label": "a"}, "tools[0].server_label", "is the name of a graph"),
        ({"require_approval": "sometimes"}, "tools[0].require_approval", "must be 'always', 'never'"),
        ({"require_approval": {}}, "tools[0].require_approval", "needs 'always' or 'never'"),
        ({"require_approval": {"never": {}}}, "tools[0].require_approval.never", "needs 'tool_names' or 'read_only'"),
        ({"allowed_tools": "add"}, "tools[0].allowed_tools", "must be an array of names"),
        ({"allowed_tools": [1]}, "tools[0].allowed_tools[0]", "must be a string"),
        ({"allowed_callers": ["programmatic"]}, "tools[0].allowed_callers", "must have 'direct'"),
    ],
)
def test_what_cannot_be_used_of_a_server_is_named(
    told: Talk, shop: Shop, url: str, fields: dict[str, Any], param: str, words: str
) -> None:
    assert_refused(told, [calc(url, **fields)], param, words)
    assert shop.headers == []


@pytest.fixture(scope="module")
def told(running: tuple[Shop, str]) -> Iterator[Talk]:
    """A service of which every request is refused."""
    with talking(servers=running[1]) as talk:
        yield talk


@pytest.mark.parametrize(
    "disguise",
    [
        "http://user:pass@{host}:{port}/mcp",
        "http://{host}@{host}:{port}/mcp",
        "http://{host}.:{port}/mcp",
        "http://localhost.:{port}/mcp",
        "http://{host}:{port}//mcp",
        "http://{host}:{port}/mcp/",
        "http://{host}:{port}/MCP",
        "http://{host}:{port}/%6dcp",
        "http://{host}:{port}/x/../mcp",
        "http://{host}:{port}/x/%2E%2e/mcp",
        "http://{host}:{port}/mcp?x=1",
        "http://{host}:{port}/mcp#x",
        "http://{host}:{port}\\mcp",
        "http:/{host}:{port}/mcp",
        "https://{host}:{port}/mcp",
        "http://{host}/mcp",
        "http://{host}:0/mcp",
        "http://{host}:99999/mcp",
        "http://[::1]:{port}/mcp",
        "http://[::ffff:{host}]:{port}/mcp",
        "http://[::1%25lo]:{port}/mcp",
        "http://127.1:{port}/mcp",
        "http://2130706433:{port}/mcp",
        "http://0x7f.0.0.1:{port}/mcp",
        "http://0177.0.0.1:{port}/mcp",
        "http://{host}:{port}/mcp\n",
        " http://{host}:{port}/mcp",
        "http://\uff11\uff12\uff17.0.0.1:{port}/mcp",
    ],
)
def test_an_address_in_another_form_is_not_on_the_list(told: Talk, shop: Shop, url: str, disguise: str) -> None:
    parts = httpx.URL(url)
    other = disguise.format(host=parts.host, port=parts.port)
    assert_refused(told, [calc(other)], "tools[0].server_url", "not one of the servers")
    assert shop.headers == []


def assert_refused(talk: Talk, tools: Sequence[Any], param: str, words: str, **fields: Any) -> None:
    found, message = talk.refused(tools, **fields)
    assert found == param
    assert words in message


def test_credentials_and_servers_have_limits_beside_each_other(told: Talk, shop: Shop, url: str) -> None:
    assert_refused(told, [calc(url), calc(url)], "tools[1].server_label", "is that of another tool")
    many = [calc(url, server_label=f"s{n}") for n in range(9)]
    assert_refused(told, many, "tools", "more than 8 MCP servers")
    assert_refused(told, [calc(url, authorization=TOKEN)], "tools", "never stored", background=True)
    unknown = {"type": "mcp", "server_label": "other"}
    assert_refused(told, [calc(url)], "tool_choice.server_label", "is not the `server_label`", tool_choice=unknown)
    assert shop.headers == []


def test_without_a_list_of_the_operator_no_server_is_used(shop: Shop, url: str) -> None:
    with talking(servers="") as talk:
        assert_refused(talk, [calc(url)], "tools[0].server_label", "GRAPH_AGENT_CLIENT_MCP_SERVERS")
    assert shop.headers == []


def test_a_graph_that_does_not_run_such_tools_says_so(shop: Shop, url: str) -> None:
    with talking(servers=url, make=alone) as talk:
        assert_refused(talk, [calc(url)], "tools", "this graph does not run")
    assert shop.headers == []


# -- servers that are not as they should be -------------------------------------------------------------------------


def named(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"name": f"t{n}", "inputSchema": {"type": "object"}} | fields for n in range(count)]


def doubling(levels: int) -> dict[str, Any]:
    """A small schema that is huge once its references are followed."""
    defs: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "xy"}}
        for n in range(levels)
    }
    defs[f"d{levels}"] = {"type": "string"}
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": defs}


ODD: Mapping[str, Sequence[Any]] = {
    "/many": named(250, description="d" * 2_000),
    "/doubling": [{"name": "boom", "inputSchema": doubling(40)}, {"name": "fine", "inputSchema": {"type": "object"}}],
    "/names": [*named(1), {"name": "x" * 200, "inputSchema": {}}, {"name": "a\nb", "inputSchema": {}}, {"name": 1}],
    "/inner": [{"name": "x__t0", "inputSchema": {"type": "object"}}],
    "/echo": named(1, description=f"Send {TOKEN} along.", inputSchema={"type": "object", "title": TOKEN}),
}


def odd_servers() -> Starlette:
    def listing(tools: Sequence[Any]) -> Callable[[Any], Response]:
        return lambda id: JSONResponse({"jsonrpc": "2.0", "id": id, "result": {"tools": tools}})

    async def refuse(request: Request) -> Response:
        return JSONResponse({"error": f"bad token {request.headers.get('authorization')}"}, 401)

    def error(id: Any) -> Response:
        return JSONResponse({"jsonrpc": "2.0", "id": id, "error": {"code": 1, "message": f"no {TOKEN}"}})

    async def move(request: Request) -> Response:
        return RedirectResponse("/many", 307)

    async def slash(request: Request) -> Response:
        return RedirectResponse("/slash/", 307)

    async def user(request: Request) -> Response:
        return RedirectResponse(f"http://user:{TOKEN}@{request.url.netloc}/many", 307)

    others = {"/refuse": refuse, "/move": move, "/slash": slash, "/user": user}
    return Starlette(
        routes=[
            *(raw_route(path, listing(tools)) for path, tools in ODD.items()),
            raw_route("/error", error),
            raw_route("/slash/", listing(named(1))),
            *(Route(path, one, methods=["POST"]) for path, one in others.items()),
        ]
    )


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    with on_loopback(odd_servers()) as url:
        yield url


def listed_at(odd: str, path: str, *, more: Sequence[str] = (), **fields: Any) -> tuple[Any, Talk]:
    allowed = [f"{odd}{path}", *(f"{odd}{one}" for one in more)]
    with talking(["Hm."], servers=",".join(allowed)) as talk:
        response = talk.ask([calc(f"{odd}{path}", authorization=TOKEN, **fields)])
    assert response.output_text == "Hm."
    return response, talk


def test_a_long_list_is_cut_and_says_so(odd: str) -> None:
    response, talk = listed_at(odd, "/many")
    count = len(response.output[0].tools)
    assert 40 < count < 70
    assert len(talk.prompt.tools) == count
    (warning,) = response.custom_outputs["warnings"]
    assert warning == f"The tools of calc are too many or too large: {250 - count} of them were left out."


def test_a_schema_that_grows_without_end_and_a_hostile_name_are_left_out(odd: str) -> None:
    response, _ = listed_at(odd, "/doubling")
    assert [tool.name for tool in response.output[0].tools] == ["fine"]
    response, _ = listed_at(odd, "/names")
    assert [tool.name for tool in response.output[0].tools] == ["t0"]


def test_a_credential_in_a_description_reaches_neither_the_model_nor_the_client(odd: str) -> None:
    response, talk = listed_at(odd, "/echo")
    assert "along" in response.output[0].tools[0].description
    assert TOKEN not in response.model_dump_json()
    assert TOKEN not in json.dumps(talk.prompt.tools)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/refuse", "it did not accept the credentials of the request (401)"),
        ("/error", "it refused to list them"),
        ("/move", "it redirects (307) to an address that is not on the operator's list"),
        ("/gone", "there is no such server (404)"),
    ],
)
def test_a_server_without_a_list_is_an_item_with_an_error_of_ours(odd: str, path: str, why: str) -> None:
    response, talk = listed_at(odd, path)
    assert response.output[0].type == "mcp_list_tools"
    assert response.output[0].tools == []
    assert response.output[0].error == f"The tools of calc could not be listed: {why}."
    assert TOKEN not in response.model_dump_json()
    # The model knows why it has no tools.
    assert why in talk.prompt.messages[0].text


def test_a_redirect_that_adds_a_user_is_not_followed(odd: str) -> None:
    response, _ = listed_at(odd, "/user", more=["/many"])
    assert "it redirects (307) to an address that is not on the operator's list" in response.output[0].error


def test_two_tools_of_one_name_are_one_and_a_warning(odd: str) -> None:
    servers = [calc(f"{odd}/inner", server_label="s"), calc(f"{odd}/slash/", server_label="s__x")]
    with talking(["Hm."], servers=f"{odd}/inner,{odd}/slash/") as talk:
        response = talk.ask(servers)
    assert [one["function"]["name"] for one in talk.prompt.tools] == ["s__x__t0"]
    (warning,) = response.custom_outputs["warnings"]
    assert warning == "One of two tools named s__x__t0 was left out: give its server another label."


def test_a_redirect_is_followed_to_another_address_on_the_list(odd: str) -> None:
    response, _ = listed_at(odd, "/slash", more=["/slash/"])
    assert [tool.name for tool in response.output[0].tools] == ["t0"]


# -- other addresses ------------------------------------------------------------------------------------------------


def test_databricks_clients_get_the_call_and_its_output_and_a_warning_for_a_missing_list(
    shop: Shop, url: str, odd: str
) -> None:
    with talking([ADD], ["Five."], servers=f"{url},{odd}/refuse") as talk:
        missing = calc(f"{odd}/refuse", server_label="gone")
        body = {"model": "a", "input": "Go.", "tools": [calc(url), missing]}
        response = httpx.post(f"{talk.service.url}/responses", json=body).json()
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["function_call", "function_call_output", "message"]
    assert (response["output"][0]["name"], response["output"][1]["output"]) == ("calc__add", "5")
    (warning,) = response["custom_outputs"]["warnings"]
    assert warning.startswith("The tools of gone could not be listed: it requires credentials (401)")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "/v1/chat/completions",
            {"model": "a", "messages": [{"role": "user", "content": "Go."}]},
            "`tools[0]` names an MCP server",
        ),
        (
            "/ag-ui",
            {"threadId": "t", "runId": "r", "messages": [{"id": "1", "role": "user", "content": "Go."}]},
            "`tools[0]` names an MCP server",
        ),
        (
            "/api/invocations",
            {"id": "0b5f5a1e-0e0b-4a52-9d3c-0d2d5b7c9a11", "input": [{"role": "user", "content": "Go."}]},
            "`tools`",
        ),
    ],
)
def test_other_addresses_take_no_servers_and_say_so(
    told: Talk, shop: Shop, url: str, path: str, body: dict[str, Any], words: str
) -> None:
    response = httpx.post(f"{told.service.url}{path}", json=body | {"tools": [calc(url, name="calc")]})
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]
    assert shop.headers == []


async def test_a_call_asks_and_is_answered_over_a_websocket_that_stores_nothing(shop: Shop, url: str) -> None:
    with talking([WIPE], ["Wiped."], servers=url) as talk:
        async with socket(talk.service) as spoken:
            tools = [calc(url, require_approval="always", authorization=TOKEN)]
            first = await spoken.ask(input="Go.", tools=tools, store=False)
            given = [answer(first["output"][-1]["id"])]
            asked = {"previous_response_id": first["id"], "tools": tools, "store": False}
            messages = await spoken.turn(input=given, **asked)
    (call,) = [item for item in messages[-1]["response"]["output"] if item["type"] == "mcp_call"]
    assert (call["server_label"], call["name"], call["output"]) == ("calc", "wipe", "wiped disk")
    assert [flaws(event(OPENAI), one) for one in messages] == [[]] * len(messages)
    assert {one["authorization"] for one in shop.headers} == {f"Bearer {TOKEN}"}


def test_a_call_of_the_client_and_one_of_its_server_stand_in_one_turn(shop: Shop, url: str) -> None:
    weather = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    both = [Call("weather", {}, id="c4"), ADD]
    with talking(both, ["Rain, and five."], servers=url) as talk:
        first = talk.ask([weather, calc(url)])
        kinds = [item.type for item in first.output]
        assert kinds == ["mcp_list_tools", "function_call", "mcp_call"]
        result = {"type": "function_call_output", "call_id": "c4", "output": "rain"}
        second = talk.ask([weather, calc(url)], [result], previous_response_id=first.id)
    assert second.output_text == "Rain, and five."
    assert shop.done == ["add 2 3"]


@pytest.mark.parametrize("store", [False, True])
def test_a_resent_history_with_lists_and_calls_goes_on(shop: Shop, url: str, store: bool) -> None:
    with talking([ADD], ["Five."], ["Still five."], servers=url) as talk:
        first = talk.ask([calc(url)], store=False)
        history = [{"role": "user", "content": "Go."}, *(item.to_dict() for item in first.output)]
        second = talk.ask([calc(url)], [*history, {"role": "user", "content": "Sure?"}], store=store)
    assert second.output_text == "Still five."
    (call,) = [one for message in talk.prompt.messages for one in getattr(message, "tool_calls", [])]
    (result,) = [message for message in talk.prompt.messages if message.type == "tool"]
    # As the model knows the tool now.
    assert (call["name"], result.name) == ("calc__add", "calc__add")
    assert shop.done == ["add 2 3"]


def test_a_server_that_does_not_answer_is_left_after_its_time() -> None:
    with on_loopback(silent) as url, talking(["Hm."], servers=url, request_seconds=0.2) as talk:
        response = talk.ask([calc(url)])
    assert response.output[0].error == "The tools of calc could not be listed: it did not answer in time."
    assert response.output_text == "Hm."


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing until the client has left."""
    while scope["type"] == "http" and (await receive())["type"] != "http.disconnect":
        pass


def test_a_call_ends_with_its_run() -> None:
    waiting = Waiting(streams=True)
    call = Call("calc__wait", {"end": False}, id="c5")
    with on_loopback(Starlette(routes=[waiting.route("/mcp")])) as url, talking([call], servers=f"{url}/mcp") as talk:
        stream = talk.ask([calc(f"{url}/mcp")], stream=True, store=False)
        next(one for one in stream if one.type == "response.mcp_call_arguments.done")
        while not waiting.asked:
            time.sleep(0.01)
        stream.close()
        while not waiting.left:
            time.sleep(0.01)
    assert waiting.left == waiting.asked


def test_an_operator_may_let_graphs_that_run_no_such_tools_ignore_them(shop: Shop, url: str) -> None:
    with talking(["Hm."], servers=url, make=alone, client_tools="ignore") as talk:
        response = talk.ask([calc(url)])
    assert response.output_text == "Hm."
    assert response.custom_outputs["warnings"] == ["`tools` was left out, because this graph runs only its own: calc."]
    assert shop.headers == []


def test_a_stored_request_has_no_credentials(url: str) -> None:
    body = json.dumps({"input": "Go.", "tools": [calc(url, authorization=TOKEN, headers={"X-Key": KEY})]})
    invocation = parse_request(body.encode(), graphs=["a"], stores=True, servers=[url])
    assert invocation.server_headers == {"calc": {"authorization": f"Bearer {TOKEN}", "x-key": KEY}}
    request = RunRequest(invocation=invocation, dialect=OPENAI, owner=Caller("ann"), accepted_at=1.0)
    text = anyio.run(dump_request, request, head_of(request, "a"))
    loaded, _ = anyio.run(load_request, text)
    assert loaded.invocation.servers == invocation.servers
    assert loaded.invocation.server_headers == {}
    for secret in (TOKEN, KEY):
        assert secret not in text
        assert secret not in repr(request)


@pytest.mark.parametrize(
    "servers",
    [
        "http://mcp.example.com/mcp",
        "https://*.example.com/mcp",
        "https://user:pass@mcp.example.com/mcp",
        "https://mcp.example.com/mcp?key=1",
        "https://mcp.example.com/a/%2e%2e/mcp",
        "https://2130706433/mcp",
        "mcp.example.com",
    ],
)
def test_an_address_that_is_no_border_cannot_be_listed(servers: str) -> None:
    with pytest.raises(BadSetting, match="GRAPH_AGENT_CLIENT_MCP_SERVERS must be addresses"):
        Settings(client_mcp_servers=servers)


def test_addresses_are_compared_in_one_form() -> None:
    settings = Settings(client_mcp_servers=" HTTPS://MCP.example.com:443/Mcp ,http://LOCALHOST:080/x")
    assert settings.client_mcp_addresses == ("https://mcp.example.com/Mcp", "http://localhost/x")
