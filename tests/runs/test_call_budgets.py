"""A budget of tool calls runs what is allowed, tells the model that the rest was not run, and lets it answer."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from tests.graphs.scripted import says
from tests.runs.running import Graph, a_run, asking, events_of, speaking
from tests.wire import phases

from graph_agent import AgentState, make_planner, make_retriever, make_tools
from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.settings import Budgets
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio

DIALECTS = pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
NOT_RUN = "This call was not run: the 2 tool calls of this answer are used up. Answer now, with what is known."


def worker() -> tuple[BaseTool, list[str]]:
    ran: list[str] = []

    @tool
    def work(step: str) -> str:
        """Work."""
        ran.append(step)
        return f"did {step}"

    return work, ran


def with_planner(nodes: Callable[[BaseTool], Any]) -> Callable[[Any, BaseTool], Graph]:
    def build(model: Any, work: BaseTool) -> Graph:
        builder = StateGraph(AgentState)
        builder.add_node("planner", make_planner(model=model, tools=[work], prompt="Plan."))
        builder.add_node("tools", nodes(work))
        builder.add_edge(START, "planner")
        builder.add_conditional_edges("planner", lambda state: "tools" if state["messages"][-1].tool_calls else END)
        builder.add_edge("tools", "planner")
        return builder.compile()

    return build


AGENTS: dict[str, Callable[[Any, BaseTool], Graph]] = {
    "create_agent": lambda model, work: create_agent(model, [work]),
    "make_tools": with_planner(lambda work: make_tools([work])),
    "ToolNode": with_planner(lambda work: ToolNode([work])),
    "ToolNode that handles errors": with_planner(lambda work: ToolNode([work], handle_tool_errors=True)),
}


def calls(*steps: str) -> list[Call]:
    return [Call("work", f'{{"step": "{step}"}}', f"call_{step}") for step in steps]


def results(response: Any) -> list[str]:
    items = [item for item in response["output"] if item["type"] in ("function_call_output", "mcp_call")]
    return [item.get("error") or item["output"] for item in items]


@DIALECTS
@pytest.mark.parametrize("kind", AGENTS)
@pytest.mark.parametrize("turns", [[["a", "b", "c", "d"]], [["a"], ["b"], ["c", "d"]]], ids=["at once", "one by one"])
async def test_what_is_allowed_runs_and_the_model_answers_with_it(
    kind: str, turns: list[list[str]], dialect: Dialect
) -> None:
    work, ran = worker()
    graph = AGENTS[kind](says(*[calls(*steps) for steps in turns], ["Two ", "of four."]), work)
    events = await events_of(graph, dialect=dialect, invocation=asking(max_tool_calls=2))
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.completed"
    assert len(ran) == 2
    told = results(response)
    assert sorted(told) == sorted([*(f"did {step}" for step in ran), NOT_RUN, NOT_RUN])
    assert phases(response) == [("Two of four.", "final_answer")]
    assert response["metadata"] == {}


async def test_the_model_reads_that_a_call_was_not_run() -> None:
    work, _ = worker()
    model = says(calls("a", "b", "c"), ("Done.",))
    graph = create_agent(model, [work])
    await events_of(graph, budgets=Budgets(tool_calls=2, seconds=30))
    refused = [one for one in model.requests[-1].messages if isinstance(one, ToolMessage) and one.status == "error"]
    assert [one.content for one in refused] == [NOT_RUN]


async def test_searches_count_as_tools_do() -> None:
    found: list[str] = []

    class Search:
        name = "search_docs"

        async def search(self, query: str) -> Any:
            found.append(query)
            return [(Document(f"about {query}", metadata={"doc_uri": query, "chunk_id": query}), 0.9)]

    searches = [Call("search_docs", f'{{"query": "{one}"}}', one) for one in ("a", "b", "c")]
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=says(searches, ["Done."]), tools=[], prompt="Plan."))
    builder.add_node("retriever", make_retriever(Search()))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", lambda state: "retriever" if state["messages"][-1].tool_calls else END)
    builder.add_edge("retriever", "planner")
    response = (await events_of(builder.compile(), invocation=asking(max_tool_calls=2)))[-1]["response"]
    assert len(found) == 2
    assert results(response)[-1] == NOT_RUN
    assert response["status"] == "completed"


@DIALECTS
async def test_a_model_that_only_ever_calls_is_ended_at_last(dialect: Dialect) -> None:
    work, ran = worker()
    model = says(*[[Call("work", '{"step": "again"}', f"call_{turn}")] for turn in range(30)])
    events = await events_of(create_agent(model, [work]), dialect=dialect, invocation=asking(max_tool_calls=2))
    response = events[-1]["response"]
    assert (response["status"], response["metadata"]) == ("incomplete", {"budget": "tool_calls"})
    assert len(ran) == 2
    assert len(results(response)) < 10


async def test_a_graph_that_runs_tools_itself_and_lets_the_error_pass_is_ended_with_the_budget() -> None:
    work, ran = worker()

    async def use(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await work.ainvoke(call) for call in state["messages"][-1].tool_calls]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", speaking(says(calls("a", "b", "c"), ["never"]), "ask"))
    builder.add_node("use", use)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "use")
    response = (await events_of(builder.compile(), invocation=asking(max_tool_calls=2)))[-1]["response"]
    assert (response["status"], response["metadata"]) == ("incomplete", {"budget": "tool_calls"})
    assert len(ran) == 2


# -- a graph that ends on its calls -----------------------------------------------------------------------------------


@DIALECTS
@pytest.mark.parametrize("whole", [False, True])
async def test_calls_that_a_graph_ends_on_are_the_clients_in_both_dialects(dialect: Dialect, whole: bool) -> None:
    turn = ("I need this. ", *calls("a", "b"))
    model = says(turn, disable_streaming=True) if whole else says(turn)
    builder = StateGraph(MessagesState)
    builder.add_node("ask", speaking(model, "ask"))
    builder.add_edge(START, "ask")
    events = await events_of(builder.compile(), dialect=dialect)
    response = events[-1]["response"]
    assert response["status"] == "completed"
    found = [item for item in response["output"] if item["type"] == "function_call"]
    assert [(item["name"], item["arguments"], item["call_id"]) for item in found] == [
        ("work", '{"step": "a"}', "call_a"),
        ("work", '{"step": "b"}', "call_b"),
    ]
    assert phases(response) == [("I need this. ", "commentary")]
    assert len(response["output"]) == 3
    assert [event["type"] for event in events].count("response.function_call_arguments.done") == 2


async def test_a_call_opens_for_openais_clients_when_its_tool_starts() -> None:
    going, seen = anyio.Event(), anyio.Event()

    @tool
    async def work(step: str) -> str:
        """Work."""
        going.set()
        await seen.wait()
        return "done"

    run = a_run(create_agent(says(calls("a"), ["Done."]), [work]), dialect=OPENAI)
    run.start()
    kinds: list[str] = []
    with anyio.fail_after(30):
        async for batch in run.batches(quiet_seconds=30):
            kinds += [entry.type for entry in batch]
            if "response.mcp_call.in_progress" in kinds:
                # The tool has started, and its first line is a few turns of the loop away.
                await anyio.wait_all_tasks_blocked()
                assert going.is_set()
                assert "response.mcp_call.completed" not in kinds or seen.is_set()
                seen.set()
    await run.aclose()
    assert kinds.index("response.mcp_call.in_progress") < kinds.index("response.mcp_call.completed")
