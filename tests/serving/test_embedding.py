"""The app mounted in an app of somebody else: FastAPI or Starlette, under a prefix, on the host's own server."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from openai import OpenAI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from tests.serving.conftest import GRAPHS, Service, Upstream, ask, leave

from graph_agent import AgentError, ConfigurationError, Settings, create_app, host_lifespan
from graph_agent.serving.workers import listening_socket

pytestmark = pytest.mark.anyio

THREAD_GRAPH = """
import threading
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


def answer(state: MessagesState):
    return {"messages": [AIMessage(threading.current_thread().name)]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
"""
"""Answers with the name of the thread in which its synchronous node ran."""


def agent(config: Path = GRAPHS, **settings: Any) -> Starlette:
    values = {"tracing": "off", "store": "memory", "max_seconds": 20.0, **settings}
    return create_app(Settings(config=config, **values), environ={})


@pytest.fixture
def threads(tmp_path: Path) -> Path:
    """A manifest whose only graph is `THREAD_GRAPH`."""
    (tmp_path / "thread.py").write_text(THREAD_GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"thread": "./thread.py:graph"}}))
    return tmp_path / "langgraph.json"


@contextmanager
def hosting(host: Any) -> Iterator[Service]:
    """The host on uvicorn's own server and a real socket, in a thread, until the block ends."""
    server = uvicorn.Server(uvicorn.Config(host, log_config=None, lifespan="on", timeout_graceful_shutdown=5))
    listening = listening_socket("127.0.0.1", 0)
    loop = asyncio.new_event_loop()

    def run() -> None:
        loop.run_until_complete(server.serve([listening]))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Service(f"http://127.0.0.1:{listening.getsockname()[1]}", loop, [])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def ask_under(url: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/responses", json={"input": "Hello?", **fields}, timeout=60)


def text_of(response: Mapping[str, Any]) -> str:
    return str(response["output"][-1]["content"][0]["text"])


class Host:
    """What a host app brings along and wants to keep."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(2, thread_name_prefix="host")
        self.seen: list[str] = []
        self.handler: Any = None

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The host's handler of what no task waits for."""
        self.seen.append(str(context["message"]))

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[dict[str, Any]]:
        """The host's own."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self.executor)
        loop.set_exception_handler(self.handle)
        self.seen.append("up")
        yield {"shop": "open"}
        # The last thing of the host: the apps in it have ended by now.
        self.handler = loop.get_exception_handler()
        self.seen.append(await asyncio.to_thread(lambda: threading.current_thread().name))


def test_a_host_keeps_its_executor_its_exception_handler_and_its_lifespan(threads: Path) -> None:
    own, app = Host(), agent(threads)
    host = FastAPI(lifespan=host_lifespan(app, own=own.lifespan))

    @host.get("/shop")
    async def shop(request: Request) -> dict[str, str]:
        return {"shop": request.state.shop, "thread": await asyncio.to_thread(lambda: threading.current_thread().name)}

    host.mount("/agent", app)
    with hosting(host) as service:
        answer = ask_under(f"{service.url}/agent").json()
        assert text_of(answer).startswith("host_")
        about = httpx.get(f"{service.url}/shop").json()
        assert about["shop"] == "open"
        assert about["thread"].startswith("host_")
    assert own.seen[0] == "up"
    assert own.seen[-1].startswith("host_")
    assert own.handler == own.handle


def two_agents(threads: Path) -> FastAPI:
    first, second = agent(), agent(threads)
    host = FastAPI(lifespan=host_lifespan(first, second))
    host.mount("/agent", first)
    host.mount("/deep/er", second)
    return host


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One host with two of our apps, each with graphs of its own."""
    folder = tmp_path_factory.mktemp("threads")
    (folder / "thread.py").write_text(THREAD_GRAPH)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"thread": "./thread.py:graph"}}))
    with hosting(two_agents(folder / "langgraph.json")) as service:
        yield service


def test_the_openai_sdk_streams_under_a_prefix(both: Service) -> None:
    with OpenAI(base_url=f"{both.url}/agent/v1", api_key="none", max_retries=0) as client:
        kinds, said = [], ""
        with client.responses.stream(model="plain", input="Hello?") as stream:
            for event in stream:
                kinds.append(event.type)
                said += event.delta if event.type == "response.output_text.delta" else ""
        assert (kinds[0], kinds[-1], said) == ("response.created", "response.completed", "Hello world.")
        assert client.responses.create(model="plain", input="Hello?").output_text == "Hello world."


