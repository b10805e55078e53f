"""A tool or retriever that fails: what is logged, what its span says, and what the model is told, whoever calls it."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from pydantic import BaseModel
from tests.graphs.scripted import says
from tests.runs.running import a_run, chain, events_of

from graph_agent import make_tools, tool_fault
from graph_agent.databricks.remote_tool import RemoteTool
from graph_agent.errors import ToolFailed, Unauthenticated
from graph_agent.nodes.langchain_retriever import RetrieverSearch
from graph_agent.nodes.tool_errors import FAULT, MISTAKE
from graph_agent.testing import Call
from graph_agent.tracing import RunRecorder, RunTrace

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2-planted"
HERE = "test_tool_failures.py:"


class Order(BaseModel):
    """What the shop's database gives."""

    days: int


@tool
async def crashes(order: str) -> str:
    """Raises in the event loop."""
    raise RuntimeError(f"postgres://me:{PASSWORD}@db")


@tool
def crashes_in_a_thread(order: str) -> str:
    """Raises in a thread."""
    raise KeyError(PASSWORD)


@tool
def misreads(order: str) -> str:
    """Gets something from others that is not as it should be."""
    return str(Order.model_validate({"days": PASSWORD}).days)


@tool
async def loses_patience(order: str) -> str:
    """Its own server was too slow; the tool has time left."""
    raise TimeoutError(PASSWORD)


@tool
async def groups(order: str) -> str:
    """Does several things at once."""
    raise ExceptionGroup("several", [ValueError(PASSWORD), OSError(PASSWORD)])


@tool
async def nests(order: str) -> str:
    """Calls another tool."""
    return str(await crashes.ainvoke({"order": order}))


@tool
async def misuses_another(order: str) -> str:
    """Calls another tool wrongly: that is no mistake of the model."""
    return str(await crashes.ainvoke({"number": order}))


@tool
async def advises(order: str) -> str:
    """Tells the model what is wrong."""
    raise ToolException("order numbers begin with A")


async def _unreachable(arguments: dict[str, Any]) -> Any:
    raise ToolFailed("weather gave no answer: it cannot be reached")


remote = RemoteTool(name="remote", description="Elsewhere.", args_schema={"type": "object"}, ask=_unreachable)


async def _quiet(order: str) -> str:
    """Swallows what it raises."""
    raise ToolException("the warehouse is shut")


quiet = StructuredTool.from_function(coroutine=_quiet, name="quiet", handle_tool_error=True)

FAULTS = [
    (crashes, "RuntimeError"),
    (crashes_in_a_thread, "KeyError"),
    (misreads, "ValidationError"),
    (loses_patience, "TimeoutError"),
    (groups, "ExceptionGroup"),
    (nests, "RuntimeError"),
    (misuses_another, "ValidationError"),
]
EACH_FAULT = pytest.mark.parametrize(("failing", "kind"), FAULTS, ids=[one.name for one, _ in FAULTS])