def test_invocations_stream_under_a_prefix(both: Service) -> None:
    body = {"model": "plain", "input": "Hello?", "stream": True}
    with httpx.stream("POST", f"{both.url}/agent/invocations", json=body, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2].removeprefix("data: "))["type"] == "response.completed"


def test_two_apps_in_one_host_serve_graphs_of_their_own(both: Service) -> None:
    names = [
        [graph["name"] for graph in httpx.get(f"{both.url}{prefix}/agent/info", timeout=60).json()["graphs"]]
        for prefix in ("/agent", "/deep/er")
    ]
    assert "plain" in names[0]
    assert names[1] == ["thread"]
    assert ask_under(f"{both.url}/deep/er", model="plain").json()["model"] == "thread"


@pytest.mark.parametrize(
    ("method", "address", "status", "words"),
    [
        ("GET", "/nowhere", 404, "the service has {at}/invocations, {at}/api/invocations, "),
        ("GET", "/nowhere", 404, " {at}/health, {at}/ready, {at}/agent/info"),
        ("POST", "/v1/completions", 404, "to {at}/v1/chat/completions"),
        ("GET", "/models/plain/permissions", 404, "GET {at}/models lists them"),
        ("POST", "/models", 405, "use GET"),
        ("GET", "/responses", 405, "use POST"),
        ("POST", "", 405, "use GET"),
    ],
)
@pytest.mark.parametrize("prefix", ["/agent", "/deep/er"])
def test_errors_name_addresses_with_the_prefix(
    both: Service, prefix: str, method: str, address: str, status: int, words: str
) -> None:
    response = httpx.request(method, f"{both.url}{prefix}{address}", follow_redirects=True)
    assert response.status_code == status
    assert words.format(at=prefix) in response.json()["error"]["message"]


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_a_host_behind_a_proxy_that_cuts_its_prefix_off(threads: Path) -> None:
    app = agent(threads)
    host = FastAPI(root_path="/api", lifespan=host_lifespan(app))
    host.mount("/agent", app)
    with TestClient(host, base_url="http://localhost") as client:
        assert client.post("/agent/responses", json={"input": "Hello?"}).status_code == 200
        message = client.get("/agent/nowhere").json()["error"]["message"]
        assert "/api/agent/invocations" in message


# -- the lifespan ----------------------------------------------------------------------------------------------------


def fastapi_without(app: Starlette) -> Any:
    host = FastAPI()
    host.mount("/agent", app)
    return host


def starlette_without(app: Starlette) -> Any:
    return Starlette(routes=[Mount("/agent", app=app)])


@pytest.mark.parametrize("host_of", [fastapi_without, starlette_without])
def test_without_its_lifespan_the_first_request_says_how_to_pass_it_on(
    host_of: Callable[[Starlette], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(host_of(agent()), base_url="http://localhost") as client:
        for address in ("/agent/responses", "/agent/v1/responses"):
            response = client.post(address, json={"model": "plain", "input": "Hello?"})
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (500, "lifespan_not_run")
            assert "FastAPI(lifespan=graph_agent.host_lifespan(app))" in error["message"]
            # An SDK would try again in vain.
            assert response.headers["x-should-retry"] == "false"
        assert client.get("/agent/agent/info").status_code == 500
        ready = client.get("/agent/ready")
        assert ready.status_code == 503
        assert "host_lifespan" in ready.json()["error"]["message"]
        assert client.get("/agent/health").status_code == 200
    assert len([record for record in caplog.records if "host_lifespan" in record.message]) == 1


async def test_a_host_that_stops_ends_the_runs_under_way(upstream: Upstream) -> None:
    app = agent(grace_seconds=60.0)
    host = Starlette(routes=[Mount("/agent", app=app)], lifespan=host_lifespan(app))
    with hosting(host) as service:
        # Its reader leaves, and may come back for a minute: nothing but the host's end stops it.
        _, writer = await ask(service, upstream, address="/agent/responses", stream=True)
        await leave(writer)
    async with asyncio.timeout(20):
        await upstream.left.wait()


def test_the_lifespan_of_one_app_can_be_handed_over_as_it_is() -> None:
    app = agent()
    host = Starlette(routes=[Mount("/agent", app=app)], lifespan=app.router.lifespan_context)
    with TestClient(host, base_url="http://localhost") as client:
        assert client.post("/agent/responses", json={"model": "plain", "input": "Hello?"}).status_code == 200


def test_an_app_may_be_started_again_also_on_another_event_loop() -> None:
    app = agent()
    host = Starlette(routes=[Mount("/agent", app=app)], lifespan=host_lifespan(app))
    for _ in range(2):
        with TestClient(host, base_url="http://localhost") as client:
            assert client.post("/agent/responses", json={"model": "plain", "input": "Hello?"}).status_code == 200
    ended = TestClient(host, base_url="http://localhost").post("/agent/responses", json={"input": "Hello?"})
    assert (ended.status_code, ended.json()["error"]["code"]) == (503, "service_stopping")


async def test_the_host_s_own_lifespan_begins_first_and_ends_last() -> None:
    seen: list[str] = []

    def lifespan(name: str) -> Callable[[Any], Any]:
        @asynccontextmanager
        async def run(app: Any) -> AsyncIterator[dict[str, str] | None]:
            seen.append(f"{name} begins")
            yield {"of": name}
            seen.append(f"{name} ends")

        return run

    first, second = (Starlette(lifespan=lifespan(name)) for name in ("first", "second"))
    async with host_lifespan(first, second, first, own=lifespan("host"))(Starlette()) as state:
        assert state == {"of": "host"}
    assert seen == ["host begins", "first begins", "second begins", "second ends", "first ends", "host ends"]


@pytest.mark.parametrize("apps", [(), (Host().lifespan,), (Starlette(), None)])
def test_what_is_no_app_is_refused_with_the_right_call(apps: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"host_lifespan\(agent, own=lifespan\)"):
        host_lifespan(*apps)


async def test_one_app_cannot_be_started_twice_at_the_same_time() -> None:
    app = agent()
    async with host_lifespan(app)(None):
        with pytest.raises(ConfigurationError, match="already running"):
            async with host_lifespan(app)(None):
                pass


# -- what a request meets in a host ----------------------------------------------------------------------------------


async def test_a_client_that_leaves_cancels_its_run_behind_the_host_s_middleware(upstream: Upstream) -> None:
    # Its own end would come too late to be taken for this.
    app = agent(grace_seconds=0.0, max_seconds=300.0)
    host = FastAPI(lifespan=host_lifespan(app))

    @host.middleware("http")
    async def named(request: Request, call_next: Callable[[Request], Any]) -> Any:
        response = await call_next(request)
        response.headers["x-host"] = "shop"
        return response

    host.mount("/agent", app)
    with hosting(host) as service:
        _, writer = await ask(service, upstream, address="/agent/responses", stream=True)
        await leave(writer)
        async with asyncio.timeout(20):
            await upstream.left.wait()


def test_probes_need_no_token_and_fill_no_log_under_a_prefix(caplog: pytest.LogCaptureFixture) -> None:
    app = agent(bearer_token="open sesame, please")
    host = Starlette(routes=[Mount("/agent", app=app)], lifespan=host_lifespan(app))
    with caplog.at_level(logging.INFO, "graph_agent.serving.request_log"), TestClient(host) as client:
        assert client.get("/agent/health").status_code == 200
        assert caplog.messages == []
        assert client.get("/agent/agent/info").status_code == 401
        assert caplog.messages[0].startswith("GET /agent/agent/info 401")


# -- the process -----------------------------------------------------------------------------------------------------

QUIET = """
import asyncio, gc, json, logging, os, resource, signal, sys, threading, warnings
import httpx, mlflow, openai, databricks_langchain
import graph_agent
import graph_agent.catalog.catalog, graph_agent.serving.service, graph_agent.tracing.mlflow_store

config, database = sys.argv[1:]


def state(loop):
    loggers = {name: (one.level, list(one.handlers)) for name, one in logging.root.manager.loggerDict.items()
               if isinstance(one, logging.Logger) and (one.level or one.handlers)
               # MLflow sets these when it opens a store; the last are those of its migrations.
               and not name.startswith(("alembic", "grpc", "pyspark", "sqlalchemy")) and not name.endswith("_py")}
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "wakeup": signal.set_wakeup_fd(-1),
        "root logger": (logging.root.level, list(logging.root.handlers), list(logging.root.filters)),
        "loggers": loggers,
        "log records": logging.getLogRecordFactory(),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "environment": dict(os.environ),
        "frozen": gc.get_freeze_count(),
        "collector": (gc.isenabled(), gc.get_threshold()),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "folder": os.getcwd(),
        "mlflow": (mlflow.get_tracking_uri(), mlflow.get_registry_uri()),
        "loop": (loop.get_exception_handler(), loop._default_executor, loop.get_debug()),
    }


async def main():
    loop = asyncio.get_running_loop()
    before = state(loop)
    settings = graph_agent.Settings(
        config=config, tracing="on", tracking_uri=f"sqlite:///{database}", store=f"sqlite:{database}.store"
    )
    app = graph_agent.create_app(settings)
    async with graph_agent.host_lifespan(app)(None):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/responses", json={"model": "plain", "input": "Hello?"})
            assert answer.status_code == 200, answer.text
        changed = [name for name, value in state(loop).items() if value != before[name]]
    changed += [name for name, value in state(loop).items() if value != before[name]]
    print(json.dumps(changed))


asyncio.run(main())
"""


def test_a_host_s_process_stays_as_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", QUIET, str(GRAPHS), str(tmp_path / "traces.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


HOST_MODULES = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
import app, tools
from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import read_manifest


async def main():
    for config in sys.argv[1:]:
        catalog = Catalog(read_manifest(Path(config)))
        await catalog.open()
        graph = await catalog.get(catalog.default)
        print((await graph.ainvoke({"messages": []}))["messages"][-1].content)


asyncio.run(main())
print(sys.modules["app"] is app, sys.modules["tools"] is tools, tools.used_by)
"""

SIBLING_GRAPH = """
import tools
from langgraph.graph import START, MessagesState, StateGraph

tools.used_by.append(__name__.split(".")[1][:5])
whose = tools.whose
graph = StateGraph(MessagesState).add_node("answer", lambda state: {"messages": [("ai", whose)]})
graph.add_edge(START, "answer")
"""


def test_a_host_keeps_its_modules_and_each_graph_gets_those_of_its_folder(tmp_path: Path) -> None:
    for name in ("host", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tools.py").write_text(f"whose, used_by = {name!r}, []\n")
        (folder / "graph.py").write_text(SIBLING_GRAPH)
        (folder / "langgraph.json").write_text(json.dumps({"graphs": {"one": "./graph.py:graph"}}))
    (tmp_path / "host" / "app.py").write_text("")
    manifests = [str(tmp_path / name / "langgraph.json") for name in ("host", "other", "host")]
    command = [sys.executable, "-W", "ignore", "-c", HOST_MODULES, *manifests]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path / "host")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["host", "other", "host", "True True ['graph', 'graph']"]


def built_graph() -> Any:
    """A graph that answers with the last message it was sent, in capitals."""

    def shout(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(str(state["messages"][-1].content).upper())]}

    return StateGraph(MessagesState).add_node(shout).add_edge(START, "shout")


def built(graphs: Mapping[str, Any], **settings: Any) -> Starlette:
    settings = {"config": "no-such-file.json", "tracing": "off", "store": "memory", **settings}
    return create_app(Settings(**settings), graphs=graphs, environ={})


def test_graphs_built_in_code_are_served_without_a_file() -> None:
    app = built({"shout": built_graph().compile(), "draft": built_graph()}, default_graph="draft")
    with TestClient(app, base_url="http://localhost") as client:
        info = client.get("/agent/info").json()
        said = client.post("/responses", json={"input": "hello", "model": "shout"}).json()
        default = client.post("/responses", json={"input": "hello"}).json()
        unknown = client.post("/v1/responses", json={"input": "hello", "model": "nobody"})
    assert [graph["name"] for graph in info["graphs"]] == ["shout", "draft"]
    assert (said["model"], text_of(said)) == ("shout", "HELLO")
    assert default["model"] == info["default_graph"] == "draft"
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_graph")


@pytest.mark.parametrize(
    ("graphs", "settings", "says"),
    [
        ({}, {}, "at least one name"),
        ({"mine": "graph"}, {}, "is a str, not a compiled LangGraph graph"),
        ({"mine": built_graph().compile(checkpointer=InMemorySaver())}, {}, "without one"),
        ({"mine": built_graph()}, {"default_graph": "yours"}, "no graph named 'yours'; known: mine"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused_where_it_is_passed(
    graphs: Mapping[str, Any], settings: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(AgentError, match=says):
        built(graphs, **settings)