def using(node: Any, called: BaseTool, arguments: str = '{"order": "A1001"}', answer: str = "Sorry.") -> Any:
    """A graph that calls the tool once and then says `answer`."""
    model = says([Call(called.name, arguments)], answer)
    builder = StateGraph(MessagesState)

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder.add_node("think", think).add_node("tools", node)
    builder.add_edge(START, "think").add_edge("tools", "think")
    builder.add_conditional_edges("think", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    return builder.compile()


class Log(logging.Handler):
    """What is logged by graph-agent, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self, level: str = "") -> list[str]:
        return [record.getMessage() for record in self.records if level in record.levelname]


@pytest.fixture
def log() -> Iterator[Log]:
    handler, logger = Log(), logging.getLogger("graph_agent")
    logger.addHandler(handler)
    level, logger.level = logger.level, logging.INFO
    yield handler
    logger.removeHandler(handler)
    logger.level = level


async def ran(graph: Any) -> tuple[list[Any], RunRecorder]:
    """The run's output items, and what was recorded."""

    trace = RunTrace(lambda record: None)
    with anyio.fail_after(20):
        events = await events_of(a_run(graph, observers=[trace]))
    assert trace.handler is not None
    return events[-1]["response"]["output"], trace.handler


def result_in(state: Any) -> ToolMessage:
    return next(message for message in state["messages"] if isinstance(message, ToolMessage))


NODES: dict[str, Callable[[BaseTool], Any]] = {
    "ours": lambda one: make_tools([one]),
    "handled": lambda one: ToolNode([one], handle_tool_errors=True),
    "with a text": lambda one: ToolNode([one], handle_tool_errors="It did not work."),
    "by a function": lambda one: ToolNode([one], handle_tool_errors=_told),
    "raised": lambda one: ToolNode([one], handle_tool_errors=False),
    "by itself": lambda one: _by_itself(one),
}


def _told(error: Exception) -> str:
    return "It did not work."


def _by_itself(one: BaseTool) -> Any:
    async def tools(state: MessagesState) -> dict[str, Any]:
        (call,) = state["messages"][-1].tool_calls
        try:
            content = str(await one.ainvoke(call["args"]))
        except Exception:  # noqa: BLE001 - a graph that hides every failure is what is tested
            content = "Not found."
        return {"messages": [ToolMessage(content, tool_call_id=call["id"])]}

    return tools


@EACH_FAULT
@pytest.mark.parametrize("node", NODES)
async def test_a_tool_that_raises_is_one_line_with_its_name_the_type_and_the_place(
    log: Log, node: str, failing: BaseTool, kind: str
) -> None:
    output, recorder = await ran(using(NODES[node](failing), failing))

    lines = [line for line in log.lines("ERROR") if line.startswith(f"tool {failing.name} failed: {kind} at ")]
    assert len(lines) == 1, log.lines()
    assert HERE in lines[0]
    assert not [line for line in log.lines() if PASSWORD in line]
    [span] = [span for span in recorder.spans if span.kind == "TOOL" and span.name == failing.name]
    assert span.error == kind
    assert PASSWORD not in str(output)


async def test_an_agent_of_langchain_whose_tool_raises_is_logged_alike(log: Log) -> None:
    agent = create_agent(says([Call("crashes", '{"order": "A1"}')], "Sorry."), [crashes])

    _, recorder = await ran(agent)

    told = [line for line in log.lines("ERROR") if line.startswith("tool crashes failed: RuntimeError at ")]
    assert len(told) == 1
    assert HERE in told[0]
    assert [span.error for span in recorder.spans if span.kind == "TOOL"] == ["RuntimeError"]


@EACH_FAULT
async def test_the_model_is_told_that_a_fault_is_no_result(failing: BaseTool, kind: str) -> None:
    state = await using(make_tools([failing]), failing).ainvoke({"messages": []})

    told = result_in(state)
    assert told.status == "error"
    assert told.content == f"{failing.name} failed ({kind}).\n{FAULT}"


@EACH_FAULT
async def test_the_node_of_langgraph_can_tell_the_model_the_same(failing: BaseTool, kind: str) -> None:
    node = ToolNode([failing], handle_tool_errors=tool_fault)
    told = result_in(await using(node, failing).ainvoke({"messages": []}))
    assert (told.status, told.content) == ("error", f"The tool failed ({kind}).\n{FAULT}")


@pytest.mark.parametrize(
    ("one", "arguments", "text"),
    [
        (advises, '{"order": "A1"}', "order numbers begin with A"),
        (remote, "{}", f"weather gave no answer: it cannot be reached\n{FAULT}"),
        (crashes, "{}", f"The tool was called with wrong arguments: order (Field required).\n{MISTAKE}"),
    ],
)
async def test_the_node_of_langgraph_tells_faults_mistakes_and_advice_apart(
    one: BaseTool, arguments: str, text: str
) -> None:
    node = ToolNode([one], handle_tool_errors=tool_fault)
    told = result_in(await using(node, one, arguments).ainvoke({"messages": []}))
    assert (told.status, told.content) == ("error", text)


async def test_the_caller_reads_what_failed_and_not_what_the_model_should_say() -> None:
    output, _ = await ran(using(make_tools([crashes]), crashes))
    results = [item["output"] for item in output if item["type"] == "function_call_output"]
    assert results == ["crashes failed (RuntimeError)."]


async def test_wrong_arguments_are_the_models_mistake_and_are_told_to_it(log: Log) -> None:
    @tool
    def stock(item: str, shelf: int) -> str:
        """What there is."""
        return "12"

    graph = using(make_tools([stock]), stock, '{"shelf": "upper"}')
    told = result_in(await graph.ainvoke({"messages": []}))
    assert told.content == (
        "stock was called with wrong arguments: item (Field required), shelf (Input should be a valid integer, unable "
        f"to parse string as an integer).\n{MISTAKE}"
    )

    output, _ = await ran(graph)
    assert log.lines("ERROR") == []
    assert [line for line in log.lines("WARNING") if "the model called tool stock with wrong arguments" in line]
    assert "the tool 'stock' failed" in str(output)


async def test_what_a_tool_means_for_the_model_reaches_it_in_those_words(log: Log) -> None:
    told = result_in(await using(make_tools([advises]), advises).ainvoke({"messages": []}))
    assert told.content == "advises: order numbers begin with A"

    await ran(using(make_tools([advises]), advises))
    [line] = log.lines()
    assert line.startswith("tool advises returned an error and no result: ToolException at ")
    assert HERE in line


async def test_a_tool_of_a_server_that_is_down_says_so_as_a_fault(log: Log) -> None:
    told = result_in(await using(make_tools([remote]), remote, "{}").ainvoke({"messages": []}))
    assert told.content == f"remote: weather gave no answer: it cannot be reached\n{FAULT}"

    _, recorder = await ran(using(make_tools([remote]), remote, "{}"))
    [line] = log.lines()
    assert line.startswith("tool remote returned an error and no result: ToolFailed at ")
    assert [span.error for span in recorder.spans if span.kind == "TOOL"] == ["ToolFailed"]


@pytest.mark.parametrize("node", [make_tools([quiet]), ToolNode([quiet])], ids=["ours", "langgraph"])
async def test_an_error_that_a_tool_swallowed_itself_is_logged_and_in_its_span(log: Log, node: Any) -> None:
    _, recorder = await ran(using(node, quiet))
    assert log.lines("WARNING") == ["tool quiet returned an error and no result"]
    assert [span.error for span in recorder.spans if span.kind == "TOOL"] == ["ToolError"]


async def test_an_error_that_a_tool_swallowed_itself_is_told_in_its_words() -> None:
    told = result_in(await using(make_tools([quiet]), quiet).ainvoke({"messages": []}))
    assert (told.status, told.content) == ("error", "the warehouse is shut")


async def test_a_tool_that_takes_too_long_is_logged_and_told_as_a_fault(log: Log) -> None:
    @tool
    async def endless(order: str) -> str:
        """Never ends."""
        await anyio.sleep_forever()
        return ""

    told = result_in(await using(make_tools([endless], seconds=0.1), endless).ainvoke({"messages": []}))
    assert told.content == f"endless did not finish within 0.1 s.\n{FAULT}"
    assert log.lines() == ["tool endless did not finish within 0.1 s"]


async def test_what_is_raised_on_purpose_is_no_fault(log: Log) -> None:
    @tool
    async def pauses(order: str) -> str:
        """Asks a person."""
        return str(interrupt("may I?"))

    @tool
    async def locked(order: str) -> str:
        """Needs the user's token."""
        raise Unauthenticated("sign in")

    for one in (pauses, locked):
        await ran(using(make_tools([one]), one))
    assert not [line for line in log.lines() if line.startswith("tool ")]


class Wiki(BaseRetriever):
    """Its database is down."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise ConnectionError(PASSWORD)


async def test_a_retriever_that_fails_in_a_node_that_goes_on_is_logged(log: Log) -> None:
    async def look(state: MessagesState) -> dict[str, Any]:
        try:
            await Wiki().ainvoke("delivery")
        except ConnectionError:
            return {"messages": [AIMessage("Typically 30 days.")]}
        raise AssertionError

    _, recorder = await ran(chain(look))
    [line] = log.lines("ERROR")
    assert line.startswith("retriever Wiki failed: ConnectionError at ")
    assert HERE in line
    assert PASSWORD not in line
    assert [span.error for span in recorder.spans if span.kind == "RETRIEVER"] == ["ConnectionError"]


async def test_a_retriever_as_a_tool_is_logged_alike(log: Log) -> None:
    async def look(query: str) -> str:
        """Search."""
        return str(await RetrieverSearch(retriever=Wiki()).search(query))

    search = StructuredTool.from_function(coroutine=look, name="look")
    _, recorder = await ran(using(make_tools([search]), search, '{"query": "delivery"}'))
    assert any(line.startswith("retriever Wiki failed: ConnectionError at ") for line in log.lines("ERROR"))
    assert any(line.startswith("tool look ") and "RetrievalFailed" in line for line in log.lines())
    assert "RetrievalFailed" in [span.error for span in recorder.spans if span.kind == "TOOL"]
